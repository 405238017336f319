"""What is taken ahead of need: first attempts only, and nobody's turn passed over."""

from experiments.records import Execution
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.queue import Queue
from tests.contract.test_store_packs import of_batch_sizes
from tests.samples import ONE_CPU, an_experiment, claim, submit


def claim_ahead(queue: Queue, limit: int = 1) -> tuple[Claim, ...]:
    return queue.claim(worker="w1", limit=limit, lease_seconds=60.0, resources=ONE_CPU, ahead=True)


def numbers(claims: tuple[Claim, ...]) -> list[int]:
    return [each.number for each in claims]


def test_trials_that_were_never_tried_are_taken_ahead(queue: Queue) -> None:
    submit(queue, 6)

    assert numbers(claim(queue, limit=2)) == [1, 2]
    assert numbers(claim_ahead(queue, limit=3)) == [3, 4, 5]


def test_one_that_was_tried_before_waits_for_a_worker_that_is_free(queue: Queue) -> None:
    submit(queue, 4)
    first, *_ = claim(queue, limit=2)
    queue.release(first.lease)

    assert claim_ahead(queue, limit=3) == ()
    assert numbers(claim(queue, limit=1)) == [1]
    assert numbers(claim_ahead(queue, limit=3)) == [3, 4]


def test_one_that_was_tried_before_is_left_out_of_a_pack_that_is_taken_ahead(queue: Queue) -> None:
    submit(queue, 4)
    queue.pause(trial_id="exp1-0001")
    (second,) = claim(queue)
    queue.release(second.lease)
    queue.resume(trial_id="exp1-0001")

    assert numbers(claim_ahead(queue, limit=4)) == [1, 3, 4]


def test_only_trials_of_the_shape_that_is_wanted_are_taken(queue: Queue) -> None:
    queue.submit(an_experiment(), of_batch_sizes(32, 64, 32, 64))
    (first,) = claim(queue)

    claims = queue.claim(
        worker="w1",
        limit=4,
        lease_seconds=60.0,
        resources=ONE_CPU,
        ahead=True,
        like=first.pack_shape,
    )
    assert numbers(claims) == [3]


def test_nobodys_turn_is_passed_over_for_what_may_be_taken_ahead(queue: Queue) -> None:
    submit(queue, 2, an_experiment("exp1", execution=Execution(priority=5, strategy="auto")))
    submit(queue, 2, an_experiment("exp2"))
    first, *_ = claim(queue, limit=2)
    queue.release(first.lease)

    assert claim_ahead(queue) == ()


def test_trials_that_no_loss_may_befall_are_not_taken_ahead_and_say_that_they_go_alone(
    queue: Queue,
) -> None:
    submit(queue, 2, an_experiment(execution=Execution(max_losses=0, strategy="auto")))

    assert claim_ahead(queue) == ()
    (only,) = claim(queue, limit=2)
    assert only.goes_alone


def test_other_trials_do_not_go_alone(queue: Queue) -> None:
    submit(queue, 2)

    assert [each.goes_alone for each in claim(queue, limit=2)] == [False, False]
