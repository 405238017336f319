from pathlib import Path

import pandas as pd

from dashboards.frames import curves_frame, trials_frame
from experiments.records import Trial
from orchestrator.database import open_store
from orchestrator.queue import Queue
from orchestrator.results import Results
from tests.samples import an_experiment, claim_one, points_of, some_trials, success_of


def test_frames_are_the_store_with_a_column_for_each_thing(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine), Results(engine)
    first, second = some_trials(2)
    without_lr = Trial(
        **{name: getattr(second, name) for name in Trial.__dataclass_fields__ if name != "params"},
        params={"model": "tiny"},
    )
    queue.submit(an_experiment(), [first, without_lr])
    lease = claim_one(queue).lease
    results.record([(lease, points_of(lease.trial_id, 0.5, float("nan")))])
    queue.succeed(lease, success_of(lease.trial_id, 0.75))
    trials = trials_frame(results.trials("exp1"))
    curves = curves_frame(results.curves(experiment_id="exp1"))
    engine.dispose()

    assert list(trials.columns) == [
        "trial", "number", "variant", "seed", "state", "attempts", "model", "lr",
        "train/loss", "train/accuracy", "val/loss", "val/accuracy", "test/loss", "test/accuracy",
        "selected_epoch", "seconds", "failure",
    ]  # fmt: skip
    assert list(trials["state"]) == ["succeeded", "queued"]
    assert trials["val/accuracy"][0] == 0.75
    assert pd.isna(trials["lr"][1])
    assert list(curves.columns) == ["trial", "metric", "epoch", "step", "value", "timestamp"]
    assert curves["value"][0] == 0.5
    assert pd.isna(curves["value"][1])
    assert str(curves["timestamp"].dt.tz) == "UTC"


def test_frames_of_nothing_have_their_columns() -> None:
    assert "val/accuracy" in trials_frame([]).columns
    assert list(curves_frame([]).columns)[:2] == ["trial", "metric"]
    assert len(curves_frame([])) == 0
