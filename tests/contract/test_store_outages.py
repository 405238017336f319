"""Outages of a real server, and the points at which a test may kill whoever writes."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, func, insert, select, text

from experiments.errors import StoreUnavailableError
from experiments.states import IncidentKind
from orchestrator.store import engines
from orchestrator.store.database import open_store, persist, reading, writing
from orchestrator.store.tables import incident
from workers import failpoint


def write(engine: Engine) -> None:
    row = {"at": 1.0, "kind": IncidentKind.WORKER_LOST, "message": "m"}
    with writing(engine) as connection:
        connection.execute(insert(incident).values(row))


def num_written(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(incident)).scalar_one()


@pytest.fixture
def on_server(new_postgres_url: Callable[[], str]) -> Iterator[Engine]:
    engine = open_store(new_postgres_url(), create=True)
    yield engine
    engine.dispose()


def test_failpoints_stand_on_both_sides_of_a_commit(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(failpoint, "passing", lambda name: seen.append((name, num_written(engine))))

    write(engine)

    assert seen == [("before a commit", 0), ("after a commit", 1)]


def test_undone_transaction_passes_no_failpoint(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failpoint, "passing", lambda name: pytest.fail(name))

    with pytest.raises(KeyError), writing(engine):
        raise KeyError


@pytest.mark.postgres
def test_cut_connection_is_an_outage_that_the_next_write_survives(on_server: Engine) -> None:
    def be_cut_off() -> None:
        with writing(on_server) as connection:
            backend = connection.scalar(text("SELECT pg_backend_pid()"))
            with writing(on_server) as other:
                other.execute(text(f"SELECT pg_terminate_backend({backend})"))
            connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailableError, match="terminating connection"):
        be_cut_off()

    persist(lambda: write(on_server), seconds=10.0)

    assert num_written(on_server) == 1


@pytest.mark.postgres
def test_writer_that_stands_still_does_not_keep_its_rows_from_others(
    on_server: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_MOST_IDLE_MILLISECONDS", 50)
    write(on_server)

    def freeze() -> None:
        with writing(on_server) as frozen:
            frozen.execute(text("UPDATE incident SET message = 'frozen'"))
            monkeypatch.setattr(engines, "_MOST_IDLE_MILLISECONDS", 60_000)
            with writing(on_server) as other:  # waits until the server has ended the first
                other.execute(text("UPDATE incident SET message = 'other'"))
            frozen.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailableError, match="idle-in-transaction timeout"):
        freeze()
    with reading(on_server) as connection:
        assert connection.scalar(select(incident.c.message)) == "other"
