"""What a person may do to submitted trials: cancel them, pause them, or ask again."""

import pytest
from sqlalchemy import Engine, event

from experiments.records import Execution
from experiments.states import TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.interventions import PAUSED_ON_REQUEST, Cancellation, Pause
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.outbox import Outbox
from orchestrator.queueing.queue import Queue
from orchestrator.queueing.retry import GiveUp, Retry
from tests.samples import (
    ERROR,
    NOT_FINITE,
    SettableClock,
    an_experiment,
    attempts_of,
    claim,
    claim_one,
    everything_in,
    submit,
    success_of,
)


def states_in(results: Results) -> list[TrialState]:
    return [trial.state for trial in results.trials("exp1")]


def test_cancel_ends_queued_trials_and_asks_leased_ones_to_stop(
    queue: Queue, results: Results
) -> None:
    submit(queue, 3)
    lease = claim_one(queue).lease

    assert queue.cancel(experiment_id="exp1") == Cancellation(num_cancelled=2, num_stopping=1)

    assert states_in(results) == [TrialState.LEASED, TrialState.CANCELLED, TrialState.CANCELLED]
    assert queue.renew([lease], lease_seconds=60.0).stopping == {lease}


def test_cancel_of_one_trial_leaves_the_others(queue: Queue, results: Results) -> None:
    submit(queue, 2)

    queue.cancel(trial_id="exp1-0002")

    assert states_in(results) == [TrialState.QUEUED, TrialState.CANCELLED]


def test_cancel_leaves_terminal_trials_as_they_are(engine: Engine, queue: Queue) -> None:
    submit(queue, 1)
    queue.succeed(claim_one(queue).lease, success_of("exp1-0001"))
    before = everything_in(engine)

    assert queue.cancel(experiment_id="exp1") == Cancellation(0, 0)
    assert everything_in(engine) == before


def test_trial_asked_to_stop_is_cancelled_on_release(engine: Engine, queue: Queue) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    queue.cancel(experiment_id="exp1")

    assert queue.release(lease) is TrialState.CANCELLED
    assert attempts_of(engine, "exp1-0001") == [(1, "cancelled")]


def test_trial_asked_to_stop_is_not_tried_again(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    queue.cancel(experiment_id="exp1")

    decision = queue.lose(lease, "killed")

    assert decision == GiveUp(TrialState.CANCELLED, "it had been asked to stop")
    assert states_in(results) == [TrialState.CANCELLED]


def test_trial_that_finishes_before_it_stops_has_succeeded(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    queue.cancel(experiment_id="exp1")

    assert queue.succeed(lease, success_of("exp1-0001"))
    assert states_in(results) == [TrialState.SUCCEEDED]


def test_retry_queues_failed_and_quarantined_trials_only(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 4)
    queue.succeed(claim_one(queue).lease, success_of("exp1-0001"))
    queue.fail(claim_one(queue).lease, NOT_FINITE)
    for _ in range(Execution().max_losses + 1):
        queue.lose(claim_one(queue).lease, "killed")
        clock.seconds += 60
    queue.cancel(trial_id="exp1-0004")

    assert queue.retry(experiment_id="exp1") == 2

    assert states_in(results) == [
        TrialState.SUCCEEDED,
        TrialState.QUEUED,
        TrialState.QUEUED,
        TrialState.CANCELLED,
    ]


def test_retry_takes_cancelled_trials_when_asked(queue: Queue, results: Results) -> None:
    submit(queue, 2)
    queue.cancel(experiment_id="exp1")

    assert queue.retry(trial_id="exp1-0002", states=[TrialState.CANCELLED]) == 1
    assert states_in(results) == [TrialState.CANCELLED, TrialState.QUEUED]


def test_retry_gives_fresh_budgets_and_a_higher_fence(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 1, an_experiment(execution=Execution(retries=1)))
    for _ in range(2):
        queue.fail(claim_one(queue).lease, ERROR)
        clock.seconds += 60
    queue.retry(experiment_id="exp1")

    lease = claim_one(queue).lease

    assert lease == Lease("exp1-0001", 3)
    assert isinstance(queue.fail(lease, ERROR), Retry)


def test_retry_forgets_a_request_to_stop(queue: Queue) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    queue.cancel(experiment_id="exp1")
    queue.release(lease)
    queue.retry(experiment_id="exp1", states=[TrialState.CANCELLED])

    lease = claim_one(queue).lease

    assert queue.renew([lease], lease_seconds=60.0).stopping == frozenset()


def test_retry_lets_a_paused_experiment_go_on(queue: Queue, results: Results) -> None:
    submit(queue, 2, an_experiment(execution=Execution(max_failed_trials=1, strategy="auto")))
    queue.fail(claim_one(queue).lease, NOT_FINITE)
    assert claim(queue) == ()

    queue.retry(experiment_id="exp1")

    assert results.resolve_experiment("exp1").paused_reason is None
    assert len(claim(queue, limit=2)) == 2


def test_retry_withdraws_what_mlflow_was_not_told_yet(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 1)
    queue.fail(claim_one(queue).lease, NOT_FINITE)

    queue.retry(experiment_id="exp1")

    assert outbox.num_pending() == 0


def test_cancel_and_retry_of_many_trials_take_few_statements(
    engine: Engine, queue: Queue, outbox: Outbox
) -> None:
    submit(queue, 300, num_seeds=3)
    said: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _, __, text, *___: said.append(text))

    assert queue.cancel(experiment_id="exp1").num_cancelled == 300
    assert outbox.num_pending() == 300
    assert queue.retry(experiment_id="exp1", states=[TrialState.CANCELLED]) == 300

    assert outbox.num_pending() == 0
    assert len(said) < 35


def test_cancel_tells_of_each_trial_and_of_the_variants_that_are_now_finished(
    queue: Queue, outbox: Outbox
) -> None:
    submit(queue, 6, num_seeds=2)
    queue.succeed(claim_one(queue).lease, success_of("exp1-0001"))  # v1: one seed is left
    claim(queue, limit=2)  # v1's other seed, and one of v2
    for entry in outbox.pending(10):
        outbox.mark_done(entry)
    queue.fail(Lease("exp1-0002", 1), NOT_FINITE)
    told = {entry.key: entry.revision for entry in outbox.pending(10)}
    assert told == {"exp1-0002": 1, "exp1/v1": 1}

    queue.retry(trial_id="exp1-0002")
    queue.cancel(experiment_id="exp1")

    told = {entry.key: entry.revision for entry in outbox.pending(10)}
    assert told.pop("exp1/v1") == 2
    assert told.pop("exp1-0002") == 3  # told, taken back, told anew
    assert told == {"exp1-0004": 1, "exp1-0005": 1, "exp1-0006": 1}


def test_pause_of_an_experiment_keeps_the_queued_and_asks_the_leased_to_stop(
    queue: Queue, results: Results
) -> None:
    submit(queue, 3)
    lease = claim_one(queue).lease

    assert queue.pause(experiment_id="exp1") == Pause(num_queued=2, num_stopping=1)

    assert results.resolve_experiment("exp1").paused_reason == PAUSED_ON_REQUEST
    assert claim(queue, limit=3) == ()
    assert queue.renew([lease], lease_seconds=60.0).stopping == {lease}


def test_trial_that_stops_for_a_pause_is_queued_again_and_goes_on_after_it(
    engine: Engine, queue: Queue
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    queue.pause(experiment_id="exp1")

    assert queue.release(lease) is TrialState.QUEUED
    assert claim(queue) == ()

    assert queue.resume(experiment_id="exp1") == 1
    again = claim_one(queue).lease
    assert again == Lease("exp1-0001", 2)
    assert queue.renew([again], lease_seconds=60.0).stopping == frozenset()
    assert attempts_of(engine, "exp1-0001") == [(1, "cancelled"), (2, "running")]


def test_pause_of_one_trial_leaves_the_others(queue: Queue, results: Results) -> None:
    submit(queue, 3)
    lease = claim_one(queue).lease

    assert queue.pause(trial_id="exp1-0001") == Pause(num_queued=0, num_stopping=1)
    assert queue.pause(trial_id="exp1-0002") == Pause(num_queued=1, num_stopping=0)
    queue.release(lease)

    assert [each.number for each in claim(queue, limit=3)] == [3]
    assert [row.is_paused for row in results.trials("exp1")] == [True, True, False]
    assert queue.resume(trial_id="exp1-0001") == 1
    assert claim_one(queue).number == 1


def test_resume_of_an_experiment_leaves_trials_that_were_paused_one_by_one(queue: Queue) -> None:
    submit(queue, 3)
    queue.pause(trial_id="exp1-0001")
    queue.pause(experiment_id="exp1")

    assert queue.resume(experiment_id="exp1") == 2
    assert queue.resume(experiment_id="exp1") == 0
    assert [each.number for each in claim(queue, limit=3)] == [2, 3]


def test_paused_trial_that_fails_meanwhile_follows_the_rule_of_its_failure(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    queue.pause(trial_id="exp1-0001")

    assert isinstance(queue.fail(lease, ERROR), Retry)
    assert states_in(results) == [TrialState.QUEUED]


@pytest.mark.parametrize("whole", [True, False])
def test_paused_trials_can_be_cancelled(queue: Queue, results: Results, whole: bool) -> None:
    submit(queue, 2)
    lease = claim_one(queue).lease
    for trial_id in ("exp1-0001", "exp1-0002"):
        queue.pause(**({"experiment_id": "exp1"} if whole else {"trial_id": trial_id}))

    assert queue.cancel(experiment_id="exp1") == Cancellation(num_cancelled=1, num_stopping=1)
    queue.pause(experiment_id="exp1")  # too late: it is to be cancelled

    assert queue.release(lease) is TrialState.CANCELLED
    assert states_in(results) == [TrialState.CANCELLED] * 2


def test_failures_count_anew_after_resume(queue: Queue, results: Results) -> None:
    submit(queue, 4, an_experiment(execution=Execution(max_failed_trials=2)))
    for _ in range(2):
        queue.fail(claim_one(queue).lease, NOT_FINITE)
    assert claim(queue) == ()

    assert queue.resume(experiment_id="exp1") == 2

    queue.fail(claim_one(queue).lease, NOT_FINITE)
    assert results.resolve_experiment("exp1").paused_reason is None
    queue.fail(claim_one(queue).lease, NOT_FINITE)
    assert results.resolve_experiment("exp1").paused_reason is not None


def test_failures_count_anew_after_retry(queue: Queue, results: Results) -> None:
    submit(queue, 4, an_experiment(execution=Execution(max_failed_trials=2)))
    for _ in range(2):
        queue.fail(claim_one(queue).lease, NOT_FINITE)

    queue.retry(trial_id="exp1-0001")  # the other failure stays, and is forgiven

    queue.fail(claim_one(queue).lease, NOT_FINITE)
    assert results.resolve_experiment("exp1").paused_reason is None


def test_too_many_failures_leave_the_reason_of_a_pause_alone(
    queue: Queue, results: Results
) -> None:
    submit(queue, 2, an_experiment(execution=Execution(max_failed_trials=1)))
    lease = claim_one(queue).lease
    queue.pause(experiment_id="exp1")

    queue.fail(lease, NOT_FINITE)

    assert results.resolve_experiment("exp1").paused_reason == PAUSED_ON_REQUEST


def test_too_many_failures_let_what_runs_go_on(queue: Queue) -> None:
    submit(queue, 3, an_experiment(execution=Execution(max_failed_trials=1)))
    first, second = (claim_one(queue).lease for _ in range(2))
    queue.fail(first, NOT_FINITE)

    assert claim(queue) == ()
    assert queue.renew([second], lease_seconds=60.0).stopping == frozenset()


def test_retry_of_a_paused_trial_queues_it_for_real(queue: Queue) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    queue.pause(trial_id="exp1-0001")
    queue.fail(lease, NOT_FINITE)

    queue.retry(trial_id="exp1-0001")

    assert claim_one(queue).number == 1


def test_pause_and_resume_asked_again_change_nothing(engine: Engine, queue: Queue) -> None:
    submit(queue, 2)
    claim_one(queue)
    for ask in (queue.pause, queue.resume):
        for scope in ({"experiment_id": "exp1"}, {"trial_id": "exp1-0001"}):
            ask(**scope)
            before = everything_in(engine)
            ask(**scope)
            assert everything_in(engine) == before
