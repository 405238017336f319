"""Working on everything, with an orchestrator that ends trials at once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest
from sqlalchemy import Engine, update

from experiments.errors import StoreUnavailableError
from experiments.states import ExperimentState, TrialState
from orchestrator.measurements.results import Results
from orchestrator.mirroring.mirror import Untold
from orchestrator.queueing.queue import Queue
from orchestrator.settings import Settings
from orchestrator.store.database import open_store
from orchestrator.store.rows import Overview
from orchestrator.store.tables import experiment
from tests.samples import NOT_FINITE, claim_one, submit, success_of
from trainyard import working


class QuickOrchestrator:
    """Fails every queued trial between two looks."""

    engine: Engine

    def __init__(self, settings: Settings, *, num_workers: int | None) -> None:
        assert num_workers is None
        assert settings.home.name
        self.id = "0a1b2c3d"
        self.queue, self.results = Queue(self.engine), Results(self.engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""

    def work(self, *, until: Callable[[], bool], on_turn: Callable[[], None]) -> bool:
        on_turn()
        self.queue.fail(claim_one(self.queue).lease, NOT_FINITE)
        while not until():
            pass  # the first look that is due sees the end, and nobody is shown it
        return True

    def drain_mirror(self, **_: object) -> int:
        return 3  # MLflow does not answer

    def hand_over_mirror(self) -> Untold:
        return Untold(3, goes_on=True)


@pytest.mark.parametrize("waits", [False, True])
def test_the_last_look_shows_how_everything_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    submit(Queue(engine), 1)
    QuickOrchestrator.engine = engine
    monkeypatch.setattr(working, "Orchestrator", QuickOrchestrator)
    shown: list[Sequence[Overview]] = []
    done = working.work_on_everything(
        num_workers=None, until_idle=True, on_look=shown.append, wait_for_mlflow=waits
    )
    engine.dispose()

    assert done.finished
    assert done.untold == Untold(3, goes_on=not waits)
    (last,) = shown[-1]
    assert last.state is ExperimentState.FINISHED
    assert last.counts[TrialState.FAILED] == 1


class Away(QuickOrchestrator):
    """Loses its store as soon as it works, for good or until it is told that it is back."""

    comes_back = False

    def work(self, *, until: Callable[[], bool], on_turn: Callable[[], None]) -> bool:
        on_turn()
        self.queue.fail(claim_one(self.queue).lease, NOT_FINITE)
        look = self.results.overviews

        def away(*_: object, **__: object) -> tuple[Overview, ...]:
            raise StoreUnavailableError("the connection was refused")

        self.results.overviews = away  # type: ignore[method-assign]
        for seconds in range(1, 60):
            self.clock.seconds += seconds
            on_turn()
            assert not until()  # what was seen last still counts
        if self.comes_back:
            self.results.overviews = look  # type: ignore[method-assign]
            self.clock.seconds += 60
            assert until()
        return self.comes_back

    class clock:  # noqa: N801 - stands for the module `time` of the module under test
        seconds = 0.0

        @classmethod
        def monotonic(cls) -> float:
            return cls.seconds


@pytest.mark.parametrize("comes_back", [True, False])
def test_looking_at_a_store_that_is_away_gives_what_was_seen_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    submit(Queue(engine), 1)
    Away.engine, Away.comes_back = engine, comes_back
    monkeypatch.setattr(working, "Orchestrator", Away)
    monkeypatch.setattr(working, "time", Away.clock)
    shown: list[Sequence[Overview]] = []
    done = working.work_on_everything(num_workers=None, until_idle=True, on_look=shown.append)
    engine.dispose()

    assert done.finished is comes_back
    # Whoever stops it wants no process to stay.
    assert done.untold == (Untold(3, goes_on=True) if comes_back else Untold(0, goes_on=False))
    assert all(len(seen) == 1 for seen in shown)
    assert shown[-1][0].counts[TrialState.FAILED] == comes_back


def test_an_experiment_is_over_once_nothing_of_it_is_under_way(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine), Results(engine)
    submit(queue, 2)
    lease = claim_one(queue).lease
    with engine.begin() as connection:  # as failures pause it: what is under way goes on
        connection.execute(update(experiment).values(paused_reason="3 trials failed"))
    (overview,) = results.overviews()
    assert overview.state is ExperimentState.PAUSED
    assert not working.is_over(overview)
    queue.succeed(lease, success_of(lease.trial_id))
    (overview,) = results.overviews()
    assert working.is_over(overview)
    engine.dispose()


def test_looks_that_take_long_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("trainyard.working.time", SimpleNamespace(monotonic=lambda: now[0]))
    looks = []

    def look() -> tuple[Overview, ...]:
        looks.append(now[0])
        now[0] += 0.5
        return ()

    glance = working._Glance(look, seconds=0.2)
    while now[0] < 30.0:
        glance.recent()
        now[0] += 0.1

    assert len(looks) == 3
