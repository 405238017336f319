"""Who works on the store: signs of life, and what is taken back from those who give none.

An orchestrator that is not registered counts as gone: it ended, or was taken for dead.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from experiments.events import Failure
from experiments.states import AttemptState, FailureKind, IncidentKind
from orchestrator.instance import GONE_SECONDS, host_of
from orchestrator.queueing import endings, incidents, outcomes
from orchestrator.queueing.leases import Lease, lock_trials
from orchestrator.store.tables import IS_LEASED, orchestrator, trial


@dataclass(frozen=True, slots=True)
class Presence:
    """An orchestrator: its id, its place, and its process as "pid:start ticks".

    The place (`instance.place_on`) says where that process can be looked for.
    """

    id: str
    place: str
    process: str


def sign(connection: Connection, presence: Presence, *, now: float) -> None:
    """Write that an orchestrator is there, registering it where it is not (any more)."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(
        dialect.insert(orchestrator)
        .values(
            id=presence.id,
            host=presence.place,
            process=presence.process,
            started_at=now,
            seen_at=now,
        )
        .on_conflict_do_update(index_elements=["id"], set_={"seen_at": now})
    )


def _is_seen(connection: Connection, orchestrator_id: str | None, *, now: float) -> bool:
    """Say whether an orchestrator has given a sign of life lately."""
    query = select(orchestrator.c.id).where(
        orchestrator.c.id == orchestrator_id, orchestrator.c.seen_at >= now - GONE_SECONDS
    )
    return connection.execute(query).first() is not None


def expire(
    connection: Connection, lease: Lease, *, only_if: ColumnElement[bool], now: float
) -> bool:
    """Take an overdue lease back; False where it is not valid, or not overdue any more.

    A loss if its orchestrator is there: the worker fell silent. If not, nobody's failure.
    """
    holding = endings.lock(connection, lease, only_if=only_if)
    if holding is None:
        return False
    reason = "not heard of until its lease expired"
    if _is_seen(connection, holding.orchestrator, now=now):
        failure = Failure(FailureKind.LOST, "LeaseExpired", reason)
        outcomes.fail(connection, lease, failure, now=now, told_as=IncidentKind.WORKER_SILENT)
    else:
        outcomes.hand_back(
            connection, lease, now=now, attempt_as=AttemptState.EXPIRED, reason=reason
        )
    return True


def take_back(
    connection: Connection,
    *,
    me: str,
    alone: bool,
    place: str,
    is_running: Callable[[str], bool],
    now: float,
) -> int:
    """Queue again what orchestrators that are gone had leased; strike them off.

    `alone` says that all but `me` are gone. Else those are that gave no sign of life for
    `GONE_SECONDS`, that are not registered, or whose process in this `place` does not run.
    Gives the number of trials.
    """
    others = connection.execute(
        select(orchestrator)
        .where(orchestrator.c.id != me)
        .order_by(orchestrator.c.id)
        .with_for_update()
    ).all()
    gone = [
        row
        for row in others
        if alone
        or row.seen_at < now - GONE_SECONDS
        or (row.host == place and not is_running(row.process))
    ]
    holder = func.coalesce(trial.c.orchestrator, "")
    gone_ids = [row.id for row in gone]
    # Asked in the statement itself: one that has registered since then may hold a lease by now.
    unregistered = holder.not_in(select(orchestrator.c.id))
    orphaned = IS_LEASED & (holder != me) & (holder.in_(gone_ids) | unregistered)
    rows = lock_trials(connection, orphaned, orphaned)
    for row in rows:
        lease = Lease(row.id, row.fence)
        reason = "the orchestrator that had it is gone"
        outcomes.hand_back(
            connection, lease, now=now, attempt_as=AttemptState.EXPIRED, reason=reason
        )
    connection.execute(delete(orchestrator).where(orchestrator.c.id.in_(gone_ids)))
    _note_losses(connection, gone, Counter(row.orchestrator for row in rows), now=now)
    return len(rows)


def _note_losses(
    connection: Connection,
    gone: Sequence[Row[Any]],
    num_trials: Mapping[str | None, int],
    *,
    now: float,
) -> None:
    """Note each orchestrator that is gone, and those that left trials without being registered."""
    names = {row.id: f"{row.id} (process {row.process} on {host_of(row.host)})" for row in gone}
    for each in [*names, *sorted((set(num_trials) - set(names)), key=str)]:
        name = names.get(each, f"{each or 'unknown'} (not registered)")
        count = num_trials.get(each, 0)
        message = (
            f"orchestrator {name} is gone; its trials under way ({count}) are queued again and "
            "go on from their last checkpoints"
            if count
            else f"orchestrator {name} is gone; it had no trial under way"
        )
        incidents.note(connection, IncidentKind.ORCHESTRATOR_LOST, message, now=now)
