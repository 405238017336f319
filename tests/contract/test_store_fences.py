"""Fences: what comes late changes nothing, and what comes twice counts once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from experiments.states import TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from tests.samples import (
    ERROR,
    NOT_FINITE,
    SettableClock,
    attempts_of,
    claim_one,
    everything_in,
    points_of,
    saved,
    submit,
    success_of,
)

ID = "exp1-0001"

Act = Callable[[Queue, Results, Lease], object]

LATE_WRITES: dict[str, Act] = {
    "succeed": lambda queue, _, lease: queue.succeed(lease, success_of(ID, 0.1)),
    "fail": lambda queue, _, lease: queue.fail(lease, NOT_FINITE),
    "lose": lambda queue, _, lease: queue.lose(lease, "killed"),
    "release": lambda queue, _, lease: queue.release(lease),
    "abandon": lambda queue, _, lease: queue.abandon(lease, "Ray died"),
    "renew": lambda queue, _, lease: queue.renew([lease], lease_seconds=600.0),
    "record_points": lambda _, results, lease: results.record([(lease, points_of(ID, 9.9))]),
    "record_checkpoint": lambda _, results, lease: results.record([(lease, saved(ID))]),
}


@pytest.fixture
def stale(queue: Queue, results: Results, clock: SettableClock) -> Lease:
    """A lease that has passed on: its trial is leased again, under a higher fence."""
    submit(queue, 1)
    lease = claim_one(queue).lease
    results.record([(lease, points_of(ID, 1.0)), (lease, saved(ID, epoch=1))])
    clock.seconds += 60
    queue.expire()
    claim_one(queue)
    return lease


@pytest.mark.parametrize("write", LATE_WRITES.values(), ids=LATE_WRITES)
def test_late_write_changes_nothing(
    engine: Engine, queue: Queue, results: Results, stale: Lease, write: Act
) -> None:
    before = {**everything_in(engine), "attempt": None}

    write(queue, results, stale)

    assert {**everything_in(engine), "attempt": None} == before


@pytest.mark.parametrize("name", ["succeed", "fail", "release"])
def test_late_ending_marks_its_attempt_as_fenced_off(
    engine: Engine, queue: Queue, results: Results, stale: Lease, name: str
) -> None:
    LATE_WRITES[name](queue, results, stale)

    assert attempts_of(engine, ID) == [(1, "fenced"), (2, "running")]


def test_late_writers_are_told(queue: Queue, results: Results, stale: Lease) -> None:
    assert queue.succeed(stale, success_of(ID)) is False
    assert queue.fail(stale, ERROR) is None
    assert queue.release(stale) is None
    assert queue.abandon(stale, "Ray died") is False
    assert queue.renew([stale], lease_seconds=60.0).held == frozenset()
    assert results.record([(stale, points_of(ID, 1.0))]) == {stale}


def test_overdue_lease_holds_until_it_is_taken_back(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    clock.seconds += 3600

    assert results.record([(lease, points_of(ID, 0.5))]) == frozenset()
    assert queue.succeed(lease, success_of(ID))
    assert queue.expire() == ()


def test_clock_that_jumps_back_doubles_nothing(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1)
    old = claim_one(queue).lease
    clock.seconds += 3600
    queue.expire()
    clock.seconds -= 7200
    new = claim_one(queue).lease

    assert queue.succeed(old, success_of(ID, 0.1)) is False
    assert queue.succeed(new, success_of(ID, 0.9)) is True
    assert results.trial(ID).objective_value == 0.9


@pytest.mark.parametrize("ending", ["succeed", "fail", "lose", "release", "abandon"])
def test_ending_said_twice_counts_once(
    engine: Engine, queue: Queue, results: Results, ending: str
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    LATE_WRITES[ending](queue, results, lease)
    before = everything_in(engine)

    LATE_WRITES[ending](queue, results, lease)

    assert everything_in(engine) == before


def test_succeed_asked_again_after_a_lost_reply_says_yes(queue: Queue) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease

    assert queue.succeed(lease, success_of(ID)) is True
    assert queue.succeed(lease, success_of(ID)) is True


def test_terminal_trial_absorbs_every_later_ending(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    queue.succeed(lease, success_of(ID, 0.9))

    assert queue.fail(lease, ERROR) is None
    assert queue.release(lease) is None
    assert results.trial(ID).state is TrialState.SUCCEEDED


def test_batch_with_a_stale_lease_keeps_the_others(results: Results, stale: Lease) -> None:
    fresh = Lease(ID, 2)

    told = results.record([(stale, points_of(ID, 9.9)), (fresh, points_of(ID, 0.5, 0.4))])

    assert told == {stale}
    assert [point.value for point in results.curves(trial_id=ID)] == [0.5, 0.4]


@pytest.mark.parametrize("ending", ["succeed", "fail", "lose", "release", "abandon"])
@pytest.mark.parametrize("write", ["renew", "record_points", "record_checkpoint"])
def test_nothing_is_written_under_a_lease_that_has_ended(
    engine: Engine, queue: Queue, results: Results, ending: str, write: str
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    LATE_WRITES[ending](queue, results, lease)
    before = everything_in(engine)

    LATE_WRITES[write](queue, results, lease)

    assert everything_in(engine) == before


def test_of_many_endings_at_once_one_counts(engine: Engine, queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    endings = [LATE_WRITES[name] for name in ("succeed", "fail", "lose", "release")] * 3

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(lambda end: end(queue, results, lease), endings))

    (attempt,) = attempts_of(engine, ID)
    state = results.trial(ID).state
    assert (attempt[1], state) in {
        ("succeeded", TrialState.SUCCEEDED),
        ("failed", TrialState.FAILED),
        ("expired", TrialState.QUEUED),
        ("fenced", TrialState.QUEUED),
        ("cancelled", TrialState.QUEUED),
    }
