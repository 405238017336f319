"""What a person may do to submitted trials: cancel them, or ask again."""

from sqlalchemy import Engine, event

from experiments.records import Execution
from experiments.states import TrialState
from orchestrator.interventions import Cancellation
from orchestrator.leases import Lease
from orchestrator.outbox import Outbox
from orchestrator.queue import Queue
from orchestrator.results import Results
from orchestrator.retry import LOSS_BUDGET, GiveUp, Retry
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


def test_retry_queues_failed_and_quarantined_trials_only(queue: Queue, results: Results) -> None:
    submit(queue, 4)
    queue.succeed(claim_one(queue).lease, success_of("exp1-0001"))
    queue.fail(claim_one(queue).lease, NOT_FINITE)
    for _ in range(LOSS_BUDGET + 1):
        queue.lose(claim_one(queue).lease, "killed")
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
    submit(queue, 2, an_experiment(execution=Execution(max_failed_trials=1)))
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
    assert len(said) < 30


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
