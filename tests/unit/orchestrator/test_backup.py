"""Backups: whole, private, never over another file, while others write."""

import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from experiments.errors import NotFoundError, StoreError
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.settings import sqlite_path
from orchestrator.store.backup import back_up
from orchestrator.store.database import open_store, reading
from orchestrator.store.tables import metadata
from tests.samples import claim, points_of, submit


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trainyard.db'}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_store(url, create=True)
    submit(Queue(engine), 8)
    yield engine
    engine.dispose()


def contents(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    with reading(engine) as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


def test_backup_is_the_same_store_for_its_owner_only(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    target = tmp_path / "a folder" / "back #up%41?.db"
    target.parent.mkdir()

    back_up(url, target)

    assert target.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in target.parent.iterdir()] == [target.name]
    copy = open_store(f"sqlite:///{target}", create=True)
    assert contents(copy) == contents(engine)
    with reading(copy) as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    copy.dispose()


def test_backup_beside_writers_is_as_the_store_was_at_one_moment(
    url: str, engine: Engine, tmp_path: Path
) -> None:
    """Each writer writes one more point of all its trials at once; no copy may have it of some."""
    queue, done = Queue(engine), threading.Event()
    leases = [one.lease for one in claim(queue, limit=8)]

    def write() -> None:
        values: list[float] = []
        while not done.is_set():
            values.append(0.5)
            Results(engine).record(
                [(lease, points_of(lease.trial_id, *values)) for lease in leases]
            )

    writer = threading.Thread(target=write)
    writer.start()
    lengths = []
    for number in range(5):
        while len(Results(engine).curves(trial_id="exp1-0001")) < 3 * number + 1:
            done.wait(0.01)
        back_up(url, tmp_path / f"{number}.db")
        copy = open_store(f"sqlite:///{tmp_path / f'{number}.db'}", create=False)
        curves = [len(Results(copy).curves(trial_id=lease.trial_id)) for lease in leases]
        copy.dispose()
        assert len(set(curves)) == 1
        lengths += curves[:1]
    done.set()
    writer.join()
    assert lengths == sorted(lengths)
    assert lengths[-1] > lengths[0] > 0


@pytest.mark.usefixtures("engine")
def test_existing_file_is_not_overwritten(url: str, tmp_path: Path) -> None:
    for target in (tmp_path / "mine.txt", tmp_path / "link", sqlite_path(url)):
        assert target is not None
        if target.name == "mine.txt":
            target.write_text("mine")
        if target.name == "link":
            target.symlink_to("nowhere")
        with pytest.raises(StoreError, match="is there already, and is not overwritten"):
            back_up(url, target)
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.usefixtures("engine")
def test_missing_store_and_missing_folder_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing to back up"):
        back_up(f"sqlite:///{tmp_path}/none.db", tmp_path / "copy.db")
    with pytest.raises(StoreError, match="cannot be written: No such file or directory"):
        back_up(url, tmp_path / "none" / "copy.db")
    assert not (tmp_path / "none.db").exists()
    assert not (tmp_path / "copy.db").exists()


def test_damaged_store_leaves_no_backup(url: str, engine: Engine, tmp_path: Path) -> None:
    engine.dispose()
    path = sqlite_path(url)
    assert path is not None
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)

    with pytest.raises(StoreError, match="is damaged"):
        back_up(url, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


def test_postgresql_names_its_own_program_and_no_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:hush@db:5433/yard?sslmode=require&password=hush"

    with pytest.raises(StoreError, match="PostgreSQL's own program") as caught:
        back_up(url, tmp_path / "the copy")

    command = str(caught.value).partition("program: ")[2].partition(" (which")[0]
    assert shlex.split(command) == [
        "pg_dump",
        "--format=custom",
        f"--file={tmp_path}/the copy",
        "postgresql://me@db:5433/yard?sslmode=require",
    ]
    assert "hush" not in str(caught.value)
