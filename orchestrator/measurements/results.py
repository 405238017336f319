"""What workers measured, written under their fences, and what people read of it.

Writing takes a batch in one transaction. Reading never waits for a writer, and gives
plain records (`rows.py`).
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import Engine, select

from experiments.architectures.architecture import Architecture
from experiments.events import Said
from experiments.records import TrialConfig
from experiments.states import TrialState
from orchestrator.measurements import lookup, measured, recording
from orchestrator.measurements.digest import digest_of
from orchestrator.queueing.leases import Lease, valid_leases
from orchestrator.store.database import Clock, database_now, reading, writing
from orchestrator.store.rows import (
    AttemptRow,
    CheckpointRow,
    Confusion,
    CurveColumns,
    CurvePoint,
    ExperimentRow,
    IncidentRow,
    OrchestratorRow,
    Overview,
    RecordedFiles,
    RecordedSpec,
    TrialColumns,
    TrialRow,
)
from orchestrator.store.tables import attempt, experiment, trial

RECENT_SECONDS: Final = 300.0
MOST_INCIDENTS: Final = 1000


class Results:
    """The measured side of the store."""

    def __init__(self, engine: Engine, *, now: Clock = database_now) -> None:
        self._engine = engine
        self._now = now

    def record(self, batch: Iterable[tuple[Lease, Said]]) -> frozenset[Lease]:
        """Write what workers say; what comes under a stale lease is dropped.

        A point measured again, by a later attempt, replaces the earlier one; an attempt that
        begins takes out what earlier ones measured after the step from which it goes on. Gives
        the leases that were stale.
        """
        said = list(batch)
        leases = frozenset(lease for lease, _ in said)
        with writing(self._engine) as connection:
            held = valid_leases(connection, leases)
            now = connection.execute(select(self._now())).scalar_one()
            good = [(lease, event) for lease, event in said if lease in held]
            recording.write(connection, good, now=now)
        return leases - held

    def experiments(self) -> tuple[ExperimentRow, ...]:
        """Give all experiments, the oldest first."""
        with reading(self._engine) as connection:
            return lookup.experiments(connection)

    def resolve_experiment(self, name_or_id: str) -> ExperimentRow:
        """Find an experiment by its name (the newest of that name), id, or start of an id.

        Raises:
            NotFoundError: There is none; the message gives the nearest names.
        """
        with reading(self._engine) as connection:
            return lookup.experiment_called(connection, name_or_id)

    def experiment(self, experiment_id: str) -> ExperimentRow:
        """Give an experiment; `experiment_id` is whole."""
        with reading(self._engine) as connection:
            return lookup.experiment_with_id(connection, experiment_id)

    def spec(self, experiment_id: str) -> RecordedSpec:
        """Give what an experiment was submitted as; `experiment_id` is whole."""
        query = select(experiment.c.spec, experiment.c.text).where(experiment.c.id == experiment_id)
        with reading(self._engine) as connection:
            return RecordedSpec(*connection.execute(query).one())

    def overviews(
        self,
        experiment_ids: Collection[str] | None = None,
        *,
        recent_seconds: float = RECENT_SECONDS,
        open_only: bool = False,
    ) -> tuple[Overview, ...]:
        """Give experiments at a glance (all, unless ids are given), the oldest first.

        With `open_only` those alone that have trials which wait or are under way.
        """
        with reading(self._engine) as connection:
            since = connection.execute(select(self._now())).scalar_one() - recent_seconds
            chosen = lookup.experiments(connection, experiment_ids, open_only=open_only)
            return tuple(lookup.overview(connection, row, since=since) for row in chosen)

    def trials(self, experiment_id: str, *, variant: str | None = None) -> tuple[TrialRow, ...]:
        """Give the trials of an experiment, or of one variant, in the order of their numbers."""
        where = trial.c.experiment_id == experiment_id
        if variant is not None:
            where &= trial.c.variant == variant
        with reading(self._engine) as connection:
            return lookup.trials(connection, where, order_by=trial.c.number)

    def trial_columns(self, experiment_id: str) -> TrialColumns:
        """Give the trials of an experiment, in the order of their numbers, column by column.

        For very many of them: a record each would take longer than all the rest.
        """
        with reading(self._engine) as connection:
            return lookup.trial_columns(connection, trial.c.experiment_id == experiment_id)

    def architectures(self, trial_ids: Collection[str]) -> Mapping[str, Architecture]:
        """Give the networks of some trials, by trial; the ids are whole, and not many."""
        with reading(self._engine) as connection:
            return lookup.architectures(connection, trial_ids)

    def trial(self, trial_id: str) -> TrialRow:
        """Find a trial by its id, or the start of its id if no other starts so.

        Raises:
            NotFoundError: There is none, or more than one.
        """
        with reading(self._engine) as connection:
            return lookup.trial_called(connection, trial_id)

    def config(self, trial_id: str) -> TrialConfig:
        """Give what a trial trains; `trial_id` is whole."""
        with reading(self._engine) as connection:
            query = select(trial.c.config).where(trial.c.id == trial_id)
            return TrialConfig.from_data(connection.execute(query).scalar_one())

    def configs(self, experiment_id: str) -> dict[str, TrialConfig]:
        """Give what each trial of an experiment trains, by its id; equal networks are one."""
        query = select(trial.c.id, trial.c.config).where(trial.c.experiment_id == experiment_id)
        networks: dict[str, Architecture] = {}
        configs = {}
        with reading(self._engine) as connection:
            for trial_id, data in connection.execute(query):
                written = json.dumps(data["architecture"], sort_keys=True)
                if written not in networks:
                    networks[written] = Architecture.from_data(data["architecture"])
                configs[trial_id] = TrialConfig.from_data(data, architecture=networks[written])
        return configs

    def param_names(self, experiment_id: str) -> frozenset[str]:
        """Give the hyperparameters that any trial of an experiment has."""
        query = select(trial.c.params).where(trial.c.experiment_id == experiment_id)
        with reading(self._engine) as connection:
            return frozenset(name for params in connection.scalars(query) for name in params)

    def confusion(self, trial_id: str) -> Confusion | None:
        """Give how a trial's network answered on the test split; `trial_id` is whole.

        None unless it succeeded, and where its targets are no classes, or very many. Read by
        itself, because of a thousand trials it would be more than all the rest.
        """
        with reading(self._engine) as connection:
            return measured.confusions(connection, trial.c.id == trial_id).get(trial_id)

    def attempts(self, trial_id: str) -> tuple[AttemptRow, ...]:
        """Give a trial's executions, the first one first."""
        query = select(attempt).where(attempt.c.trial_id == trial_id).order_by(attempt.c.fence)
        with reading(self._engine) as connection:
            return tuple(lookup.attempt_row(row) for row in connection.execute(query))

    def checkpoints(self, trial_id: str) -> tuple[CheckpointRow, ...]:
        """Give a trial's newest checkpoint of each kind, or those of the trial that it reuses."""
        with reading(self._engine) as connection:
            rows = measured.checkpoints(connection, trial_id)
        newest = {row.kind: row for row in reversed(rows)}
        return tuple(newest[kind] for kind in sorted(newest))

    def recorded_files(self, trial_ids: Collection[str]) -> tuple[RecordedFiles, ...]:
        """Give which checkpoints of their own the trials have on record, of those that exist."""
        with reading(self._engine) as connection:
            return measured.recorded_files(connection, trial_ids)

    def selected_checkpoint(self, trial: TrialRow) -> CheckpointRow | None:
        """Give the checkpoint with the weights of the trial's selected epoch.

        Of several the best one, then the others by kind; None where none was kept, or while
        the trial has not succeeded.
        """
        if trial.state is not TrialState.SUCCEEDED:
            return None
        with reading(self._engine) as connection:
            rows = measured.checkpoints(connection, trial.id)
        kept = (row for row in rows if row.epoch == trial.selected_epoch)
        return min(kept, key=lambda row: (row.kind != "best", row.kind), default=None)

    def curves(
        self,
        *,
        experiment_id: str | None = None,
        trial_id: str | None = None,
        metrics: Sequence[str] | None = None,
    ) -> list[CurvePoint]:
        """Give the points of an experiment or of one trial, by trial, metric and step."""
        assert (experiment_id is None) != (trial_id is None), "name an experiment or a trial"
        of_it = (
            trial.c.id == trial_id
            if experiment_id is None
            else trial.c.experiment_id == experiment_id
        )
        with reading(self._engine) as connection:
            return _points(measured.curves(connection, of_it, metrics=metrics))

    def curve_columns(self, experiment_id: str) -> CurveColumns:
        """Give the points of an experiment, in the same order, column by column.

        For very many of them: a record each would take longer than all the rest.
        """
        with reading(self._engine) as connection:
            return measured.curves(connection, trial.c.experiment_id == experiment_id)

    def digest(self, experiment_id: str) -> str:
        """Give one hash of all that an experiment has found (`digest.py`)."""
        of_it = trial.c.experiment_id == experiment_id
        with reading(self._engine) as connection:
            return digest_of(
                lookup.trials(connection, of_it, order_by=trial.c.number),
                confusions={
                    trial_id: confusion.counts
                    for trial_id, confusion in measured.confusions(connection, of_it).items()
                },
                points=_points(measured.curves(connection, of_it)),
            )

    def incidents(
        self,
        *,
        experiment_id: str | None = None,
        trial_id: str | None = None,
        within_seconds: float | None = None,
        limit: int = MOST_INCIDENTS,
    ) -> tuple[IncidentRow, ...]:
        """Give what went wrong, the newest first: of all, or of an experiment or a trial."""
        with reading(self._engine) as connection:
            since = None
            if within_seconds is not None:
                since = connection.execute(select(self._now() - within_seconds)).scalar_one()
            return lookup.incidents(
                connection,
                experiment_id=experiment_id,
                trial_id=trial_id,
                since=since,
                limit=limit,
            )

    def orchestrators(self) -> tuple[OrchestratorRow, ...]:
        """Give who works on the store, and who died at it; who began first comes first."""
        with reading(self._engine) as connection:
            return lookup.orchestrators(connection, now=self._now())


def _points(columns: CurveColumns) -> list[CurvePoint]:
    return [CurvePoint(*point) for point in zip(*columns, strict=True)]
