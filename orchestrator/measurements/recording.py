"""Writing down what workers say of trials that go on; who may write has been checked before.

Saying the same again, because the first reply was lost, is saying it once.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, case, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from experiments.events import CheckpointSaved, PointsMeasured, Said, TrialBegun, TrialNoted
from orchestrator.queueing import incidents
from orchestrator.queueing.leases import Lease
from orchestrator.store.bulk import insert_rows
from orchestrator.store.tables import attempt, checkpoint, metric, trial

_KEPT: Final = 2
"""Checkpoints of each kind that stay on record: the newest, and one should that be broken."""


def write(connection: Connection, said: Sequence[tuple[Lease, Said]], *, now: float) -> None:
    """Write, in the caller's transaction, what came under valid leases.

    What it replaces goes: points after the step from which a newer attempt goes on, and all
    but the newest two checkpoints of each kind.
    """
    _begin(connection, said, now=now)
    _upsert(connection, metric, list(_metric_rows(said)))
    saved = list(_checkpoint_rows(said, now=now))
    _upsert(connection, checkpoint, saved)
    _strike_old(connection, {(row["trial_id"], row["kind"]) for row in saved})
    noted = [(lease, event) for lease, event in said if isinstance(event, TrialNoted)]
    for lease, event in noted:
        _note(connection, lease, event, now=now)


def _begin(connection: Connection, said: Iterable[tuple[Lease, Said]], *, now: float) -> None:
    """Write where attempts began; and that they began now, who may have waited in their workers."""
    begun = [
        {"of_trial": lease.trial_id, "under": lease.fence, "epoch": event.epoch, "step": event.step}
        for lease, event in said
        if isinstance(event, TrialBegun)
    ]
    if not begun:
        return
    its_row = (attempt.c.trial_id == bindparam("of_trial")) & (
        attempt.c.fence == bindparam("under")
    )
    began_at = case((attempt.c.begun_epoch.is_(None), now), else_=attempt.c.started_at)
    values = {"begun_epoch": bindparam("epoch"), "started_at": began_at}
    connection.execute(update(attempt).where(its_row).values(values), begun)
    outdated = (
        (metric.c.trial_id == bindparam("of_trial"))
        & (metric.c.step > bindparam("step"))
        & (metric.c.fence < bindparam("under"))
    )
    connection.execute(delete(metric).where(outdated), begun)


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


def _checkpoint_rows(said: Iterable[tuple[Lease, Said]], *, now: float) -> Iterable[dict[str, Any]]:
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
                "created_at": now,
            }


def _upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Write rows; one with the same key is replaced, unless a newer attempt wrote it.

    Of several with the same key, which are of one attempt, the last one counts.
    """
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    key = list(table.primary_key)
    others = {
        column.name: statement.excluded[column.name] for column in table.c if column not in set(key)
    }
    upsert = statement.on_conflict_do_update(
        index_elements=key, set_=others, where=table.c.fence <= statement.excluded.fence
    )
    last_of_key = {tuple(row[column.name] for column in key): row for row in rows}
    insert_rows(connection, upsert, [*last_of_key.values()])


def _strike_old(connection: Connection, kinds: Iterable[tuple[str, str]]) -> None:
    """Strike off the record what is older than the newest of a trial's kind."""
    saved = [{"of_trial": trial_id, "of_kind": kind} for trial_id, kind in sorted(kinds)]
    if not saved:
        return
    alike = checkpoint.alias("alike")
    oldest_kept = (
        select(alike.c.fence, alike.c.epoch)
        .where(alike.c.trial_id == bindparam("of_trial"), alike.c.kind == bindparam("of_kind"))
        .order_by(alike.c.fence.desc(), alike.c.epoch.desc())
        .offset(_KEPT - 1)
        .limit(1)
        .scalar_subquery()
    )
    older = tuple_(checkpoint.c.fence, checkpoint.c.epoch) < oldest_kept
    of_kind = (checkpoint.c.trial_id == bindparam("of_trial")) & (
        checkpoint.c.kind == bindparam("of_kind")
    )
    connection.execute(delete(checkpoint).where(of_kind, older), saved)


def _note(connection: Connection, lease: Lease, event: TrialNoted, *, now: float) -> None:
    of = {"trial_id": lease.trial_id}
    of["experiment_id"] = connection.execute(
        select(trial.c.experiment_id).where(trial.c.id == lease.trial_id)
    ).scalar_one()
    if not incidents.is_noted(connection, event.kind, event.message, now=now, **of):
        incidents.note(connection, event.kind, event.message, now=now, **of)
