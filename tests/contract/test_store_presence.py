"""Orchestrators: who is there, and what becomes of the trials of those who are gone."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from experiments.records import Execution
from experiments.states import IncidentKind, TrialState
from orchestrator import instance
from orchestrator.instance import GONE_SECONDS
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from orchestrator.queueing.retry import Retry
from tests.samples import (
    SettableClock,
    an_experiment,
    an_orchestrator,
    attempts_of,
    claim,
    claim_one,
    everything_in,
    submit,
    success_of,
)

ID = "exp1-0001"


def nobody(_: str) -> bool:
    """Say of a process that it does not run."""
    return False


def everybody(_: str) -> bool:
    """Say of a process that it runs."""
    return True


@pytest.fixture
def one(engine: Engine, clock: SettableClock) -> Queue:
    return an_orchestrator(engine, clock, "one")


@pytest.fixture
def two(engine: Engine, clock: SettableClock) -> Queue:
    return an_orchestrator(engine, clock, "two")


def states_in(results: Results) -> list[str]:
    return [row.state.value for row in results.trials("exp1")]


def messages_in(results: Results, kind: IncidentKind) -> list[str]:
    return [row.message for row in results.incidents() if row.kind == kind]


def test_orchestrator_is_registered_until_it_leaves(
    one: Queue, two: Queue, results: Results, clock: SettableClock
) -> None:
    two.sign_of_life()
    clock.seconds += 7
    one.sign_of_life()

    rows = {row.id: row for row in results.orchestrators()}
    assert set(rows) == {"one", "two"}
    assert (rows["one"].host, rows["one"].process) == ("here", "one:1")
    assert (rows["one"].age_seconds, rows["two"].age_seconds) == (0.0, 7.0)

    one.leave()
    one.leave()

    assert [row.id for row in results.orchestrators()] == ["two"]


def test_claim_says_whose_it_is(one: Queue, results: Results) -> None:
    submit(one, 1)
    claim_one(one)

    (attempt,) = results.attempts(ID)

    assert attempt.orchestrator == "one"


def test_sole_orchestrator_takes_back_all_and_blames_nobody(
    engine: Engine, one: Queue, two: Queue, results: Results
) -> None:
    submit(one, 3, an_experiment(execution=Execution(max_losses=1, strategy="auto")))
    first, second = claim(one, 2)
    one.cancel(trial_id=second.lease.trial_id)

    assert two.take_back(alone=True, host="elsewhere", is_running=everybody) == 2

    assert states_in(results) == ["queued", "cancelled", "queued"]
    assert attempts_of(engine, ID) == [(1, "expired")]
    assert one.succeed(first.lease, success_of(ID)) is False
    again = claim_one(two)
    assert again.lease == Lease(ID, 2)
    assert two.lose(again.lease, "killed") == Retry(0.0)  # the first loss
    assert [row.id for row in results.orchestrators()] == ["two"]
    (message,) = messages_in(results, IncidentKind.ORCHESTRATOR_LOST)
    assert "one (process one:1 on here) is gone; its trials under way (2)" in message


def test_own_leases_are_not_taken_back(one: Queue, results: Results) -> None:
    submit(one, 1)
    claim_one(one)

    assert one.take_back(alone=True, host="here", is_running=nobody) == 0
    assert states_in(results) == ["leased"]


@pytest.mark.parametrize(
    ("seconds", "host", "is_running", "expected"),
    [
        (0, "here", everybody, 0),
        (0, "elsewhere", nobody, 0),  # a process there may have the same number
        (0, "here", nobody, 1),
        (GONE_SECONDS, "elsewhere", everybody, 0),
        (GONE_SECONDS + 1, "elsewhere", everybody, 1),
        (GONE_SECONDS + 1, "here", everybody, 1),  # it runs, and is frozen
        (-3600, "elsewhere", everybody, 0),
    ],
)
def test_of_several_orchestrators_those_are_gone_that_do_not_run_or_are_silent(
    one: Queue,
    two: Queue,
    clock: SettableClock,
    seconds: float,
    host: str,
    is_running: Callable[[str], bool],
    expected: int,
) -> None:
    submit(one, 1)
    claim_one(one)
    clock.seconds += seconds

    assert two.take_back(alone=False, host=host, is_running=is_running) == expected
    assert two.take_back(alone=False, host=host, is_running=is_running) == 0


def test_process_that_cannot_be_seen_from_here_is_not_taken_for_gone(
    one: Queue, two: Queue, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(one, 1)
    claim_one(one)
    with monkeypatch.context() as elsewhere:  # a container of the same hostname
        elsewhere.setattr(instance, "_namespace", lambda: "4026532999")
        assert two.take_back(alone=False, host="here", is_running=nobody) == 0
    assert {row.host for row in results.orchestrators()} == {"here"}

    assert two.take_back(alone=False, host="here", is_running=nobody) == 1


def test_processes_are_asked_after_by_number_and_start(one: Queue, two: Queue) -> None:
    one.sign_of_life()
    asked: list[str] = []

    def is_running(process: str) -> bool:
        asked.append(process)
        return True

    two.take_back(alone=False, host="here", is_running=is_running)

    assert asked == ["one:1"]


def test_orchestrator_that_left_its_leases_behind_counts_as_gone(
    one: Queue, two: Queue, results: Results
) -> None:
    submit(one, 1)
    claim_one(one)
    one.leave()

    assert two.take_back(alone=False, host="here", is_running=everybody) == 1
    (message,) = messages_in(results, IncidentKind.ORCHESTRATOR_LOST)
    assert "one (not registered)" in message


def test_frozen_orchestrator_that_wakes_is_registered_again_and_goes_on(
    one: Queue, two: Queue, results: Results, clock: SettableClock
) -> None:
    submit(one, 1)
    old = claim_one(one).lease
    clock.seconds += GONE_SECONDS + 1
    two.sign_of_life()
    two.take_back(alone=False, host="here", is_running=everybody)
    new = claim_one(two).lease

    one.sign_of_life()

    assert {row.id for row in results.orchestrators()} == {"one", "two"}
    assert one.renew([old], lease_seconds=60.0).held == frozenset()
    assert one.succeed(old, success_of(ID, 0.1)) is False
    assert two.succeed(new, success_of(ID, 0.9)) is True


def test_abandoned_trial_is_queued_again_and_counts_nothing(
    engine: Engine, one: Queue, results: Results
) -> None:
    submit(one, 1, an_experiment(execution=Execution(max_losses=0)))
    lease = claim_one(one).lease

    assert one.abandon(lease, "Ray died") is True

    row = results.trial(ID)
    assert row.state is TrialState.QUEUED
    assert row.failure is not None
    assert row.failure.message == "Ray died"
    assert attempts_of(engine, ID) == [(1, "expired")]
    assert claim_one(one).lease == Lease(ID, 2)


def test_abandoned_trial_that_was_to_be_cancelled_is(one: Queue, results: Results) -> None:
    submit(one, 1)
    lease = claim_one(one).lease
    one.cancel(trial_id=ID)

    one.abandon(lease, "Ray died")

    assert states_in(results) == ["cancelled"]


def test_strays_of_a_claim_whose_answer_was_lost_are_queued_again(
    engine: Engine, one: Queue, two: Queue, results: Results
) -> None:
    submit(one, 4)
    known = claim_one(one).lease
    claim(one, 2)  # of which the scheduler never heard
    theirs = claim_one(two).lease

    assert one.release_strays({known}) == 2
    assert one.release_strays({known}) == 0

    assert states_in(results) == ["leased", "queued", "queued", "leased"]
    assert one.renew([known], lease_seconds=60.0).held == {known}
    assert two.renew([theirs], lease_seconds=60.0).held == {theirs}
    assert attempts_of(engine, "exp1-0002") == [(1, "expired")]


def test_overdue_lease_is_a_loss_while_its_orchestrator_is_there(
    one: Queue, results: Results, clock: SettableClock
) -> None:
    submit(one, 1, an_experiment(execution=Execution(max_losses=0)))
    lease = claim_one(one).lease
    clock.seconds += 60
    one.sign_of_life()

    assert one.expire() == (lease,)

    assert states_in(results) == ["quarantined"]
    (message,) = messages_in(results, IncidentKind.WORKER_SILENT)
    assert message.startswith("w1: not heard of until its lease expired; not tried again")


def test_overdue_lease_counts_nothing_where_its_orchestrator_is_gone_too(
    engine: Engine, one: Queue, two: Queue, results: Results, clock: SettableClock
) -> None:
    submit(one, 1, an_experiment(execution=Execution(max_losses=0)))
    lease = claim_one(one).lease
    clock.seconds += GONE_SECONDS + 1
    two.sign_of_life()

    assert two.expire() == (lease,)

    assert states_in(results) == ["queued"]
    assert attempts_of(engine, ID) == [(1, "expired")]
    assert messages_in(results, IncidentKind.WORKER_SILENT) == []


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_clock_that_jumps_doubles_nothing_and_loses_nothing(
    one: Queue, two: Queue, results: Results, clock: SettableClock, seconds: float
) -> None:
    submit(one, 2, an_experiment(execution=Execution(max_losses=0)))
    leases = [claim_one(queue).lease for queue in (one, two)]
    clock.seconds += seconds
    for queue in (one, two):
        queue.expire()
        queue.take_back(alone=False, host="here", is_running=everybody)
        queue.sign_of_life()
    given = [
        queue.succeed(lease, success_of(lease.trial_id, 0.1))
        for queue, lease in zip((one, two), leases, strict=True)
    ]
    while again := claim(two):
        assert two.succeed(again[0].lease, success_of(again[0].lease.trial_id, 0.9))

    assert states_in(results) == ["succeeded"] * 2
    expected = [0.1 if first else 0.9 for first in given]
    assert [row.objective_value for row in results.trials("exp1")] == expected


@pytest.mark.parametrize(
    "ask",
    [
        lambda queue: queue.enter(host="here", process="two:1"),
        lambda queue: queue.sign_of_life(),
        lambda queue: queue.take_back(alone=True, host="here", is_running=nobody),
        lambda queue: queue.release_strays(()),
        lambda queue: queue.expire(),
        lambda queue: queue.leave(),
    ],
    ids=["enter", "sign_of_life", "take_back", "release_strays", "expire", "leave"],
)
def test_what_an_orchestrator_asks_again_changes_nothing(
    engine: Engine, one: Queue, two: Queue, clock: SettableClock, ask: Callable[[Queue], object]
) -> None:
    submit(one, 3)
    claim_one(one)
    claim_one(two)
    clock.seconds += 60
    ask(two)
    before = everything_in(engine)

    ask(two)

    assert everything_in(engine) == before
