"""How an attempt ends: its trial moves on, and whoever must know of it is told.

All in the caller's transaction, the entries for MLflow included: either everything
about an ending is in the store, or nothing is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, bindparam, func, select, update

from experiments.events import Failure
from experiments.records import Execution, Objective
from experiments.states import TERMINAL_STATES, TRANSITIONS, AttemptState, TrialState
from orchestrator.queueing import outbox
from orchestrator.queueing.leases import Lease, Stop, holds, holds_one_of, lock_experiments
from orchestrator.store.rows import OPEN_STATES
from orchestrator.store.tables import IS_LEASED, attempt, experiment, trial

_CHUNK: Final = 1000  # ids in one statement

_COLUMNS: Final = [
    trial.c[name]
    for name in (
        "id",
        "fence",
        "experiment_id",
        "variant",
        "worker",
        "orchestrator",
        "stop_requested",
        "spent",
    )
] + [experiment.c[name] for name in ("objective", "execution", "checkpoints")]
_HOLDINGS: Final = (
    select(*_COLUMNS).select_from(experiment.join(trial)).with_for_update(key_share=True)
)


@dataclass(frozen=True, slots=True)
class Holding:
    """A valid lease with what decides how it may end; both its rows are locked.

    `spent` counts the trial's failures by kind, `keep` names the checkpoints that stay.
    """

    lease: Lease
    experiment_id: str
    variant: str
    worker: str
    orchestrator: str
    stop: Stop | None
    spent: Mapping[str, int]
    objective: Objective
    execution: Execution
    keep: Collection[str]


class Ended(NamedTuple):
    """A trial that has come to its end."""

    trial_id: str
    experiment_id: str
    variant: str


def lock(
    connection: Connection, lease: Lease, *, only_if: ColumnElement[bool] | None = None
) -> Holding | None:
    """Lock the lease's trial and its experiment; None where the lease is not valid.

    The experiment too, because "was this the last of its variant" and "was this one
    failure too many" must not be asked by two endings at once.
    """
    clause = holds(lease) if only_if is None else holds(lease) & only_if
    row = connection.execute(_HOLDINGS.where(clause)).one_or_none()
    return None if row is None else _holding(row)


def lock_all(connection: Connection, leases: Collection[Lease]) -> dict[Lease, Holding]:
    """Lock, as `lock` does one, the trials of those of the leases that are valid."""
    of_trials = trial.c.id.in_({lease.trial_id for lease in leases})
    lock_experiments(connection, of_trials & IS_LEASED)
    rows = connection.execute(_HOLDINGS.where(holds_one_of(leases)).order_by(trial.c.id))
    holdings = (_holding(row) for row in rows)
    return {holding.lease: holding for holding in holdings}


def _holding(row: Row[Any]) -> Holding:
    return Holding(
        lease=Lease(row.id, row.fence),
        experiment_id=row.experiment_id,
        variant=row.variant,
        worker=row.worker,
        orchestrator=row.orchestrator,
        stop=None if row.stop_requested is None else Stop(row.stop_requested),
        spent=row.spent,
        objective=Objective(**row.objective),
        execution=Execution(**row.execution),
        keep=row.checkpoints["keep"],
    )


def end(
    connection: Connection,
    holding: Holding,
    *,
    now: float,
    to: TrialState,
    attempt_as: AttemptState,
    failure: Failure | None = None,
    values: Mapping[str, Any] | None = None,
) -> None:
    """End the attempt and move its trial on; `values` are further columns of the trial."""
    told = failure.to_data() if failure is not None else None
    further = {**(values or {}), "failure": told}
    _end_all(connection, [(holding, further)], now=now, to=to, attempt_as=attempt_as)


def succeed_all(
    connection: Connection, results: Sequence[tuple[Holding, Mapping[str, Any]]], *, now: float
) -> None:
    """End attempts and their trials well, with the columns that hold their results.

    Few statements, however many trials; all have values of the same columns.
    """
    if results:
        endings = [(holding, {**values, "failure": None}) for holding, values in results]
        _end_all(
            connection,
            endings,
            now=now,
            to=TrialState.SUCCEEDED,
            attempt_as=AttemptState.SUCCEEDED,
        )


def _end_all(
    connection: Connection,
    endings: Sequence[tuple[Holding, Mapping[str, Any]]],
    *,
    now: float,
    to: TrialState,
    attempt_as: AttemptState,
) -> None:
    """End attempts, each with values of its trial's columns, "failure" among them."""
    assert to in TRANSITIONS[TrialState.LEASED], to
    terminal = to in TERMINAL_STATES
    keys = [{"its": each.lease.trial_id, "fenced": each.lease.fence} for each, _ in endings]
    moved = connection.execute(
        update(trial)
        .where(trial.c.id == bindparam("its"), trial.c.fence == bindparam("fenced"), IS_LEASED)
        .values(
            state=to,
            worker=None,
            orchestrator=None,
            lease_expires_at=None,
            stop_requested=None,
            finished_at=now if terminal else None,
        ),
        [{**key, **values} for key, (_, values) in zip(keys, endings, strict=True)],
    )
    assert moved.rowcount == len(endings), "a trial was locked, and yet its lease is not valid"
    connection.execute(
        update(attempt)
        .where(attempt.c.trial_id == bindparam("its"), attempt.c.fence == bindparam("fenced"))
        .values(state=attempt_as, ended_at=now),
        [
            {**key, "failure": values["failure"]}
            for key, (_, values) in zip(keys, endings, strict=True)
        ],
    )
    if terminal:
        ended = [
            Ended(each.lease.trial_id, each.experiment_id, each.variant) for each, _ in endings
        ]
        announce(connection, ended, now=now)


def answer_late(connection: Connection, lease: Lease, said: AttemptState) -> bool:
    """Answer what came under a lease that is not valid; True if it was recorded before.

    An attempt that had expired and speaks after all is marked as fenced off.
    """
    its_row = (attempt.c.trial_id == lease.trial_id) & (attempt.c.fence == lease.fence)
    state = connection.scalar(select(attempt.c.state).where(its_row))
    if state == AttemptState.EXPIRED and said != state:
        connection.execute(update(attempt).where(its_row).values(state=AttemptState.FENCED))
    return state == said


def announce(connection: Connection, ended: Sequence[Ended], *, now: float) -> None:
    """Tell MLflow of terminal trials and, where they were their variants' last, of the models.

    Few statements, however many trials.
    """
    outbox.enqueue(connection, outbox.TRIAL, [each.trial_id for each in ended], now=now)
    variants: dict[str, set[str]] = {}
    for each in ended:
        variants.setdefault(each.experiment_id, set()).add(each.variant)
    for experiment_id, its_variants in variants.items():
        for names in chunks(sorted(its_variants)):
            finished = _finished_variants(connection, experiment_id, names)
            keys = [f"{experiment_id}/{name}" for name in finished]
            outbox.enqueue(connection, outbox.MODEL, keys, now=now)


def chunks(items: Sequence[str]) -> list[Sequence[str]]:
    """Cut what is named in a statement into lists that databases take."""
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]


def _finished_variants(
    connection: Connection, experiment_id: str, variants: Collection[str]
) -> Sequence[str]:
    """Give those of the variants that have a succeeded trial and no open one."""
    num_succeeded = func.count().filter(trial.c.state == TrialState.SUCCEEDED)
    num_open = func.count().filter(trial.c.state.in_(OPEN_STATES))
    query = (
        select(trial.c.variant)
        .where(trial.c.experiment_id == experiment_id, trial.c.variant.in_(variants))
        .group_by(trial.c.variant)
        .having(num_succeeded > 0, num_open == 0)
    )
    return connection.scalars(query).all()
