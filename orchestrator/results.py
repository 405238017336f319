"""What workers measured, written under their fences, and what people read of it.

Writing takes a batch in one transaction. Reading never waits for a writer, and gives
plain records (`rows.py`).
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, select
from sqlalchemy.dialects import postgresql, sqlite

from experiments.records import CheckpointSaved, PointsMeasured, TrialConfig
from experiments.states import TrialState
from orchestrator import lookup
from orchestrator.database import Clock, database_now, reading, writing
from orchestrator.leases import Lease, valid_leases
from orchestrator.rows import (
    AttemptRow,
    CheckpointRow,
    Confusion,
    CurvePoint,
    ExperimentRow,
    Overview,
    TrialRow,
)
from orchestrator.tables import attempt, checkpoint, experiment, metric, trial

Said = PointsMeasured | CheckpointSaved
"""What a worker reports while its trial goes on."""

RECENT_SECONDS: Final = 300.0


class Results:
    """The measured side of the store."""

    def __init__(self, engine: Engine, *, now: Clock = database_now) -> None:
        self._engine = engine
        self._now = now

    def record(self, batch: Iterable[tuple[Lease, Said]]) -> frozenset[Lease]:
        """Write points and checkpoints; what comes under a stale lease is dropped.

        The same point said again, by a later attempt, replaces the earlier one. Gives the
        leases that were stale.
        """
        said = list(batch)
        leases = frozenset(lease for lease, _ in said)
        with writing(self._engine) as connection:
            held = valid_leases(connection, leases)
            good = [(lease, event) for lease, event in said if lease in held]
            _upsert(connection, metric, list(_metric_rows(good)))
            saved = list(_checkpoint_rows(good))
            if saved:
                now = connection.execute(select(self._now())).scalar_one()
                _upsert(connection, checkpoint, [{**row, "created_at": now} for row in saved])
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
        query = (
            select(trial.c.confusion, experiment.c.class_names)
            .join_from(trial, experiment)
            .where(trial.c.id == trial_id)
        )
        with reading(self._engine) as connection:
            counts, names = connection.execute(query).one()
        if counts is None:
            return None
        return Confusion(tuple(names or map(str, range(len(counts)))), tuple(map(tuple, counts)))

    def attempts(self, trial_id: str) -> tuple[AttemptRow, ...]:
        """Give a trial's executions, the first one first."""
        query = select(attempt).where(attempt.c.trial_id == trial_id).order_by(attempt.c.fence)
        with reading(self._engine) as connection:
            return tuple(lookup.attempt_row(row) for row in connection.execute(query))

    def checkpoints(self, trial_id: str) -> tuple[CheckpointRow, ...]:
        """Give a trial's checkpoints, at most one of each kind."""
        columns = [checkpoint.c[name] for name in CheckpointRow.__dataclass_fields__]
        query = select(*columns).where(checkpoint.c.trial_id == trial_id)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(checkpoint.c.kind))
            return tuple(CheckpointRow(*row) for row in rows)

    def selected_checkpoint(self, trial: TrialRow) -> CheckpointRow | None:
        """Give the checkpoint with the weights of the trial's selected epoch.

        Of several the best one, then the others by kind; None where none was kept, or while
        the trial has not succeeded.
        """
        if trial.state is not TrialState.SUCCEEDED:
            return None
        kept = (row for row in self.checkpoints(trial.id) if row.epoch == trial.selected_epoch)
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
        columns = [metric.c[name] for name in CurvePoint._fields]
        query = select(*columns).order_by(metric.c.trial_id, metric.c.metric, metric.c.step)
        if trial_id is not None:
            query = query.where(metric.c.trial_id == trial_id)
        else:
            theirs = select(trial.c.id).where(trial.c.experiment_id == experiment_id)
            query = query.where(metric.c.trial_id.in_(theirs))
        if metrics is not None:
            query = query.where(metric.c.metric.in_(metrics))
        with reading(self._engine) as connection:
            return [
                CurvePoint(trial_id, name, epoch, step, math.nan if value is None else value, ms)
                for trial_id, name, epoch, step, value, ms in connection.execute(query)
            ]


def _metric_rows(said: Iterable[tuple[Lease, Said]]) -> Iterable[dict[str, Any]]:
    for lease, event in said:
        if isinstance(event, PointsMeasured):
            for point in event.points:
                yield {
                    "trial_id": lease.trial_id,
                    "metric": point.metric,
                    "step": point.step,
                    "epoch": point.epoch,
                    # SQLite has no NaN; NULL says the same on both databases.
                    "value": None if math.isnan(point.value) else point.value,
                    "timestamp_ms": point.timestamp_ms,
                    "fence": lease.fence,
                }


def _checkpoint_rows(said: Iterable[tuple[Lease, Said]]) -> Iterable[dict[str, Any]]:
    for lease, event in said:
        if isinstance(event, CheckpointSaved):
            yield {
                "trial_id": lease.trial_id,
                "kind": event.kind,
                "fence": lease.fence,
                "epoch": event.epoch,
                "step": event.step,
                "path": event.path,
                "sha256": event.sha256,
                "num_bytes": event.num_bytes,
            }


def _upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Write rows; one with the same key is replaced, unless a newer attempt wrote it."""
    if not rows:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    key = list(table.primary_key)
    others = {
        column.name: statement.excluded[column.name] for column in table.c if column not in set(key)
    }
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=key, set_=others, where=table.c.fence <= statement.excluded.fence
        ),
        rows,
    )
