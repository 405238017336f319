"""What a plan wants to know of earlier trials: which are done, what they took and learned."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, case, func, select, true

from experiments.architectures.transfer import SourceNetwork
from experiments.errors import NotFoundError
from experiments.planning.cost import CostSample, Work
from experiments.planning.strategies import PLAIN
from experiments.states import TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.reuse import may_give
from orchestrator.store.database import reading
from orchestrator.store.rows import CheckpointRow, ExperimentRow, TrialRow
from orchestrator.store.tables import experiment, trial

MOST_SAMPLES: Final = 500
_KEYS_AT_ONCE: Final = 1000  # databases bound the values of one statement


class Known:
    """Reads of a store what a plan asks; the engine is its caller's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def finished(self, keys: Collection[str], *, keep: Collection[str]) -> set[str]:
        """Give those of the content keys whose result is there, with the checkpoints to `keep`.

        Whatever the experiment: these are the results that a submission takes.
        """
        is_source = may_give(trial, {kind: true() for kind in keep})
        wanted, found = sorted(keys), set[str]()
        with reading(self._engine) as connection:
            for start in range(0, len(wanted), _KEYS_AT_ONCE):
                some = trial.c.content_key.in_(wanted[start : start + _KEYS_AT_ONCE])
                found.update(connection.scalars(select(trial.c.content_key).where(some, is_source)))
        return found

    def is_submitted(self, experiment_id: str) -> bool:
        """Say whether there is an experiment of exactly this id."""
        query = select(experiment.c.id).where(experiment.c.id == experiment_id)
        with reading(self._engine) as connection:
            return connection.execute(query).first() is not None

    def samples(self, machine: str, *, plain: bool) -> list[CostSample]:
        """Give what the latest successful trials took on a machine, the newest first.

        Seconds are those of the training: a claimed trial may wait for others, and for its worker
        to measure how it is trained best. Only trials that succeeded at once, by their own
        training, count. Of a pack it is the trial's share; the memory is everybody's then, and not
        given. If `plain`, those are left out; what another version wrote as work always is.
        """
        was_alone = func.coalesce(trial.c.strategy, PLAIN.text).startswith(PLAIN.text)
        peak_memory = case((was_alone, trial.c.peak_memory_bytes))
        at_once = (
            (trial.c.state == TrialState.SUCCEEDED)
            & (trial.c.fence == 1)
            & trial.c.reused_from.is_(None)
        )
        query = (
            select(trial.c.work, trial.c.duration_seconds, peak_memory)
            .where(trial.c.machine == machine, at_once, was_alone if plain else true())
            .order_by(trial.c.finished_at.desc())
            .limit(MOST_SAMPLES)
        )
        with reading(self._engine) as connection:
            return [
                CostSample(Work.from_data(work), taken, peak)
                for work, taken, peak in connection.execute(query)
                if set(work) == set(Work.__dataclass_fields__)
            ]

    def source(self, name: str) -> SourceNetwork:
        """Give what an experiment's best trial, or the trial of an id, has learned.

        Raises:
            NotFoundError: There is neither, or its weights are not there.
        """
        results = Results(self._engine)
        row = _trial(results, name)
        found = selected_weights(results, row)
        if not Path(found.path).is_file():
            raise NotFoundError(f"the weights of {row.id} are gone: no file {found.path}")
        architecture = results.config(row.id).architecture
        return SourceNetwork(row.id, architecture, found.sha256, found.path)


def experiment_or_trial(results: Results, name: str) -> ExperimentRow | TrialRow:
    """Give the experiment of a name or an id, or else the trial of an id.

    Raises:
        NotFoundError: There is neither.
    """
    try:
        return results.resolve_experiment(name)
    except NotFoundError:
        try:
            return results.trial(name)
        except NotFoundError:
            raise NotFoundError(
                f"{name!r} is neither an experiment nor a trial; `trainyard status` lists "
                "experiments, `trainyard trials EXPERIMENT` its trials"
            ) from None


def selected_weights(results: Results, row: TrialRow) -> CheckpointRow:
    """Give the checkpoint of a trial's selected epoch.

    Raises:
        NotFoundError: It has none; the message says when it would.
    """
    found = results.selected_checkpoint(row)
    if found is None:
        raise NotFoundError(
            f"{row.id} ({row.state.value}) has no weights of a selected epoch; it must have "
            "succeeded, and checkpoints.keep must name the epoch that objective.select selects"
        )
    return found


def _trial(results: Results, name: str) -> TrialRow:
    """Give a trial by its id, or an experiment's best one."""
    of = experiment_or_trial(results, name)
    if isinstance(of, TrialRow):
        return of
    (overview,) = results.overviews([of.id])
    if overview.best is None:
        raise NotFoundError(
            f"no trial of {of.name} ({of.id}) has succeeded yet, so it has learned nothing to "
            "start from; run it first"
        )
    return overview.best
