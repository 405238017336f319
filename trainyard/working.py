"""Working on experiments in this process: data first, then the orchestrator until it is done."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Final, Protocol

from experiments.errors import DatasetError, StoreUnavailableError
from experiments.planning.plan import Plan
from experiments.records import DataConfig
from experiments.states import ExperimentState, TrialState
from orchestrator.measurements.results import Results
from orchestrator.mirroring.mirror import Untold
from orchestrator.pools.pool_process import PoolProcess
from orchestrator.pools.reaper import MARK
from orchestrator.scheduling.service import Orchestrator
from orchestrator.settings import Settings, from_environment
from orchestrator.store.rows import Overview
from trainyard.workplace import patiently

MIRROR_SECONDS: Final = 180.0
"""How long a finished run that was asked to waits for MLflow to have been told everything."""

_PAUSE_SECONDS: Final = 2.0  # after a look at a store that cannot be used
_MOST_OF_THE_TIME: Final = 0.05  # that looking may take: of many trials it takes longer

_DONE: Final = (ExperimentState.FINISHED, ExperimentState.PAUSED)


def is_over(overview: Overview) -> bool:
    """Say whether nothing of an experiment is under way, and nothing will be by itself.

    What was under way when failures paused it goes on, and is waited for.
    """
    return overview.state in _DONE and not overview.counts[TrialState.LEASED]


class Watcher(Protocol):
    """Is shown how an experiment stands, over and over."""

    def show(self, overview: Overview) -> None:
        """Take the present counts."""

    def show_mirror(self, num_left: int) -> None:
        """Take the number of trials and models that MLflow has yet to be told of."""

    def show_untold(self, untold: Untold) -> None:
        """Take what MLflow lacks at the end."""


class _Silent:
    def show(self, overview: Overview) -> None:
        """Show nothing."""

    def show_mirror(self, num_left: int) -> None:
        """Show nothing."""

    def show_untold(self, untold: Untold) -> None:
        """Show nothing."""


def work_on(
    plan: Plan,
    *,
    num_workers: int | None,
    git_commit: str | None,
    wait_for_mlflow: bool = False,
    pool: PoolProcess | None = None,
    watcher: AbstractContextManager[Watcher] | None = None,
    on_submitted: Callable[[Overview], None] = lambda _: None,
) -> Overview:
    """Submit a plan and work until its experiment is over: finished, or paused and at rest.

    What MLflow lacks then is told by a process that goes on by itself, unless it is waited for.
    A pool for as many workers may be given that has been launched while the plan was made.

    Raises:
        DatasetError: The data set cannot be had here; nothing was submitted.
        StoreBusyError: Another orchestrator works on this store; nothing was submitted.
        KeyboardInterrupt: It was told to stop; what is finished stays finished.
    """
    settings = from_environment()
    with Orchestrator(settings, num_workers=num_workers, pool=pool) as orchestrator:
        if settings.is_ray_embedded:
            prepare_data(plan.trials[0].config.data, settings, orchestrator=orchestrator.id)
        done = patiently(
            lambda: orchestrator.queue.submit(
                plan.experiment,
                plan.trials,
                class_names=plan.data.class_names,
                git_commit=git_commit,
            )
        )

        glance = _Glance(lambda: orchestrator.results.overviews([done.experiment_id]), seconds=0.2)
        on_submitted(glance.now()[0])
        with watcher or nullcontext(_Silent()) as shown:
            finished = orchestrator.work(
                until=lambda: is_over(glance.recent()[0]),
                on_turn=lambda: shown.show(glance.recent()[0]),
            )
            if not finished:
                shown.show(glance.latest()[0])
                raise KeyboardInterrupt("what is finished is kept; the same command goes on")
            shown.show(patiently(glance.now)[0])
            untold = _rest(orchestrator, is_waited_for=wait_for_mlflow, on_turn=shown.show_mirror)
            if untold.num:
                shown.show_untold(untold)
        return patiently(glance.now)[0]


@dataclass(frozen=True, slots=True)
class Worked:
    """How working on everything ended; `finished` is false if it was told to stop."""

    finished: bool
    untold: Untold


def work_on_everything(
    *,
    num_workers: int | None,
    until_idle: bool,
    on_look: Callable[[Sequence[Overview]], None],
    wait_for_mlflow: bool = False,
) -> Worked:
    """Work on whatever is queued, until it is told to stop or (if asked) nothing is left.

    `on_look` is shown all experiments every second or so.

    Raises:
        StoreBusyError: Another orchestrator works on this store.
    """
    with Orchestrator(from_environment(), num_workers=num_workers) as orchestrator:
        underway = _Underway(orchestrator.results)
        glance = _Glance(underway.look, seconds=1.0)
        whole = _Glance(underway.look_at_all, seconds=0.0)

        def is_idle() -> bool:
            return until_idle and all(map(is_over, glance.recent()))

        finished = orchestrator.work(until=is_idle, on_turn=lambda: on_look(glance.recent()))
        on_look(patiently(whole.now) if finished else whole.latest())
        if not finished:  # who stops it wants no process to stay
            return Worked(finished, Untold(0, goes_on=False))
        untold = _rest(orchestrator, is_waited_for=wait_for_mlflow, on_turn=lambda _: None)
        return Worked(finished, untold)


def _rest(
    orchestrator: Orchestrator, *, is_waited_for: bool, on_turn: Callable[[int], None]
) -> Untold:
    """See to it that MLflow is told the rest, here or by a process that goes on by itself."""
    if not is_waited_for:
        return orchestrator.hand_over_mirror()
    left = orchestrator.drain_mirror(timeout_seconds=MIRROR_SECONDS, on_turn=on_turn)
    return Untold(left, goes_on=False)


class _Underway:
    """Looks at the experiments with open trials, and remembers which these were."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._open: frozenset[str] = frozenset()
        self._ever_open: set[str] = set()

    def look(self) -> tuple[Overview, ...]:
        """Give those with open trials, and once more each that has none left."""
        seen = self._results.overviews(open_only=True)
        ids = frozenset(overview.experiment.id for overview in seen)
        ended, self._open = self._open - ids, ids
        self._ever_open |= ids
        return (self._results.overviews(ended) if ended else ()) + seen

    def look_at_all(self) -> tuple[Overview, ...]:
        """Give all that ever had open trials, as they stand now."""
        return self._results.overviews(self._ever_open) if self._ever_open else ()


class _Glance:
    """Looks at experiments a few times a second at most: turns may be much faster.

    Less often where a look takes long, which is time that the work waits.
    """

    def __init__(self, look: Callable[[], tuple[Overview, ...]], *, seconds: float) -> None:
        self._look = look
        self._seconds = seconds
        self._look_at = 0.0
        self._seen = patiently(self.now)

    def now(self) -> tuple[Overview, ...]:
        """Look; raises StoreUnavailableError where that cannot be done now."""
        began_at = time.monotonic()
        self._seen = self._look()
        looked_at = time.monotonic()
        least_seconds = (looked_at - began_at) / _MOST_OF_THE_TIME
        self._look_at = looked_at + max(self._seconds, least_seconds)
        return self._seen

    def latest(self) -> tuple[Overview, ...]:
        """Look, or give what was seen last while the store cannot be used."""
        try:
            return self.now()
        except StoreUnavailableError:  # the scheduler tells of it
            self._look_at = time.monotonic() + _PAUSE_SECONDS
            return self._seen

    def recent(self) -> tuple[Overview, ...]:
        """Give what was seen lately, or look."""
        return self._seen if time.monotonic() < self._look_at else self.latest()


def prepare_data(config: DataConfig, settings: Settings, *, orchestrator: str) -> None:
    """Prepare a data set on this machine unless it is; its progress goes to stderr.

    In a process of its own: reading a data set for the first time may import torchvision,
    which takes 15 seconds and is of no use here afterwards. It carries the orchestrator's id,
    so that it ends with that one.

    Raises:
        DatasetError: The data cannot be had here.
    """
    from workers.staging import is_staged

    if is_staged(config, settings.data):
        return
    job = [sys.executable, "-m", "workers.staging", json.dumps(asdict(config)), str(settings.data)]
    marked = os.environ | {MARK: orchestrator}
    if subprocess.run(job, stdin=subprocess.DEVNULL, env=marked, check=False).returncode:
        raise DatasetError(
            f"{config.name}: not prepared, for the reason above; nothing was submitted"
        )
