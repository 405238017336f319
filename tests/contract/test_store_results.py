"""Results: what was measured is read back as it was written, and found by name."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import pytest

from experiments.errors import NotFoundError
from experiments.records import CheckpointPolicy, Objective
from experiments.states import ExperimentState, TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from orchestrator.store.rows import CurvePoint
from tests.samples import (
    NOT_FINITE,
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

ID = "exp1-0001"


def test_points_are_read_back_exactly(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease

    results.record([(lease, points_of(ID, 0.1 + 0.2, 1e-300))])

    assert results.curves(trial_id=ID) == [
        CurvePoint(ID, "train/loss", 1, 10, 0.1 + 0.2, 1_700_000_000_001),
        CurvePoint(ID, "train/loss", 2, 20, 1e-300, 1_700_000_000_002),
    ]


def test_points_that_are_not_finite_are_kept(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease

    results.record([(lease, points_of(ID, math.inf, math.nan))])

    first, second = results.curves(trial_id=ID)
    assert first.value == math.inf
    assert math.isnan(second.value)


def test_curve_of_a_failed_trial_is_kept(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    results.record([(lease, points_of(ID, 2.3))])

    queue.fail(lease, NOT_FINITE)

    assert len(results.curves(experiment_id="exp1")) == 1


def test_later_attempt_replaces_the_points_it_measures_again(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1)
    first = claim_one(queue).lease
    results.record([(first, points_of(ID, 1.0, 2.0))])
    queue.lose(first, "killed")

    results.record([(claim_one(queue).lease, points_of(ID, 7.0))])

    assert [point.value for point in results.curves(trial_id=ID)] == [7.0, 2.0]


def test_curves_can_be_limited_to_metrics(queue: Queue, results: Results) -> None:
    submit(queue, 2)
    for lease in (one.lease for one in claim(queue, limit=2)):
        for name in ("train/loss", "val/loss"):
            results.record([(lease, points_of(lease.trial_id, 1.0, metric=name))])

    points = results.curves(experiment_id="exp1", metrics=["val/loss"])

    assert [(point.trial_id, point.metric) for point in points] == [
        ("exp1-0001", "val/loss"),
        ("exp1-0002", "val/loss"),
    ]


def test_newest_checkpoint_of_a_kind_replaces_the_one_before(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    results.record([(lease, saved(ID, "best")), (lease, saved(ID, "last"))])

    results.record([(lease, saved(ID, "last", epoch=2))])

    kept = {row.kind: (row.epoch, row.fence) for row in results.checkpoints(ID)}
    assert kept == {"best": (1, 1), "last": (2, 1)}


def test_writers_and_readers_at_once_disturb_nobody(queue: Queue, results: Results) -> None:
    submit(queue, 8)
    leases = [one.lease for one in claim(queue, limit=8)]

    def work(lease: Lease) -> None:
        for _ in range(5):
            results.record([(lease, points_of(lease.trial_id, 1.0, 2.0))])
            queue.renew(leases, lease_seconds=60.0)
            results.overviews()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, leases))

    assert len(results.curves(experiment_id="exp1")) == 16


def test_experiment_is_found_by_name_id_and_start_of_id(queue: Queue, results: Results) -> None:
    submit(queue, 1, an_experiment("abc123", name="grid"))

    for called in ("grid", "abc123", "abc"):
        assert results.resolve_experiment(called).id == "abc123"


def test_newest_of_several_with_one_name_is_meant(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1, an_experiment("zzz"))
    clock.seconds += 1
    submit(queue, 1, an_experiment("aaa"))

    assert results.resolve_experiment("grid").id == "aaa"


def test_unknown_experiment_names_the_nearest(queue: Queue, results: Results) -> None:
    submit(queue, 1, an_experiment(name="mnist-grid"))

    with pytest.raises(NotFoundError, match=r"'mnist-gird'; did you mean 'mnist-grid'\?"):
        results.resolve_experiment("mnist-gird")


@pytest.mark.parametrize("called", ["", "e", "%", "exp_", "exp"])
def test_start_of_several_ids_and_wildcards_find_nothing(
    queue: Queue, results: Results, called: str
) -> None:
    for name in ("exp1", "exp2"):
        submit(queue, 1, an_experiment(name, name=name))

    with pytest.raises(NotFoundError):
        results.resolve_experiment(called)


def test_trial_is_found_by_the_start_of_its_id(queue: Queue, results: Results) -> None:
    submit(queue, 2, an_experiment("abc"))

    assert results.trial("abc-0002").number == 2
    with pytest.raises(NotFoundError, match="more than one"):
        results.trial("abc-")
    with pytest.raises(NotFoundError, match="no trial has the id 'xyz'"):
        results.trial("xyz")


def test_overview_counts_every_state(queue: Queue, results: Results, clock: SettableClock) -> None:
    submit(queue, 5)
    start = clock.seconds
    queue.succeed(claim_one(queue).lease, success_of("exp1-0001"))
    clock.seconds += 100
    queue.fail(claim_one(queue).lease, NOT_FINITE)
    claim_one(queue)
    queue.cancel(trial_id="exp1-0005")

    (overview,) = results.overviews(["exp1"], recent_seconds=50.0)

    assert {state: count for state, count in overview.counts.items() if count} == {
        TrialState.QUEUED: 1,
        TrialState.LEASED: 1,
        TrialState.SUCCEEDED: 1,
        TrialState.FAILED: 1,
        TrialState.CANCELLED: 1,
    }
    assert (overview.num_open, overview.num_recent) == (2, 2)
    assert (overview.first_started_at, overview.last_finished_at) == (start, start + 100)
    assert overview.state is ExperimentState.RUNNING


def test_experiments_state_follows_from_its_trials(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    assert results.overviews()[0].state is ExperimentState.QUEUED
    lease = claim_one(queue).lease
    assert results.overviews()[0].state is ExperimentState.RUNNING
    queue.succeed(lease, success_of(ID))
    assert results.overviews()[0].state is ExperimentState.FINISHED


def test_overviews_of_named_experiments_leave_out_the_others(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1, an_experiment("one"))
    submit(queue, 1, an_experiment("two"))

    assert [one.experiment.id for one in results.overviews(["two"])] == ["two"]
    assert len(results.overviews()) == 2


def test_overviews_of_open_experiments_leave_out_the_finished_ones(
    queue: Queue, results: Results
) -> None:
    for name in ("waiting", "running", "done"):
        submit(queue, 1, an_experiment(name))
    queue.cancel(experiment_id="done")
    running = claim_one(queue).lease
    open_ones = {"waiting", "running"}

    assert {one.experiment.id for one in results.overviews(open_only=True)} == open_ones
    assert results.overviews(["done"], open_only=True) == ()
    queue.succeed(running, success_of(running.trial_id))
    left = open_ones - {running.trial_id.removesuffix("-0001")}
    assert {one.experiment.id for one in results.overviews(open_only=True)} == left


@pytest.mark.parametrize(("goal", "best"), [("maximize", 2), ("minimize", 1)])
def test_best_trial_is_the_first_of_equals(
    queue: Queue, results: Results, goal: Literal["maximize", "minimize"], best: int
) -> None:
    submit(queue, 5, an_experiment(objective=Objective("val/accuracy", goal)))
    for accuracy in (0.1, 0.9, 0.1, 0.9, math.nan):
        lease = claim_one(queue).lease
        queue.succeed(lease, success_of(lease.trial_id, accuracy))
    submit(queue, 1, an_experiment("other"))
    queue.succeed(claim_one(queue).lease, success_of("other-0001", 0.99))

    (overview,) = results.overviews(["exp1"])

    assert overview.best is not None
    assert (overview.best.number, overview.best.params["lr"]) == (best, 0.1)


def test_experiment_by_its_id_is_never_one_that_is_named_so(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1, an_experiment("exp1"))
    clock.seconds += 1
    submit(queue, 1, an_experiment("exp2", name="exp1"))

    assert results.resolve_experiment("exp1").id == "exp2"  # a person means the newest
    assert results.experiment("exp1").id == "exp1"


def test_trial_by_its_whole_id_is_never_another_that_starts_so(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1, an_experiment("e"))
    submit(queue, 1, an_experiment("e-0001"))

    assert results.trial("e-0001").id == "e-0001"


def test_trials_of_one_variant_leave_out_the_others(queue: Queue, results: Results) -> None:
    submit(queue, 4, num_seeds=2)
    submit(queue, 4, an_experiment("exp2"), num_seeds=2)

    assert [trial.id for trial in results.trials("exp1", variant="v2")] == [
        "exp1-0003",
        "exp1-0004",
    ]


def test_param_names_are_those_of_all_trials(queue: Queue, results: Results) -> None:
    first, second = some_trials(2)
    queue.submit(an_experiment(), [first, replace(second, params={"lr": 0.1, "momentum": 0.9})])

    assert results.param_names("exp1") == {"lr", "model", "momentum"}


@pytest.mark.parametrize(
    ("kept", "selected"),
    [
        ([("best", 2), ("last", 2)], "best"),
        ([("best", 1), ("last", 2)], "last"),
        ([("last", 2)], "last"),
        ([("best", 1), ("last", 3)], None),
        ([], None),
    ],
)
def test_selected_checkpoint_is_any_of_the_selected_epoch(
    queue: Queue, results: Results, kept: list[tuple[str, int]], selected: str | None
) -> None:
    policy = CheckpointPolicy(keep=("best", "last"))
    submit(queue, 1, replace(an_experiment(), checkpoints=policy))
    lease = claim_one(queue).lease
    results.record([(lease, saved(ID, kind, epoch=epoch)) for kind, epoch in kept])
    assert results.selected_checkpoint(results.trial(ID)) is None  # it goes on

    queue.succeed(lease, success_of(ID))

    chosen = results.selected_checkpoint(results.trial(ID))
    assert (chosen.kind if chosen else None) == selected
