"""One installation opened: its settings, and its store when something asks for it.

What is asked of the store is asked again while that is restarting, for `PATIENCE_SECONDS`.
"""

import sys
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, Self, TypeVar, cast

from sqlalchemy import Engine

from experiments.errors import NotFoundError, StoreUnavailableError
from experiments.language.printable import printable
from experiments.states import TERMINAL_STATES, TrialState
from orchestrator.measurements.known import experiment_or_trial
from orchestrator.measurements.results import Results
from orchestrator.queueing.interventions import Cancellation, Pause
from orchestrator.queueing.outbox import Outbox
from orchestrator.queueing.outcomes import BAD_STATES
from orchestrator.queueing.queue import Queue
from orchestrator.settings import Settings, from_environment
from orchestrator.store.database import open_store, persist
from orchestrator.store.rows import ExperimentRow, TrialRow

PATIENCE_SECONDS: Final = 15.0
"""How long a command waits for a store that cannot be used now."""

_QUIET_SECONDS: Final = 1.0
_IN_DOUBT: Final = (
    "the store went away for a moment: it may have been done at the first try; "
    "see `trainyard status`"
)

Answer = TypeVar("Answer")
Store = TypeVar("Store", Queue, Results, Outbox)


class Workplace:
    """Gives the results for reading and the queue for acting, opening the store once.

    Reading never creates a store: where there is none yet, `results` raises NotFoundError.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Take the settings from the environment unless they are given."""
        self.settings = settings or from_environment()
        self.is_in_doubt = False
        """Whether what found nothing to do may have been done by a try that got no answer."""
        self._engines: list[Engine] = []

    def __enter__(self) -> Self:
        """Open nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the store's connections."""
        for engine in self._engines:
            engine.dispose()

    @cached_property
    def results(self) -> Results:
        """What is recorded; raises NotFoundError when there is no store yet."""
        return _patient(Results(self._open(create=False)))

    @cached_property
    def queue(self) -> Queue:
        """What takes experiments and hands out trials; the store is made if need be."""
        return _patient(self._queue)

    @cached_property
    def outbox(self) -> Outbox:
        """What MLflow has yet to be told; raises NotFoundError when there is no store yet."""
        return _patient(Outbox(self._open(create=False)))

    @cached_property
    def _queue(self) -> Queue:
        self.settings.create_home()
        return Queue(self._open(create=True))

    def experiments(self, *names: str) -> tuple[ExperimentRow, ...]:
        """Find experiments by name or id, each once, in the order in which they are named.

        Raises:
            NotFoundError: There is no experiment of one of the names; or none is named.
        """
        if not names:
            raise NotFoundError("name an experiment; `trainyard status` lists them all")
        found = map(self.results.resolve_experiment, names)
        return tuple({row.id: row for row in found}.values())

    def cancel(self, what: str) -> Cancellation:
        """Cancel an experiment or a trial, by name or id.

        Raises:
            NotFoundError: There is neither.
        """
        experiment_id, trial_id = self._either(what)
        return self._act(
            lambda: self._queue.cancel(experiment_id=experiment_id, trial_id=trial_id),
            nothing=Cancellation(0, 0),
        )

    def pause(self, what: str) -> Pause:
        """Begin nothing more of an experiment or a trial, and ask what runs of it to stop.

        Raises:
            NotFoundError: There is neither.
        """
        experiment_id, trial_id = self._either(what)
        return self._act(
            lambda: self._queue.pause(experiment_id=experiment_id, trial_id=trial_id),
            nothing=Pause(0, 0),
        )

    def resume(self, what: str) -> int:
        """Let an experiment or a trial go on that was paused; give how many trials wait again.

        Raises:
            NotFoundError: There is neither.
        """
        experiment_id, trial_id = self._either(what)
        return self._act(
            lambda: self._queue.resume(experiment_id=experiment_id, trial_id=trial_id),
            nothing=0,
        )

    def is_over(self, what: str) -> bool:
        """Say whether nothing of an experiment or a trial waits or is under way.

        Raises:
            NotFoundError: There is neither.
        """
        found = experiment_or_trial(self.results, what)
        if isinstance(found, TrialRow):
            return found.state in TERMINAL_STATES
        (overview,) = self.results.overviews([found.id])
        return overview.num_open == 0

    def retry(self, what: str, *, failed_only: bool) -> int:
        """Queue again what failed of an experiment, or the trial; give how many trials.

        What was cancelled too, unless `failed_only`.

        Raises:
            NotFoundError: There is neither.
        """
        states = BAD_STATES if failed_only else (*BAD_STATES, TrialState.CANCELLED)
        experiment_id, trial_id = self._either(what)
        return self._act(
            lambda: self._queue.retry(
                experiment_id=experiment_id, trial_id=trial_id, states=states
            ),
            nothing=0,
        )

    def _act(self, action: Callable[[], Answer], *, nothing: Answer) -> Answer:
        """Do something patiently, and say so where nobody knows which try did it.

        A COMMIT whose answer was lost is done, and its repetition finds nothing left to do.
        """
        num_tries = 0

        def once() -> Answer:
            nonlocal num_tries
            num_tries += 1
            return action()

        answer = patiently(once)
        if num_tries > 1 and answer == nothing:
            self.is_in_doubt = True
            print(_IN_DOUBT, file=sys.stderr, flush=True)
        return answer

    def _open(self, *, create: bool) -> Engine:
        engine = patiently(lambda: open_store(self.settings.database_url, create=create))
        self._engines.append(engine)
        return engine

    def _either(self, what: str) -> tuple[str | None, str | None]:
        """Give the id of the experiment called so, or else of the trial."""
        found = experiment_or_trial(self.results, what)
        return (None, found.id) if isinstance(found, TrialRow) else (found.id, None)


def num_under_way(results: Results) -> Counter[str]:
    """Count the trials under way by the id of the orchestrator that took them up."""
    held = Counter[str]()
    for overview in results.overviews(open_only=True):
        if not overview.counts[TrialState.LEASED]:
            continue
        for row in results.trials(overview.experiment.id):
            if row.state is TrialState.LEASED:
                held.update(attempt.orchestrator for attempt in results.attempts(row.id)[-1:])
    return held


def patiently(action: Callable[[], Answer]) -> Answer:
    """Do something that is safe to repeat, waiting a while for a store that cannot be used now.

    Says so on stderr when that takes longer than a moment.

    Raises:
        StoreUnavailableError: It could not be used for `PATIENCE_SECONDS`.
    """
    is_said = False

    def say(error: StoreUnavailableError, seconds_gone: float) -> None:
        nonlocal is_said
        if not is_said and seconds_gone > _QUIET_SECONDS:
            is_said = True
            waiting = f"{error}; trying again for up to {PATIENCE_SECONDS:g} s"
            print(printable(waiting), file=sys.stderr, flush=True)

    return persist(action, seconds=PATIENCE_SECONDS, waiting=say)


def _patient(store: Store) -> Store:
    """Give what asks the store, each method called `patiently`: all are safe to repeat."""
    return cast(Store, _Patient(store))


class _Patient:
    def __init__(self, store: Queue | Results | Outbox) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*arguments: Any, **options: Any) -> Any:
            return patiently(lambda: method(*arguments, **options))

        return call
