"""A disk without room: nothing is half-written, and work goes on when there is room again."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import torch
from sqlalchemy import Engine

from experiments.data.datasets import facts
from experiments.errors import StoreUnavailableError
from experiments.events import (
    CheckpointSaved,
    Event,
    MetricPoint,
    PointsMeasured,
    TrialNoted,
    TrialSucceeded,
)
from experiments.records import Assignment, CheckpointPolicy, DataConfig
from experiments.states import IncidentKind, TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from tests.faults.conftest import SmallDisk
from tests.postgres import PostgresServer, server_or_skip
from tests.samples import a_config, claim_one, everything_in, submit, success_of
from workers.staging import stage
from workers.training import run_pack

ID = "exp1-0001"
MANY = PointsMeasured(
    ID, tuple(MetricPoint("train/batch_loss", 1, step, 0.5, step) for step in range(1, 8_001))
)


def assert_waits_for_room(engine: Engine, disk: SmallDisk) -> None:
    """Fill the disk under a store: writes are refused whole, and done when there is room."""
    queue, results = Queue(engine), Results(engine)
    submit(queue, 2)
    lease = claim_one(queue).lease
    before = everything_in(engine)
    disk.fill()

    with pytest.raises(StoreUnavailableError, match="make room"):
        results.record([(lease, MANY)])
    assert everything_in(engine) == before

    disk.clear()
    assert results.record([(lease, MANY)]) == frozenset()
    assert queue.succeed(lease, success_of(ID))
    assert len(results.curves(trial_id=ID)) == len(MANY.points)
    assert results.trial(ID).state is TrialState.SUCCEEDED


def test_sqlite_waits_for_room(small_disk: SmallDisk) -> None:
    engine = open_store(f"sqlite:///{small_disk.folder / 'store.db'}", create=True)
    assert_waits_for_room(engine, small_disk)
    engine.dispose()


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with server_or_skip(durable=True) as server:
        yield server


@pytest.mark.postgres
@pytest.mark.slow
def test_postgresql_waits_for_room(server: PostgresServer, small_disk: SmallDisk) -> None:
    """Only its tables lie on the full disk: without room for its log a server ends."""
    place = small_disk.folder / "tables"
    place.mkdir()
    shutil.chown(place, "postgres")
    for folder in place.parents:  # pytest's own are for their owner alone
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    with psycopg.connect(
        host=str(server.folder), port=server.port, user="postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'".encode())
        connection.execute(b"CREATE DATABASE full_disk TABLESPACE small")
    engine = open_store(server.url("full_disk"), create=True)
    assert_waits_for_room(engine, small_disk)
    engine.dispose()


class Listener:
    """Keeps what a trial says, and fills the disk when its first checkpoint is there."""

    def __init__(self, disk: SmallDisk) -> None:
        self.events: list[Event] = []
        self._disk = disk

    def report(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, CheckpointSaved) and len(self.saved) == 1:
            self._disk.fill()

    def stop_requested(self, trial_id: str) -> bool:
        del trial_id
        return False

    @property
    def saved(self) -> list[CheckpointSaved]:
        return [event for event in self.events if isinstance(event, CheckpointSaved)]


def test_training_goes_on_without_room_for_checkpoints(
    small_disk: SmallDisk, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    data = DataConfig("digits", facts("digits", {}, root=tmp_path).digest, limit=200)
    assignment = Assignment(
        ID,
        1,
        replace(a_config(), data=data, epochs=3),
        CheckpointPolicy(every_epochs=1, keep=("last",)),
        str(small_disk.folder / ID / "0001"),
    )
    listener = Listener(small_disk)

    run_pack([assignment], stage(data, root=tmp_path / "data"), listener)

    assert isinstance(listener.events[-1], TrialSucceeded)
    notes = [event for event in listener.events if isinstance(event, TrialNoted)]
    assert {note.kind for note in notes} == {IncidentKind.CHECKPOINT_NOT_WRITTEN}
    (first,) = listener.saved
    assert hashlib.sha256(Path(first.path).read_bytes()).hexdigest() == first.sha256
    assert [path.name for path in Path(first.path).parent.iterdir()] == [Path(first.path).name]
