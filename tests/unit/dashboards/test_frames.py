from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dashboards.frames import curves_frame, metric_names, trials_frame
from experiments.events import TrialSucceeded
from experiments.tasks import TASKS
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from tests.samples import an_experiment, claim_one, points_of, some_trials, success_of


def test_frames_are_the_store_with_a_column_for_each_thing(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine), Results(engine)
    first, second = some_trials(2)
    without_lr = replace(second, params={"model": "tiny", "batch_size": 32})
    queue.submit(an_experiment(), [first, without_lr])
    lease = claim_one(queue).lease
    results.record([(lease, points_of(lease.trial_id, 0.5, float("nan")))])
    queue.succeed(lease, success_of(lease.trial_id, 0.75), machine="box/1cpu")
    trials = trials_frame(results, results.experiments())
    curves = curves_frame(results, results.experiments())
    engine.dispose()

    assert list(trials.columns) == [
        "experiment", "trial", "number", "variant", "seed", "state", "attempts", "reused_from",
        "model", "lr", "batch_size",
        "parameters", "multiply_adds", "receptive_field",
        "train/loss", "train/accuracy",
        "val/loss", "val/accuracy", "val/error", "val/precision", "val/recall", "val/f1",
        "test/loss", "test/accuracy", "test/error", "test/precision", "test/recall", "test/f1",
        "selected_epoch", "seconds", "peak_memory_bytes", "machine", "device", "strategy",
        "queued_at", "started_at", "finished_at", "failure",
    ]  # fmt: skip
    assert list(trials["experiment"]) == ["grid", "grid"]
    assert list(trials["state"]) == ["succeeded", "queued"]
    assert trials["val/accuracy"][0] == 0.75
    assert pd.isna(trials["lr"][1])
    assert [str(trials[name].dtype) for name in ("model", "lr", "batch_size")] == [
        "string",
        "float64",
        "Int64",
    ]
    assert (pd.isna(trials["batch_size"][0]), trials["batch_size"][1]) == (True, 32)
    assert (trials["parameters"][0], trials["multiply_adds"][1]) == (650, 640)  # 64 x 10, biases
    assert (trials["peak_memory_bytes"][0], trials["machine"][0]) == (3 * 2**30, "box/1cpu")
    assert trials["device"][0] == "cpu"
    assert pd.isna(trials["peak_memory_bytes"][1])
    assert (trials["strategy"][0], trials["strategy"].isna()[1]) == ("plain", True)
    assert trials["queued_at"][0] <= trials["finished_at"][0]
    assert list(curves.columns) == [
        "experiment", "trial", "metric", "epoch", "step", "value", "timestamp",
    ]  # fmt: skip
    assert curves["value"][0] == 0.5
    assert pd.isna(curves["value"][1])
    assert str(curves["timestamp"].dt.tz) == "UTC"


@pytest.mark.parametrize("task", TASKS)
def test_columns_of_a_frame_of_trials_are_the_same_whatever_is_in_them(
    tmp_path: Path, task: str
) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine), Results(engine)
    trials = [
        replace(each, params={}, config=replace(each.config, task=task)) for each in some_trials(1)
    ]
    queue.submit(an_experiment(), trials)
    waiting = trials_frame(results, results.experiments())
    metrics = dict.fromkeys(metric_names(task), 0.5)
    queue.succeed(claim_one(queue).lease, TrialSucceeded(trials[0].id, metrics, 1, 0.5))
    done = trials_frame(results, results.experiments())
    engine.dispose()

    assert dict(waiting.dtypes) == dict(done.dtypes)
    assert list(waiting.columns) == list(done.columns)
    assert set(TASKS[task].objectives) <= set(done.columns)
    assert done[[*metric_names(task)]].notna().all(axis=None)


def test_metrics_that_are_no_numbers_are_read_as_such(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine), Results(engine)
    queue.submit(an_experiment(), some_trials(3))
    for loss in (float("nan"), float("inf")):
        lease = claim_one(queue).lease
        queue.succeed(lease, success_of(lease.trial_id, 0.1 + 0.2, **{"val/loss": loss}))
    found = trials_frame(results, results.experiments())
    engine.dispose()

    assert [str(value) for value in found["val/loss"]] == ["nan", "inf", "nan"]
    assert list(found["val/accuracy"][:2]) == [0.1 + 0.2] * 2


def test_experiments_stand_in_one_frame_with_the_metrics_of_all_their_tasks(
    tmp_path: Path,
) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine), Results(engine)
    for id_, name, task in [
        ("exp1", "grid", "classification"),
        ("exp2", "line", "regression"),
        ("exp3", "grid", "classification"),
    ]:
        trials = [
            replace(each, config=replace(each.config, task=task)) for each in some_trials(1, of=id_)
        ]
        queue.submit(an_experiment(id_, name=name), trials)
    lease = claim_one(queue).lease
    results.record([(lease, points_of(lease.trial_id, 0.5))])
    found = trials_frame(results, results.experiments())
    points = curves_frame(results, results.experiments())
    engine.dispose()

    assert list(found["experiment"]) == ["grid exp1", "line", "grid exp3"]  # two are called grid
    assert {"val/accuracy", "val/rmse"} <= set(found.columns)
    assert list(points["experiment"]) == ["grid exp1"]
    assert trials_frame(results, []).empty
    assert curves_frame(results, []).empty


@pytest.mark.parametrize("task", TASKS)
def test_documentation_names_the_metrics_of_each_task(repository: Path, task: str) -> None:
    lines = (repository / "docs/frames.md").read_text().splitlines()
    (row,) = (line for line in lines if f"`{task}`" in line)
    _, _, on_train, on_others, _ = row.split("|")
    assert on_train.strip() == ", ".join(f"`{name}`" for name in TASKS[task].train_metrics)
    assert on_others.strip() == ", ".join(f"`{name}`" for name in TASKS[task].metrics)
