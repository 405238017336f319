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
from orchestrator.store.rows import CurveColumns
from tests.samples import an_experiment, claim_one, points_of, some_trials, success_of


def test_frames_are_the_store_with_a_column_for_each_thing(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine), Results(engine)
    first, second = some_trials(2)
    without_lr = replace(second, params={"model": "tiny"})
    queue.submit(an_experiment(), [first, without_lr])
    lease = claim_one(queue).lease
    results.record([(lease, points_of(lease.trial_id, 0.5, float("nan")))])
    queue.succeed(lease, success_of(lease.trial_id, 0.75), machine="box/1cpu")
    trials = trials_frame(results.trials("exp1"), task="classification")
    curves = curves_frame(results.curve_columns("exp1"))
    engine.dispose()

    assert list(trials.columns) == [
        "trial", "number", "variant", "seed", "state", "attempts", "reused_from",
        "model", "lr",
        "train/loss", "train/accuracy",
        "val/loss", "val/accuracy", "val/error", "val/precision", "val/recall", "val/f1",
        "test/loss", "test/accuracy", "test/error", "test/precision", "test/recall", "test/f1",
        "selected_epoch", "seconds", "peak_memory_bytes", "machine", "strategy", "failure",
    ]  # fmt: skip
    assert list(trials["state"]) == ["succeeded", "queued"]
    assert trials["val/accuracy"][0] == 0.75
    assert pd.isna(trials["lr"][1])
    assert (trials["peak_memory_bytes"][0], trials["machine"][0]) == (3 * 2**30, "box/1cpu")
    assert pd.isna(trials["peak_memory_bytes"][1])
    assert (trials["strategy"][0], trials["strategy"].isna()[1]) == ("plain", True)
    assert list(curves.columns) == ["trial", "metric", "epoch", "step", "value", "timestamp"]
    assert curves["value"][0] == 0.5
    assert pd.isna(curves["value"][1])
    assert str(curves["timestamp"].dt.tz) == "UTC"


@pytest.mark.parametrize("task", TASKS)
def test_columns_of_a_frame_of_trials_are_the_same_whatever_is_in_them(
    tmp_path: Path, task: str
) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine), Results(engine)
    trials = [replace(each, params={}) for each in some_trials(1)]
    queue.submit(an_experiment(), trials)
    none, waiting = trials_frame([], task=task), trials_frame(results.trials("exp1"), task=task)
    metrics = dict.fromkeys(metric_names(task), 0.5)
    queue.succeed(claim_one(queue).lease, TrialSucceeded(trials[0].id, metrics, 1, 0.5))
    done = trials_frame(results.trials("exp1"), task=task)
    engine.dispose()

    assert dict(none.dtypes) == dict(waiting.dtypes) == dict(done.dtypes)
    assert list(none.columns) == list(done.columns)
    assert set(TASKS[task].objectives) <= set(done.columns)
    assert done[[*metric_names(task)]].notna().all(axis=None)


@pytest.mark.parametrize("task", TASKS)
def test_documentation_names_the_metrics_of_each_task(repository: Path, task: str) -> None:
    lines = (repository / "docs/frames.md").read_text().splitlines()
    (row,) = (line for line in lines if f"`{task}`" in line)
    _, _, on_train, on_others, _ = row.split("|")
    assert on_train.strip() == ", ".join(f"`{name}`" for name in TASKS[task].train_metrics)
    assert on_others.strip() == ", ".join(f"`{name}`" for name in TASKS[task].metrics)


def test_frame_of_no_points_has_its_columns() -> None:
    assert list(curves_frame(CurveColumns.empty()).columns)[:2] == ["trial", "metric"]
    assert len(curves_frame(CurveColumns.empty())) == 0
