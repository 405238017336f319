"""What a reader sees of the store while others write into it."""

from contextlib import nullcontext

import pytest
from sqlalchemy import Connection, Engine, func, insert, select

from experiments.errors import StoreError
from experiments.states import IncidentKind
from orchestrator.store.database import reading, writing
from orchestrator.store.tables import incident


def write(connection: Connection) -> None:
    row = {"at": 1.0, "kind": IncidentKind.WORKER_LOST, "message": "m"}
    connection.execute(insert(incident).values(row))


def commit(engine: Engine) -> None:
    with writing(engine) as connection:
        write(connection)


def num_seen(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(incident)).scalar_one()


def num_written(engine: Engine) -> int:
    with reading(engine) as connection:
        return num_seen(connection)


def test_reader_sees_one_moment_however_much_it_reads(engine: Engine) -> None:
    with reading(engine) as connection:
        before = num_seen(connection)
        commit(engine)
        after = num_seen(connection)

    assert (before, after, num_written(engine)) == (0, 0, 1)


def test_reader_s_moment_is_that_of_its_first_statement(engine: Engine) -> None:
    with reading(engine) as connection:
        commit(engine)
        assert num_seen(connection) == 1


def test_what_a_reader_writes_is_refused_by_a_server_and_undone_in_a_file(engine: Engine) -> None:
    is_server = engine.dialect.name == "postgresql"
    refused = pytest.raises(StoreError, match="INSERT in a read-only transaction")

    with refused if is_server else nullcontext(), reading(engine) as connection:
        write(connection)

    assert num_written(engine) == 0


def test_writer_takes_up_a_reader_s_connection(engine: Engine) -> None:
    engine.dispose()
    assert num_written(engine) == 0
    commit(engine)

    assert num_written(engine) == 1
    assert engine.pool.checkedin() == 1  # type: ignore[attr-defined]
