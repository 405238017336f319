"""The outbox: exactly one entry for what MLflow must know, until it knows."""

from orchestrator.queueing.outbox import MODEL, TRIAL, Backlog, Outbox
from orchestrator.queueing.queue import Queue
from tests.samples import (
    NOT_FINITE,
    SettableClock,
    claim_one,
    submit,
    success_of,
)


def pending_in(outbox: Outbox) -> list[tuple[str, str]]:
    return [(entry.kind, entry.key) for entry in outbox.pending(100)]


def finish(queue: Queue, *, well: bool = True) -> None:
    lease = claim_one(queue).lease
    if well:
        queue.succeed(lease, success_of(lease.trial_id))
    else:
        queue.fail(lease, NOT_FINITE)


def test_open_trials_are_not_told(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 2)
    queue.release(claim_one(queue).lease)

    assert pending_in(outbox) == []


def test_each_terminal_trial_is_told(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 3, num_seeds=3)
    finish(queue)
    finish(queue, well=False)

    assert pending_in(outbox) == [(TRIAL, "exp1-0001"), (TRIAL, "exp1-0002")]


def test_last_trial_of_a_variant_adds_its_model(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 4, num_seeds=2)
    finish(queue)
    assert (MODEL, "exp1/v1") not in pending_in(outbox)

    finish(queue, well=False)

    assert (MODEL, "exp1/v1") in pending_in(outbox)


def test_variant_without_a_success_has_no_model(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 1)
    finish(queue, well=False)

    assert pending_in(outbox) == [(TRIAL, "exp1-0001")]


def test_cancelling_the_rest_of_a_variant_adds_its_model(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 2, num_seeds=2)
    finish(queue)

    queue.cancel(experiment_id="exp1")

    assert pending_in(outbox) == [
        (TRIAL, "exp1-0001"),
        (TRIAL, "exp1-0002"),
        (MODEL, "exp1/v1"),
    ]


def test_result_said_twice_is_told_once(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    for _ in range(2):
        queue.succeed(lease, success_of(lease.trial_id))

    assert pending_in(outbox) == [(TRIAL, "exp1-0001"), (MODEL, "exp1/v1")]


def test_done_entry_is_not_pending(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 2)
    finish(queue, well=False)
    (entry,) = outbox.pending(100)

    assert outbox.mark_done(entry)

    assert outbox.pending(100) == ()
    assert outbox.num_pending() == 0


def test_failed_entry_waits_out_its_delay(
    queue: Queue, outbox: Outbox, clock: SettableClock
) -> None:
    submit(queue, 1)
    finish(queue, well=False)
    (entry,) = outbox.pending(100)

    outbox.mark_failed(entry, "503 Service Unavailable \0", delay_seconds=30.0)

    assert outbox.pending(100) == ()
    assert outbox.num_pending() == 1
    clock.seconds += 30
    (again,) = outbox.pending(100)
    assert again.tries == 1


def test_backlog_says_how_far_behind_mlflow_is_and_why(
    queue: Queue, outbox: Outbox, clock: SettableClock
) -> None:
    assert outbox.backlog() == Backlog(0, 0, None, None)
    submit(queue, 4)
    for _ in range(4):
        finish(queue, well=False)
    first, second, third, _ = outbox.pending(100)
    outbox.mark_failed(first, "old, and put off for long", delay_seconds=3600.0)
    clock.seconds += 1
    outbox.mark_failed(second, "newest", delay_seconds=1.0)
    outbox.mark_done(third)

    assert outbox.backlog() == Backlog(3, 2, "newest", clock.seconds)
    clock.seconds += 5
    outbox.mark_done(second)
    assert outbox.backlog() == Backlog(2, 1, "old, and put off for long", clock.seconds)


def test_what_is_new_to_tell_has_not_failed(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 1)
    finish(queue, well=False)
    outbox.mark_failed(outbox.pending(1)[0], "503", delay_seconds=0.0)
    queue.retry(experiment_id="exp1")

    finish(queue, well=False)

    backlog = outbox.backlog()
    assert (backlog.num_pending, backlog.num_failed, backlog.last_error) == (1, 0, None)


def test_trial_that_ends_again_is_told_again(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 1)
    finish(queue, well=False)
    (entry,) = outbox.pending(100)
    outbox.mark_done(entry)
    queue.retry(experiment_id="exp1")

    finish(queue)

    assert {entry.kind for entry in outbox.pending(100)} == {TRIAL, MODEL}


def test_word_of_an_older_telling_does_not_close_a_newer_entry(
    queue: Queue, outbox: Outbox
) -> None:
    submit(queue, 1)
    finish(queue, well=False)
    (old,) = outbox.pending(100)
    queue.retry(experiment_id="exp1")
    finish(queue, well=False)

    assert not outbox.mark_done(old)
    assert not outbox.mark_failed(old, "late", delay_seconds=60.0)
    assert pending_in(outbox) == [(TRIAL, "exp1-0001")]


def test_pending_gives_the_longest_waiting_first(
    queue: Queue, outbox: Outbox, clock: SettableClock
) -> None:
    submit(queue, 3)
    for _ in range(3):
        finish(queue, well=False)
        clock.seconds += 1

    assert [entry.key for entry in outbox.pending(2)] == ["exp1-0001", "exp1-0002"]


def test_all_that_was_told_is_told_again_trials_before_their_models(
    queue: Queue, outbox: Outbox, clock: SettableClock
) -> None:
    submit(queue, 2, num_seeds=2)
    finish(queue)
    finish(queue)
    outbox.mark_failed(outbox.pending(1)[0], "503", delay_seconds=10.0)
    clock.seconds += 10
    told = outbox.pending(100)
    for entry in told:
        assert outbox.mark_done(entry)
    clock.seconds += 10

    assert outbox.tell_again() == 3
    assert pending_in(outbox) == [(TRIAL, "exp1-0001"), (TRIAL, "exp1-0002"), (MODEL, "exp1/v1")]
    assert outbox.backlog() == Backlog(3, 0, None, None)
    assert not outbox.mark_done(told[0])  # said of a telling from before
    assert outbox.tell_again() == 0


def test_what_was_not_told_is_left_as_it_is_by_telling_again(queue: Queue, outbox: Outbox) -> None:
    submit(queue, 2)
    finish(queue, well=False)
    finish(queue, well=False)
    done, refused = outbox.pending(100)
    outbox.mark_failed(refused, "400", delay_seconds=60.0)
    outbox.mark_done(done)

    assert outbox.tell_again() == 1
    assert pending_in(outbox) == [(TRIAL, "exp1-0001")]
    assert outbox.backlog() == Backlog(2, 1, "400", None)
