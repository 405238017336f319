import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, exc, insert, select, text

from experiments.errors import NotFoundError, StoreError, StoreUnavailableError
from orchestrator.store import sqlite_file
from orchestrator.store.database import (
    StoreMissingError,
    database_now,
    open_store,
    persist,
    reading,
    shown,
    writing,
)
from orchestrator.store.sqlite_file import file_system
from orchestrator.store.tables import SCHEMA_VERSION, attempt, incident

MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/export /home nfs4 rw 0 0
/dev/sdb1 /home/fast\\040disk xfs rw 0 0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "yard" / "trainyard.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def pragma(engine: Engine, name: str) -> object:
    with reading(engine) as connection:
        return connection.scalar(text(f"PRAGMA {name}"))


def test_new_store_is_for_its_owner_only(path: Path, url: str) -> None:
    engine = open_store(url, create=True)
    with writing(engine) as connection:
        connection.execute(select(1))

    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    engine.dispose()
    assert modes == dict.fromkeys(("trainyard.db", "trainyard.db-shm", "trainyard.db-wal"), "0o600")
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_store_is_durable_and_lets_readers_pass(url: str) -> None:
    engine = open_store(url, create=True)

    assert pragma(engine, "journal_mode") == "wal"
    assert pragma(engine, "synchronous") == 2  # FULL
    assert pragma(engine, "foreign_keys") == 1
    engine.dispose()


def test_reader_does_not_wait_for_a_writer(url: str) -> None:
    engine = open_store(url, create=True)

    with writing(engine) as writer:
        writer.execute(text("UPDATE trainyard_version SET version_num = '0099'"))
        with reading(engine) as reader:
            before = reader.scalar(text("SELECT version_num FROM trainyard_version"))
    assert before == SCHEMA_VERSION
    engine.dispose()


def test_writer_takes_the_lock_at_its_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.01)
    engine = open_store(url, create=True)

    with writing(engine) as first:
        first.execute(select(1))
        with (
            pytest.raises(StoreUnavailableError, match="database is locked"),
            writing(engine) as second,
        ):
            second.execute(select(1))
    engine.dispose()


def test_our_own_mistakes_are_not_taken_for_a_broken_store(url: str) -> None:
    engine = open_store(url, create=True)
    orphan = {"trial_id": "none", "fence": 1, "state": "running", "worker": "w", "started_at": 0}
    orphan |= {"orchestrator": "o"}

    with pytest.raises(exc.IntegrityError), writing(engine) as connection:
        connection.execute(insert(attempt).values(orphan))
    engine.dispose()


def test_full_disk_is_an_outage_until_there_is_room(url: str) -> None:
    engine = open_store(url, create=True)
    row = {"at": 1.0, "kind": "worker_lost", "message": "m" * 100_000}
    with reading(engine) as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    with (
        pytest.raises(StoreUnavailableError, match="disk is full; make room on its disk"),
        writing(engine) as connection,
    ):
        connection.execute(insert(incident).values(row))

    with reading(engine) as connection:
        assert connection.scalar(select(incident.c.id)) is None
        connection.execute(text("PRAGMA max_page_count = 1000000"))
    with writing(engine) as connection:
        connection.execute(insert(incident).values(row))

    with reading(engine) as connection:
        assert connection.scalar(select(incident.c.id)) == 1
    engine.dispose()


@pytest.mark.parametrize("replaced", [False, True])
def test_store_that_is_deleted_while_in_use_takes_no_more(
    path: Path, url: str, replaced: bool
) -> None:
    engine = open_store(url, create=True)
    path.rename(path.with_name("moved.db"))
    if replaced:
        path.write_bytes(path.with_name("moved.db").read_bytes())

    for use in (writing, reading):
        with (
            pytest.raises(StoreError, match="deleted, moved or replaced") as caught,
            use(engine) as connection,
        ):
            connection.execute(select(1))
        assert not isinstance(caught.value, StoreUnavailableError)  # nothing brings it back
    engine.dispose()
    with pytest.raises(StoreError, match="deleted, moved or replaced"), reading(engine):
        pass
    assert path.exists() == replaced  # nor was another one made in its place


def test_store_that_is_put_back_is_used_again(path: Path, url: str) -> None:
    engine = open_store(url, create=True)
    path.rename(path.with_name("moved.db"))
    with pytest.raises(StoreError, match="deleted, moved or replaced"), writing(engine):
        pass

    path.with_name("moved.db").rename(path)

    with writing(engine) as connection:
        connection.execute(select(1))
    engine.dispose()


def test_log_of_a_store_that_is_gone_is_not_taken_into_a_new_one(path: Path, url: str) -> None:
    engine = open_store(url, create=True)
    with writing(engine) as connection:
        connection.execute(select(1))
    path.unlink()

    with pytest.raises(
        StoreError, match=r"trainyard\.db-wal: is left of a store that is not there"
    ):
        open_store(url, create=True)
    engine.dispose()


class Outage:
    """A store that is away for some seconds; `clock` and `sleep` are its time."""

    def __init__(self, *, seconds: float) -> None:
        self.now = 100.0
        self._back_at = self.now + seconds
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def action(self) -> str:
        if self.now < self._back_at:
            raise StoreUnavailableError("away")
        return "done"


def test_action_is_done_again_until_the_outage_is_over() -> None:
    outage = Outage(seconds=6.0)
    heard: list[float] = []

    done = persist(
        outage.action,
        seconds=15.0,
        waiting=lambda _, gone: heard.append(gone),
        clock=outage.clock,
        sleep=outage.sleep,
    )

    assert done == "done"
    assert outage.pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    assert heard == pytest.approx([0.0, 0.1, 0.3, 0.7, 1.5, 3.1, 5.1])


def test_outage_that_lasts_too_long_is_told() -> None:
    outage = Outage(seconds=6.0)

    with pytest.raises(StoreUnavailableError, match="away"):
        persist(outage.action, seconds=5.0, clock=outage.clock, sleep=outage.sleep)

    assert outage.now == pytest.approx(105.0)


def test_only_outages_are_worth_another_try() -> None:
    calls = []

    def action() -> None:
        calls.append(1)
        raise StoreError("wrong password")

    with pytest.raises(StoreError, match="wrong password"):
        persist(action, seconds=15.0)
    assert len(calls) == 1


def test_reading_a_missing_store_makes_no_file(path: Path, url: str) -> None:
    with pytest.raises(StoreMissingError):
        open_store(url, create=False)

    assert not path.parent.exists()
    assert issubclass(StoreMissingError, NotFoundError)


def test_creators_at_once_make_one_store(path: Path, url: str) -> None:
    def create(_: int) -> None:
        open_store(url, create=True).dispose()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(create, range(8)))

    assert [file.name for file in path.parent.iterdir()] == ["trainyard.db"]


def test_file_that_is_no_database_is_refused(path: Path, url: str) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all, but long enough to look at" * 100)

    with pytest.raises(StoreError, match="file is not a database"):
        open_store(url, create=True)


def test_database_of_something_else_is_refused(path: Path, url: str) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipe (name TEXT)")
    other.close()

    with pytest.raises(StoreError, match="not a trainyard store; move it away"):
        open_store(url, create=True)


def test_empty_file_is_to_be_removed(path: Path, url: str) -> None:
    path.parent.mkdir()
    path.touch()

    for create in (False, True):
        with pytest.raises(StoreError, match=r"an empty file, .* remove it, then"):
            open_store(url, create=create)
    path.unlink()
    open_store(url, create=True).dispose()


def test_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="cannot be created: Not a directory"):
        open_store(f"sqlite:///{tmp_path}/file/yard/trainyard.db", create=True)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://db/yard",
        "yard.db",
        "oracle://db/yard",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:////home/me/:memory:",
        "sqlite+pysqlite:///yard.db",
        "postgresql+psycopg://db:port",
        "postgresql+psycopg://db:port/yard",
        "postgresql+asyncpg://db/yard",
    ],
)
def test_unknown_database_names_the_known_ones(url: str) -> None:
    for create in (False, True):
        with pytest.raises(StoreError, match=r"expected sqlite:///FILE, or postgresql://"):
            open_store(url, create=create)


def test_unreachable_server_is_a_store_error_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://me:secret@/yard?host={tmp_path}"

    with pytest.raises(StoreUnavailableError, match="the store cannot be used now") as caught:
        open_store(url, create=False)

    assert "secret" not in str(caught.value)
    assert "me:***@" in str(caught.value)


def test_shown_store_has_no_password(url: str) -> None:
    engine = open_store(url, create=True)

    assert shown(engine) == url
    engine.dispose()


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("/tmp", "ext4"), ("/home/me", "nfs4"), ("/home/fast disk/yard", "xfs")],
)
def test_file_system_is_that_of_the_nearest_mount(folder: str, expected: str) -> None:
    assert file_system(Path(folder), mounts=MOUNTS) == expected


def test_network_file_system_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "file_system", lambda _: "nfs4")

    with pytest.raises(StoreError, match=r"network file system \(nfs4\)"):
        open_store(url, create=True)


def test_database_clock_reads_the_same_twice_in_one_statement(url: str) -> None:
    engine = open_store(url, create=True)
    with reading(engine) as connection:
        first, second = connection.execute(select(database_now(), database_now())).one()
    engine.dispose()

    assert first == second > 1.7e9


def test_queue_and_results_import_nothing_heavy(repository: Path) -> None:
    heavy = {"alembic", "mlflow", "numpy", "pandas", "psycopg", "ray", "sklearn", "torch"}
    program = (
        "import sys, orchestrator.queueing.queue, orchestrator.measurements.results, "
        "orchestrator.queueing.outbox, "
        f"orchestrator.instance; print(sorted(set(sys.modules) & {heavy}))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, check=True
    )

    assert answer.stdout == b"[]\n"
