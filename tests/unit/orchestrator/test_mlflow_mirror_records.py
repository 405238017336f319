"""What MLflow is shown of a trial, as plain values: no MLflow, no store."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from experiments.architectures.architecture import Architecture
from experiments.events import Failure
from experiments.records import DataConfig, Objective, OptimizerConfig, ScheduleConfig, TrialConfig
from experiments.states import FailureKind, TrialState
from experiments.tasks import TASKS
from orchestrator.mirroring.mlflow_records import Point, RunRecord, model_name, run_record
from orchestrator.store.rows import CurvePoint, ExperimentRow, TrialRow

EXPERIMENT = ExperimentRow(
    id="e1",
    name="grid",
    tags={
        "team": "vision",
        "seed": "of the user",
        "diverged": "no",
        "mlflow.user": "me",
        "trainyard!x": "free",
        "trainyard.x": "ours",
        "spec.seed": "theirs too",
    },
    task="classification",
    objective=Objective(),
    num_trials=1,
    created_at=0.0,
    git_commit=None,
    paused_reason=None,
)
TRIAL = TrialRow(
    id="t1",
    experiment_id="e1",
    number=1,
    variant="lr=0.1",
    seed=3,
    params={"lr": 0.1, "nesterov": True},
    state=TrialState.SUCCEEDED,
    num_attempts=2,
    worker=None,
    metrics={"val/accuracy": 0.9, "test/loss": math.inf, "test/accuracy": 0.8},
    objective_value=0.9,
    selected_epoch=4,
    duration_seconds=1.0,
    peak_memory_bytes=None,
    machine="box/1cpu",
    strategy="fused, 16 members",
    failure=None,
    stop_requested=False,
    is_paused=False,
    reused_from=None,
    queued_at=1.0,
    started_at=2.0004,
    finished_at=3.25,
)
CONFIG = TrialConfig(
    task="classification",
    architecture=Architecture.from_data(
        {"name": "linear", "input_shape": [1, 8, 8], "layers": ["flatten", {"linear": 10}]}
    ),
    data=DataConfig("digits", "0123456789" * 6, limit=500),
    loss="cross_entropy",
    optimizer=OptimizerConfig("sgd", lr=0.1),
    schedule=ScheduleConfig(),
    epochs=5,
    batch_size=64,
    seed=3,
    objective=Objective(),
)


def a_run(*curves: CurvePoint, param_names: tuple[str, ...] = (), **changes: Any) -> RunRecord:
    trial = replace(TRIAL, **changes)
    return run_record(
        EXPERIMENT, trial, CONFIG, curves=curves, confusion=None, param_names=param_names
    )


def test_curves_keep_their_timestamps_and_count_epochs_or_for_batches_steps() -> None:
    run = a_run(
        CurvePoint("t1", "val/loss", 2, 40, 0.5, 1234),
        CurvePoint("t1", "train/batch_loss", 2, 33, 0.7, 1230),
    )
    assert run.points[-2:] == (
        Point("val/loss", 0.5, 1234, 2),
        Point("train/batch_loss", 0.7, 1230, 33),
    )


def test_numbers_that_are_none_are_left_out() -> None:
    run = a_run(
        CurvePoint("t1", "val/loss", 1, 20, math.nan, 1), CurvePoint("t1", "lr", 1, 20, 0.1, 1)
    )
    assert [point.key for point in run.points] == ["best/val/accuracy", "test/accuracy", "lr"]


def test_selected_epoch_is_summed_up_at_the_trials_end_as_bars() -> None:
    run = a_run()
    assert run.tags["trainyard.selected_epoch"] == "4"
    assert run.points == (
        Point("best/val/accuracy", 0.9, 3250, 0),  # MLflow draws bars of what has step 0 alone
        Point("test/accuracy", 0.8, 3250, 0),
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("metric", ["loss", "last"])
def test_runs_of_each_task_show_what_trials_are_judged_by(task: str, metric: str) -> None:
    names = (*TASKS[task].metrics, "loss")
    objective = "val/loss" if metric == "loss" else f"val/{TASKS[task].metrics[-1]}"
    metrics = {f"{split}/{name}": 0.5 for split in ("train", "val", "test") for name in names}
    run = run_record(
        replace(EXPERIMENT, task=task, objective=Objective(metric=objective)),
        replace(TRIAL, metrics=metrics),
        CONFIG,
        curves=[],
        confusion=None,
        param_names=[],
    )
    keys = {point.key for point in run.points}
    assert {key for key in keys if key.startswith("best/")} == {
        f"best/{objective}",
        f"best/val/{TASKS[task].headline}",
        "best/val/loss",
    }
    assert {key for key in keys if key.startswith("test/")} == {f"test/{name}" for name in names}
    assert run.tags["task"] == task


def test_params_of_other_trials_do_not_apply() -> None:
    params = a_run(param_names=("lr", "dropout")).params
    assert params == {
        "lr": "0.1",
        "nesterov": "True",
        "dropout": "n/a",
        "parameters": "650",
        "multiply_adds": "640",
    }


def test_users_tags_do_not_replace_ours_and_are_kept_under_another_name() -> None:
    tags = a_run().tags
    ours = {name for name in tags if name.startswith(("trainyard.", "mlflow."))}
    assert {name: tags[name] for name in tags.keys() - ours} == {
        "experiment": "grid",
        "task": "classification",
        "variant": "lr=0.1",
        "seed": "3",
        "team": "vision",
        "trainyard_x": "free",
        "spec.seed": "of the user",
        "spec.diverged": "no",
        "spec.mlflow.user": "me",
        "spec.trainyard.x": "ours",
        "spec.spec.seed": "theirs too",
    }
    assert not {"trainyard.x", "mlflow.user", "mlflow.source.git.commit"} & ours


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (TrialState.SUCCEEDED, "FINISHED"),
        (TrialState.FAILED, "FAILED"),
        (TrialState.QUARANTINED, "FAILED"),
        (TrialState.CANCELLED, "KILLED"),
        (TrialState.PRUNED, "KILLED"),
    ],
)
def test_state_becomes_mlflows_status(state: TrialState, status: str) -> None:
    run = a_run(state=state)
    assert (run.status, run.tags["trainyard.state"]) == (status, state.value)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_only_a_loss_that_is_not_finite_counts_as_diverged(kind: FailureKind) -> None:
    tags = a_run(failure=Failure(kind, "Oops", "no")).tags
    assert tags["trainyard.failure"] == kind.value
    assert (tags.get("diverged") == "true") is (kind is FailureKind.NOT_FINITE)


def test_result_that_was_known_says_where_from() -> None:
    assert a_run(reused_from="t0").tags["trainyard.reused_from"] == "t0"
    assert "trainyard.reused_from" not in a_run().tags
    assert a_run().tags["trainyard.strategy"] == "fused, 16 members"
    assert "trainyard.strategy" not in a_run(reused_from="t0", strategy=None).tags


def test_trial_that_never_started_begins_when_it_was_queued() -> None:
    assert (a_run().start_ms, a_run().end_ms) == (2000, 3250)
    assert a_run(started_at=None, state=TrialState.CANCELLED, metrics=None).start_ms == 1000


def test_texts_stay_within_what_mlflow_takes() -> None:
    failure = Failure(FailureKind.ERROR, "Oops", "x" * 10_000)
    run = a_run(failure=failure, params={"a!" + "k" * 300: "v" * 10_000}, variant="v" * 10_000)
    for key, value in [*run.params.items(), *run.tags.items()]:
        assert len(key) <= 250
        assert len(value) <= 6000
        assert "!" not in key
    assert len(run.name) < 300


def test_data_set_is_named_by_a_digest_that_fits_and_told_whole() -> None:
    dataset = a_run().dataset
    assert (dataset.name, dataset.digest) == ("digits", CONFIG.data.digest[:36])
    profile = json.loads(dataset.profile)
    assert (profile["digest"], profile["limit"]) == (CONFIG.data.digest, 500)


def test_model_is_called_by_its_variant_in_letters_that_mlflow_allows() -> None:
    assert model_name("lenet5 lr=0.1 a/b:c%'\"") == "lenet5 lr=0_1 a_b_c___"
