"""Reading the store: what went wrong, who works on it, and results taken from elsewhere."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from experiments.records import CheckpointPolicy
from experiments.states import IncidentKind
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from tests.samples import (
    SettableClock,
    an_experiment,
    claim,
    claim_one,
    points_of,
    saved,
    some_trials,
    submit,
    success_of,
)

SOURCE, TAKER = "exp1-0001", "exp2-0001"


@pytest.fixture
def reusing(queue: Queue, results: Results) -> None:
    """Two experiments of two trials; the first of the second takes the first's result."""
    policy = CheckpointPolicy(keep=("best", "last"))
    submit(queue, 2, replace(an_experiment(), checkpoints=policy))
    lease = claim_one(queue).lease
    results.record([(lease, points_of(SOURCE, 0.5, 0.25))])
    results.record(
        [(lease, saved(SOURCE, "best", epoch=1)), (lease, saved(SOURCE, "best", epoch=2))]
    )
    assert queue.succeed(lease, success_of(SOURCE))
    first, second = some_trials(2, of="exp2")
    trials = [replace(first, content_key="exp1-key-0"), second]
    assert queue.submit(an_experiment("exp2"), trials).num_reused == 1


def note(queue: Queue, message: str, **of: str) -> None:
    queue.note(IncidentKind.WORKER_LOST, message, **of)


def test_incidents_are_those_of_all_of_an_experiment_or_of_a_trial(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    note(queue, "of all")
    clock.seconds += 1
    note(queue, "of one", experiment_id="exp1")
    clock.seconds += 1
    note(queue, "of its trial", experiment_id="exp1", trial_id="exp1-0001")

    def messages(**which: object) -> list[str]:
        return [row.message for row in results.incidents(**which)]  # type: ignore[arg-type]

    assert messages() == ["of its trial", "of one", "of all"]
    assert messages(experiment_id="exp1") == ["of its trial", "of one"]
    assert messages(trial_id="exp1-0001") == ["of its trial"]
    assert messages(experiment_id="exp2") == []
    assert messages(limit=1) == ["of its trial"]
    clock.seconds += 10
    assert messages(within_seconds=11.0) == ["of its trial", "of one"]
    assert messages(within_seconds=1.0) == []


def test_orchestrators_are_read_with_the_age_of_their_last_sign(
    engine: Engine, results: Results, clock: SettableClock
) -> None:
    first, second = (Queue(engine, now=clock, orchestrator=name) for name in ("0a", "0b"))
    start = clock.seconds
    first.enter(host="box", process="12:345")
    clock.seconds += 5
    second.enter(host="box", process="13:345")
    clock.seconds += 2

    rows = results.orchestrators()

    assert [(row.id, row.age_seconds, row.started_at - start) for row in rows] == [
        ("0a", 7.0, 0.0),
        ("0b", 2.0, 5.0),
    ]
    assert (rows[0].host, rows[0].process, rows[0].seen_at) == ("box", "12:345", start)
    first.leave()
    assert [row.id for row in results.orchestrators()] == ["0b"]


def test_attempt_names_the_orchestrator_that_held_it(
    engine: Engine, results: Results, clock: SettableClock
) -> None:
    queue = Queue(engine, now=clock, orchestrator="0a")
    submit(queue, 1)
    claim_one(queue)

    (attempt,) = results.attempts("exp1-0001")

    assert attempt.orchestrator == "0a"


@pytest.mark.usefixtures("reusing")
def test_reused_trial_shows_what_its_source_measured_and_saved(results: Results) -> None:
    taker = results.trial(TAKER)
    assert (taker.reused_from, taker.num_attempts) == (SOURCE, 0)
    assert results.trial(SOURCE).reused_from is None

    curve = [point._replace(trial_id=SOURCE) for point in results.curves(trial_id=TAKER)]
    assert curve == results.curves(trial_id=SOURCE) != []
    assert results.confusion(TAKER) == results.confusion(SOURCE) is not None
    assert results.checkpoints(TAKER) == results.checkpoints(SOURCE) != ()
    selected = results.selected_checkpoint(taker)
    assert selected is not None
    assert (selected.trial_id, selected.kind, selected.epoch) == (SOURCE, "best", 2)
    assert [row.files for row in results.recorded_files([TAKER])] == [()]  # none of its own


@pytest.mark.usefixtures("reusing")
def test_curves_of_an_experiment_are_under_the_ids_of_its_own_trials(
    queue: Queue, results: Results
) -> None:
    leases = {one.lease.trial_id: one.lease for _ in range(2) for one in claim(queue)}
    results.record([(leases["exp2-0002"], points_of("exp2-0002", 0.7))])

    points = results.curves(experiment_id="exp2", metrics=["train/loss"])

    assert [(point.trial_id, point.value) for point in points] == [
        (TAKER, 0.5),
        (TAKER, 0.25),
        ("exp2-0002", 0.7),
    ]
    assert {point.trial_id for point in results.curves(experiment_id="exp1")} == {SOURCE}
    assert results.curves(experiment_id="exp2", metrics=["val/loss"]) == []


@pytest.mark.usefixtures("reusing")
def test_overview_counts_the_reused_and_the_paused(queue: Queue, results: Results) -> None:
    queue.pause(trial_id="exp2-0002")

    counts = {one.experiment.id: (one.num_reused, one.num_paused) for one in results.overviews()}

    assert counts == {"exp1": (0, 0), "exp2": (1, 1)}
    assert [row.is_paused for row in results.trials("exp2")] == [False, True]
    queue.cancel(trial_id="exp2-0002")  # it waits no longer
    assert [one.num_paused for one in results.overviews(["exp2"])] == [0]


def finish(queue: Queue, results: Results, experiment_id: str, *, reverse: bool = False) -> str:
    """Let two trials of an experiment succeed, in an order; give the digest of it."""
    submit(queue, 2, an_experiment(experiment_id))
    claims = [claim_one(queue), claim_one(queue)]
    for one in sorted(claims, key=lambda one: one.number, reverse=reverse):
        name = one.lease.trial_id
        results.record([(one.lease, points_of(name, 0.1 * one.number, float("nan")))])
        results.record([(one.lease, points_of(name, 900.0 + reverse, metric="images_per_second"))])
        queue.succeed(one.lease, success_of(name, images_per_second=900.0 + reverse))
    return results.digest(experiment_id)


def test_digest_is_of_what_was_found_and_not_of_how(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    first = finish(queue, results, "exp1")
    clock.seconds += 1000

    assert finish(queue, results, "exp2", reverse=True) == first
    # The same on every database, and from version to version.
    assert first == "73485510e9aa6bbf7630659c25e152d5dd17bcd3f1042006cc18925d6fbf8c8c"


@pytest.mark.usefixtures("reusing")
def test_digest_of_reused_results_is_that_of_trained_ones(queue: Queue, results: Results) -> None:
    for name in ("exp1", "exp2"):
        queue.cancel(experiment_id=name)

    assert results.digest("exp1") == results.digest("exp2")


def test_digest_sees_every_digit(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    digests = {results.digest("exp1")}
    results.record([(lease, points_of(SOURCE, 0.3))])
    digests.add(results.digest("exp1"))
    results.record([(lease, points_of(SOURCE, 0.1 + 0.2))])
    digests.add(results.digest("exp1"))
    queue.succeed(lease, success_of(SOURCE))
    digests.add(results.digest("exp1"))

    assert len(digests) == 4
