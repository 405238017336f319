"""One installation opened: its settings, and its store when something asks for it."""

from collections.abc import Collection
from functools import cached_property
from typing import Self

from sqlalchemy import Engine

from experiments.states import TrialState
from orchestrator.database import open_store
from orchestrator.interventions import Cancellation
from orchestrator.known import experiment_or_trial
from orchestrator.queue import Queue
from orchestrator.results import Results
from orchestrator.rows import TrialRow
from orchestrator.settings import Settings, from_environment


class Workplace:
    """Gives the results for reading and the queue for acting, opening the store once.

    Reading never creates a store: where there is none yet, `results` raises NotFoundError.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Take the settings from the environment unless they are given."""
        self.settings = settings or from_environment()
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
        return Results(self._open(create=False))

    @cached_property
    def queue(self) -> Queue:
        """What takes experiments and hands out trials; the store is made if need be."""
        self.settings.create_home()
        return Queue(self._open(create=True))

    def cancel(self, what: str) -> Cancellation:
        """Cancel an experiment or a trial, by name or id.

        Raises:
            NotFoundError: There is neither.
        """
        experiment_id, trial_id = self._either(what)
        return self.queue.cancel(experiment_id=experiment_id, trial_id=trial_id)

    def retry(self, what: str, *, states: Collection[TrialState]) -> int:
        """Queue again the trials of an experiment, or the trial, that ended in `states`.

        Raises:
            NotFoundError: There is neither.
        """
        experiment_id, trial_id = self._either(what)
        return self.queue.retry(experiment_id=experiment_id, trial_id=trial_id, states=states)

    def _open(self, *, create: bool) -> Engine:
        engine = open_store(self.settings.database_url, create=create)
        self._engines.append(engine)
        return engine

    def _either(self, what: str) -> tuple[str | None, str | None]:
        """Give the id of the experiment called so, or else of the trial."""
        found = experiment_or_trial(self.results, what)
        return (None, found.id) if isinstance(found, TrialRow) else (found.id, None)
