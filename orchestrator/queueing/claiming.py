"""Taking an experiment's next trials from the line: the lease that makes them ours.

Two claimers never take the same trial: SQLite lets one write at a time, and PostgreSQL
skips the rows that another claimer has locked.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Row,
    Select,
    func,
    insert,
    select,
    update,
)

from experiments.planning.strategies import Calibration, Strategy
from experiments.records import CheckpointPolicy, ResumePoint, TrialConfig
from experiments.states import TRANSITIONS, AttemptState, TrialState
from orchestrator.queueing import timings
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.resuming import resume_points
from orchestrator.queueing.retry import must_go_alone
from orchestrator.queueing.timings import Site, Way
from orchestrator.queueing.turns import Candidate, may_be_claimed
from orchestrator.store.tables import (
    QUEUED_INDEX,
    QUEUED_SHAPE_INDEX,
    attempt,
    experiment,
    trial,
)

_SHAPE_COUNTED_AT_MOST: Final = 10_000
"""More waiting trials of one shape are worth no longer a look at how to train them."""

SHARED_KEY_INDEX: Final = "uq_trial_shared_key_leased"
"""It refuses a second lease of one shared key, which no two transactions see coming."""

# Left to itself SQLite takes the index of all numbers, and passes every trial that has ended.
_BY_NUMBER: Final = f"INDEXED BY {QUEUED_INDEX}"
_BY_SHAPE: Final = f"INDEXED BY {QUEUED_SHAPE_INDEX}"

_CLAIMED: Final = ("id", "fence", "number", "variant", "config", "pack_shape")


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that is ours for now, and all that a worker needs to train it.

    With a `calibration` the worker is to find out first which strategy is the fastest; `strategy`
    is for the case that this cannot pay. `pack_shape` is what the trial has in common with those
    that it can be trained with; None where it has none. One that `goes_alone` is to share its
    worker with no other (`retry.must_go_alone`).
    """

    lease: Lease
    experiment_id: str
    number: int
    variant: str
    config: TrialConfig
    checkpoints: CheckpointPolicy
    timeout_seconds: float | None
    stall_timeout_seconds: float | None
    resume_from: tuple[ResumePoint, ...]
    strategy: Strategy
    pack_shape: str | None = None
    calibration: Calibration | None = None
    goes_alone: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What an orchestrator would have for one of its workers.

    Up to `limit` trials of one pack, to be trained as was measured at the worker's `site` (None:
    by the rule of thumb). If they are taken `ahead`, behind others that the worker is busy with,
    only such as were never tried before. `like` is the only pack shape wanted; None takes any.
    """

    worker: str
    orchestrator: str
    limit: int
    lease_seconds: float
    site: Site | None
    ahead: bool
    like: str | None


def lease_next(
    connection: Connection,
    candidate: Candidate,
    wish: Wish,
    *,
    now: float,
    waits: bool,
    considered: Collection[str],
) -> tuple[Claim, ...]:
    """Lease an experiment's next trial, with further ones that can be trained in one pack with it.

    No two of them are of one shared key; their attempts are opened. None where others are just
    taking the last ones, where the experiment was paused just now, and where another has locked
    it unless this `waits` for that. Where nothing was measured for their shape, the worker is to
    do that, unless it cannot pay or the shape is among those `considered` before.
    """
    if not _hold_unpaused(connection, candidate.id, waits=waits):
        return ()
    first = _first(connection, candidate, wish, now=now)
    if first is None:
        return ()
    shape, calibration = first.pack_shape, None
    way = Way(candidate.resources.gpus)
    if wish.site is not None and shape is not None:
        way = replace(way, timing=timings.find(connection, wish.site, shape))
        if shape not in considered and not must_go_alone(first.spent, candidate.execution):
            num_trials = _count_of_shape(connection, shape, candidate, now=now)
            calibration = way.calibration(first, num_trials=num_trials)
    picked = _with_others(connection, first, candidate, way, wish, now=now)
    return _read_claims(
        connection,
        _lease(connection, [row.id for row in picked], wish, now=now),
        candidate,
        strategy=way.strategy(first),
        calibration=calibration,
        goes_alone=must_go_alone(first.spent, candidate.execution),
    )


def _lease(
    connection: Connection, trial_ids: Sequence[str], wish: Wish, *, now: float
) -> Sequence[Row[Any]]:
    """Lease locked trials, and open their attempts; give them in the order of their numbers."""
    assert TrialState.LEASED in TRANSITIONS[TrialState.QUEUED]
    whose = {"worker": wish.worker, "orchestrator": wish.orchestrator}
    rows = connection.execute(
        update(trial)
        .where(trial.c.id.in_(trial_ids))
        .values(
            state=TrialState.LEASED,
            fence=trial.c.fence + 1,
            lease_expires_at=now + wish.lease_seconds,
            started_at=func.coalesce(trial.c.started_at, now),
            **whose,
        )
        .returning(*(trial.c[name] for name in _CLAIMED))
    ).all()
    opened = {"state": AttemptState.RUNNING, "started_at": now, **whose}
    connection.execute(
        insert(attempt), [{"trial_id": row.id, "fence": row.fence, **opened} for row in rows]
    )
    return sorted(rows, key=lambda row: int(row.number))


def _first(
    connection: Connection, candidate: Candidate, wish: Wish, *, now: float
) -> Row[Any] | None:
    """Choose, and lock, the trial that is next of those that are wanted."""
    wanted = _waiting(candidate, now=now)
    if wish.like is None:
        wanted = wanted.with_hint(trial, _BY_NUMBER, "sqlite")
    else:
        wanted = wanted.where(trial.c.pack_shape == wish.like)
        wanted = wanted.with_hint(trial, _BY_SHAPE, "sqlite")
    row = connection.execute(wanted.limit(1)).first()
    return None if row is None or (wish.ahead and not _may_go_ahead(row, candidate)) else row


def _waiting(candidate: Candidate, *, now: float) -> Select[Any]:
    """Select, and lock, the trials of an experiment that may be claimed, in their order."""
    names = ("id", "number", "shared_key", "pack_shape", "work", "spent", "fence")
    return (
        select(*(trial.c[name] for name in names))
        .where(trial.c.experiment_id == candidate.id, *may_be_claimed(now))
        .order_by(trial.c.number)
        .with_for_update(skip_locked=True, key_share=True)
    )


def _with_others(
    connection: Connection,
    first: Row[Any],
    candidate: Candidate,
    way: Way,
    wish: Wish,
    *,
    now: float,
) -> Sequence[Row[Any]]:
    """Choose, and lock, those that go with the trial that is next in one pack."""
    strategy = way.strategy(first)
    num_further = min(wish.limit, strategy.members) - 1
    if num_further < 1 or must_go_alone(first.spent, candidate.execution):
        return [first]
    alike = (trial.c.pack_shape == first.pack_shape) & (trial.c.number > first.number)
    waiting = _waiting(candidate, now=now).where(alike)
    of_its_shape = waiting.with_hint(trial, _BY_SHAPE, "sqlite").limit(num_further)
    further = [
        row
        for row in connection.execute(of_its_shape)
        if way.strategy(row) == strategy
        and not must_go_alone(row.spent, candidate.execution)
        and (not wish.ahead or _may_go_ahead(row, candidate))
    ]
    first_of_its_key: dict[str, Row[Any]] = {}
    for row in (first, *further):
        first_of_its_key.setdefault(row.shared_key or row.id, row)
    return [*first_of_its_key.values()]


def _may_go_ahead(row: Row[Any], candidate: Candidate) -> bool:
    """Say whether a trial may wait behind others in a worker.

    One that was tried before may not: should it end its worker at its very start, the trial
    before it, whose last word was not heard yet, would be blamed, and each time another.
    """
    return row.fence == 0 and not must_go_alone(row.spent, candidate.execution)


def _count_of_shape(
    connection: Connection, pack_shape: str, candidate: Candidate, *, now: float
) -> int:
    """Count the trials of a shape that may be claimed."""
    of_it = (
        select(trial.c.id)
        .where(
            trial.c.experiment_id == candidate.id,
            trial.c.pack_shape == pack_shape,
            *may_be_claimed(now),
        )
        .limit(_SHAPE_COUNTED_AT_MOST)
        .subquery()
    )
    return connection.execute(select(func.count()).select_from(of_it)).scalar_one()


def _hold_unpaused(connection: Connection, experiment_id: str, *, waits: bool) -> bool:
    """Keep an experiment from being paused until the transaction ends; False where it is.

    The lock is shared, so that claimers pass each other, and not of its key only, so that a
    pause does not pass a claim: whoever was told of the pause sees nothing of it begin.
    """
    going_on = (
        select(experiment.c.id)
        .where(experiment.c.id == experiment_id, experiment.c.paused_reason.is_(None))
        .with_for_update(read=True, skip_locked=not waits)
    )
    return connection.execute(going_on).first() is not None


def _read_claims(
    connection: Connection,
    rows: Sequence[Row[Any]],
    candidate: Candidate,
    *,
    strategy: Strategy,
    calibration: Calibration | None,
    goes_alone: bool,
) -> tuple[Claim, ...]:
    """Turn leased rows into what a worker needs."""
    points = resume_points(connection, [row.id for row in rows if row.fence > 1])
    return tuple(
        Claim(
            lease=Lease(row.id, row.fence),
            experiment_id=candidate.id,
            number=row.number,
            variant=row.variant,
            config=TrialConfig.from_data(row.config),
            checkpoints=candidate.checkpoints,
            timeout_seconds=candidate.execution.timeout,
            stall_timeout_seconds=candidate.execution.stall_timeout,
            resume_from=points.get(row.id, ()),
            strategy=strategy,
            pack_shape=row.pack_shape,
            calibration=calibration,
            goes_alone=goes_alone,
        )
        for row in rows
    )
