"""Endings: a result is recorded once, a failure follows its rule, a lease runs out."""

import math
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, update

from experiments.events import Failure, TrialSucceeded
from experiments.records import CheckpointPolicy, Execution, Objective
from experiments.states import FailureKind, TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from orchestrator.queueing.retry import GiveUp, Retry
from orchestrator.store.database import writing
from orchestrator.store.rows import Confusion
from orchestrator.store.tables import experiment
from tests.samples import (
    ERROR,
    NOT_FINITE,
    SettableClock,
    an_experiment,
    attempts_of,
    claim,
    claim_one,
    epoch_saved,
    some_trials,
    submit,
    success_of,
)

ID = "exp1-0001"


def test_succeed_records_the_result(
    engine: Engine, queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    clock.seconds += 5

    event = success_of(ID, 0.97, **{"test/accuracy": 0.96})
    assert queue.succeed(lease, event, machine="box/1cpu")

    trial = results.trial(ID)
    assert trial.state is TrialState.SUCCEEDED
    assert trial.metrics == {"val/accuracy": 0.97, "test/accuracy": 0.96}
    assert (trial.objective_value, trial.selected_epoch) == (0.97, 2)
    assert (trial.duration_seconds, trial.finished_at) == (1.5, clock.seconds)
    assert (trial.peak_memory_bytes, trial.machine) == (3 * 2**30, "box/1cpu")
    assert trial.worker is None
    assert attempts_of(engine, ID) == [(1, "succeeded")]


def test_confusion_is_read_back_with_the_names_of_the_classes(
    queue: Queue, results: Results
) -> None:
    queue.submit(an_experiment(), some_trials(2), class_names=("cat", "dog"))
    queue.succeed(claim_one(queue).lease, success_of(ID))

    assert results.confusion(ID) == Confusion(("cat", "dog"), ((30, 2), (1, 17)))
    assert results.confusion("exp1-0002") is None


def test_trial_without_classes_has_no_confusion(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    queue.succeed(claim_one(queue).lease, TrialSucceeded(ID, {"val/rmse": 0.5}, 1, 1.0))

    assert results.confusion(ID) is None
    assert results.trial(ID).peak_memory_bytes is None


def test_succeed_keeps_metrics_that_are_not_finite(queue: Queue, results: Results) -> None:
    submit(queue, 1)

    queue.succeed(claim_one(queue).lease, success_of(ID, math.nan, **{"test/loss": math.inf}))

    trial = results.trial(ID)
    assert trial.metrics is not None
    assert math.isnan(trial.metrics["val/accuracy"])
    assert trial.metrics["test/loss"] == math.inf
    assert trial.objective_value is None


def test_fail_queues_the_trial_again(engine: Engine, queue: Queue, results: Results) -> None:
    submit(queue, 1)

    decision = queue.fail(claim_one(queue).lease, ERROR)

    assert isinstance(decision, Retry)
    assert results.trial(ID).state is TrialState.QUEUED
    assert attempts_of(engine, ID) == [(1, "failed")]


def test_fail_ends_the_trial_when_its_retries_are_used_up(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1, an_experiment(execution=Execution(retries=1)))
    queue.fail(claim_one(queue).lease, ERROR)
    clock.seconds += 60

    decision = queue.fail(claim_one(queue).lease, ERROR)

    assert decision == GiveUp(TrialState.FAILED, "attempt 2 of 2 failed")
    trial = results.trial(ID)
    assert (trial.state, trial.finished_at) == (TrialState.FAILED, clock.seconds)


def test_fail_keeps_type_message_and_traceback(queue: Queue, results: Results) -> None:
    submit(queue, 1)

    queue.fail(claim_one(queue).lease, ERROR)

    assert results.trial(ID).failure == ERROR
    (attempt,) = results.attempts(ID)
    assert attempt.failure == ERROR


def test_success_after_a_failure_clears_the_failure(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1)
    queue.fail(claim_one(queue).lease, ERROR)
    clock.seconds += 60

    queue.succeed(claim_one(queue).lease, success_of(ID))

    assert results.trial(ID).failure is None


def test_failures_of_one_trial_leave_the_others_queued(queue: Queue, results: Results) -> None:
    submit(queue, 2)

    queue.fail(claim_one(queue).lease, NOT_FINITE)

    states = [trial.state for trial in results.trials("exp1")]
    assert states == [TrialState.FAILED, TrialState.QUEUED]


def test_lost_trial_is_queued_again_at_once(engine: Engine, queue: Queue, results: Results) -> None:
    submit(queue, 1, an_experiment(execution=Execution(retries=0)))

    queue.lose(claim_one(queue).lease, "the actor died")

    assert results.trial(ID).failure == Failure(FailureKind.LOST, "WorkerLost", "the actor died")
    assert claim_one(queue).lease == Lease(ID, 2)
    assert attempts_of(engine, ID) == [(1, "expired"), (2, "running")]


def test_trial_that_kills_its_workers_is_quarantined(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1)
    for _ in range(Execution().max_losses):
        assert isinstance(queue.lose(claim_one(queue).lease, "killed"), Retry)
        clock.seconds += 60

    decision = queue.lose(claim_one(queue).lease, "killed")

    assert decision == GiveUp(TrialState.QUARANTINED, "its worker was lost 4 times in a row")
    assert results.trial(ID).state is TrialState.QUARANTINED


def test_losses_leave_the_budget_of_own_failures_alone(queue: Queue) -> None:
    submit(queue, 1, an_experiment(execution=Execution(retries=1)))
    queue.lose(claim_one(queue).lease, "killed")

    assert isinstance(queue.fail(claim_one(queue).lease, ERROR), Retry)


def test_losses_are_counted_anew_when_a_trial_gets_further(queue: Queue, results: Results) -> None:
    submit(queue, 1, an_experiment(execution=Execution(max_losses=1)))
    for epoch in (1, 2, 3, 4):
        lease = claim_one(queue).lease
        results.record([(lease, each) for each in epoch_saved(ID, epoch)])
        assert queue.lose(lease, "killed") == Retry(0.0)

    queue.lose(claim_one(queue).lease, "killed")

    assert results.trial(ID).state is TrialState.QUARANTINED


def test_saving_the_same_epoch_again_is_not_getting_further(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1, an_experiment(execution=Execution(max_losses=2)))
    for _ in range(3):  # each time it dies in the test after its last epoch
        lease = claim_one(queue).lease
        results.record([(lease, each) for each in epoch_saved(ID, 2)])
        queue.lose(lease, "killed")
        clock.seconds += 60

    # The first attempt did get further, so that its loss was the first of three.
    assert results.trial(ID).state is TrialState.QUARANTINED


def test_worker_that_ran_out_of_memory_is_an_own_failure(engine: Engine, queue: Queue) -> None:
    submit(queue, 1, an_experiment(execution=Execution(max_losses=0, retries=0)))

    decision = queue.lose(claim_one(queue).lease, "ended by the kernel", out_of_memory=True)

    assert isinstance(decision, Retry)
    assert attempts_of(engine, ID) == [(1, "failed")]


def test_old_store_that_names_no_newer_limits_gets_their_defaults(
    engine: Engine, queue: Queue
) -> None:
    submit(queue, 1)
    with writing(engine) as connection:
        before = {"timeout": None, "retries": 2, "max_failed_trials": None, "priority": 0}
        connection.execute(update(experiment).values(execution=before))

    lease = claim_one(queue).lease

    assert queue.lose(lease, "killed") == Retry(0.0)


def test_release_queues_the_trial_and_counts_nothing(
    engine: Engine, queue: Queue, results: Results
) -> None:
    submit(queue, 1, an_experiment(execution=Execution(retries=1)))
    for _ in range(5):
        assert queue.release(claim_one(queue).lease) is TrialState.QUEUED

    assert results.trial(ID).failure is None
    assert isinstance(queue.fail(claim_one(queue).lease, ERROR), Retry)
    assert attempts_of(engine, ID)[:2] == [(1, "cancelled"), (2, "cancelled")]


def test_expire_takes_back_only_what_is_overdue(
    engine: Engine, queue: Queue, clock: SettableClock
) -> None:
    submit(queue, 2)
    old = claim_one(queue).lease
    clock.seconds += 30
    claim_one(queue)
    clock.seconds += 30

    assert queue.expire() == (old,)
    assert attempts_of(engine, "exp1-0001") == [(1, "expired")]
    assert attempts_of(engine, "exp1-0002") == [(1, "running")]


def test_expired_trial_can_be_claimed_at_once(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 1)
    claim_one(queue)
    clock.seconds += 60
    queue.expire()

    assert claim_one(queue).lease == Lease(ID, 2)


def test_renewed_lease_does_not_expire(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    clock.seconds += 50

    renewal = queue.renew([lease], lease_seconds=60.0)

    clock.seconds += 50
    assert renewal.held == {lease}
    assert queue.expire() == ()


def test_lease_renewed_at_the_last_moment_does_not_expire(
    queue: Queue, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    clock.seconds += 60

    def renew_before_writing(engine: Engine) -> AbstractContextManager[Connection]:
        monkeypatch.setattr("orchestrator.queueing.queue.writing", writing)
        queue.renew([lease], lease_seconds=60.0)
        return writing(engine)

    monkeypatch.setattr("orchestrator.queueing.queue.writing", renew_before_writing)

    assert queue.expire() == ()
    assert queue.succeed(lease, success_of(ID))


def test_of_a_finished_trial_one_checkpoint_of_each_kind_stays_on_record(
    queue: Queue, results: Results
) -> None:
    both = CheckpointPolicy(keep=("best", "last"))
    submit(queue, 1, replace(an_experiment(), checkpoints=both))
    for epochs in ((1, 2), (3,)):
        lease = claim_one(queue).lease
        for epoch in epochs:
            results.record([(lease, each) for each in epoch_saved(ID, epoch)])
        if epochs == (1, 2):
            queue.lose(lease, "killed")

    queue.succeed(lease, success_of(ID))  # its epoch 2 is the selected one

    assert recorded(results) == [("best", 1, 2), ("last", 2, 3)]


def test_checkpoints_that_are_not_to_be_kept_go_when_the_trial_has_succeeded(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1)  # keeps "best"
    lease = claim_one(queue).lease
    results.record([(lease, each) for epoch in (1, 2) for each in epoch_saved(ID, epoch)])
    assert [kind for kind, *_ in recorded(results)] == ["best", "last"]

    queue.succeed(lease, success_of(ID))

    assert recorded(results) == [("best", 1, 2)]


def recorded(results: Results) -> list[tuple[str, int, int]]:
    return [(row.kind, row.fence, row.epoch) for row in results.checkpoints(ID)]


def test_too_many_failed_trials_pause_the_experiment(queue: Queue, results: Results) -> None:
    submit(queue, 3, an_experiment(execution=Execution(max_failed_trials=2)))
    queue.fail(claim_one(queue).lease, NOT_FINITE)
    assert results.resolve_experiment("exp1").paused_reason is None

    queue.fail(claim_one(queue).lease, NOT_FINITE)

    reason = results.resolve_experiment("exp1").paused_reason
    assert reason == "2 trials failed (execution.max_failed_trials: 2)"
    assert claim(queue) == ()


@pytest.mark.parametrize(("goal", "expected"), [("maximize", 0.9), ("minimize", 0.2)])
def test_best_so_far_follows_the_goal(
    queue: Queue, results: Results, goal: str, expected: float
) -> None:
    objective = Objective(metric="val/accuracy", goal=goal)
    submit(queue, 4, an_experiment(objective=objective))
    for value in (0.5, 0.9, 0.2, math.nan):
        lease = claim_one(queue).lease
        queue.succeed(lease, success_of(lease.trial_id, value))

    (overview,) = results.overviews()

    assert overview.best is not None
    assert overview.best.objective_value == expected
