"""Working on everything, with an orchestrator that ends trials at once."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import Engine

from experiments.states import ExperimentState, TrialState
from orchestrator.database import open_store
from orchestrator.queue import Queue
from orchestrator.results import Results
from orchestrator.rows import Overview
from orchestrator.settings import Settings
from tests.samples import NOT_FINITE, claim_one, submit
from trainyard import working


class QuickOrchestrator:
    """Fails every queued trial between two looks."""

    engine: Engine

    def __init__(self, settings: Settings, *, num_workers: int | None) -> None:
        assert num_workers is None
        assert settings.home.name
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
        return 0


def test_the_last_look_shows_how_everything_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    submit(Queue(engine), 1)
    QuickOrchestrator.engine = engine
    monkeypatch.setattr(working, "Orchestrator", QuickOrchestrator)
    shown: list[Sequence[Overview]] = []
    done = working.work_on_everything(num_workers=None, until_idle=True, on_look=shown.append)
    engine.dispose()

    assert done.finished
    (last,) = shown[-1]
    assert last.state is ExperimentState.FINISHED
    assert last.counts[TrialState.FAILED] == 1
