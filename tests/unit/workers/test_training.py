import dataclasses
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.events import (
    CheckpointSaved,
    Event,
    MetricPoint,
    PointsMeasured,
    TrialBegun,
    TrialFailed,
    TrialNoted,
    TrialStopped,
    TrialSucceeded,
)
from experiments.records import (
    Assignment,
    CheckpointPolicy,
    DataConfig,
    OptimizerConfig,
    TrialConfig,
)
from experiments.states import FailureKind, IncidentKind
from experiments.tasks import TASKS
from tests.unit.workers.trial_record import EVERY_EPOCH
from workers.checkpoints import load
from workers.criterion import Score
from workers.datasets.staged import StagedData
from workers.files import write_whole
from workers.learner import Learner
from workers.training import run_pack

MakeConfig = Callable[..., TrialConfig]
OF_CLASSES = TASKS["classification"].metrics
WRONG_HEAD = ["flatten", {"linear": 3}]  # three outputs for ten classes
WIDE = [{"conv2d": {"out_channels": 32, "kernel_size": 5, "padding": "same"}}]


class Recorder:
    """A reporter that keeps what it hears, and asks for a stop at the n-th question."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        self.events: list[Event] = []
        self._questions = 0
        self._stop_at = stop_at

    def report(self, event: Event) -> None:
        self.events.append(event)

    def stop_requested(self, trial_id: str) -> bool:
        assert trial_id
        self._questions += 1
        return self._questions == self._stop_at

    @property
    def points(self) -> list[MetricPoint]:
        return [p for e in self.events if isinstance(e, PointsMeasured) for p in e.points]

    def of(self, trial_id: str) -> list[Event]:
        return [event for event in self.events if event.trial_id == trial_id]


def run(
    config: TrialConfig, data: StagedData, *, recorder: Recorder | None = None, **options: Any
) -> Recorder:
    """Run one trial, and give what it reported."""
    recorder = recorder or Recorder()
    options = {"checkpoints": EVERY_EPOCH, **options}
    run_pack([Assignment("t", 1, config, **options)], data, recorder)
    return recorder


def ended(recorder: Recorder) -> TrialSucceeded:
    """Give the success with which the trial must have ended."""
    last = recorder.events[-1]
    assert isinstance(last, TrialSucceeded), last
    return last


def failed(recorder: Recorder) -> TrialFailed:
    """Give the failure with which the trial must have ended."""
    last = recorder.events[-1]
    assert isinstance(last, TrialFailed), last
    return last


def numbers(recorder: Recorder) -> list[str]:
    """Give all that may not differ between runs, to the last bit."""
    points = [
        f"{p.metric} {p.epoch} {p.step} {p.value.hex()}"
        for p in recorder.points
        if p.metric != "images_per_second"
    ]
    metrics = ended(recorder).metrics
    return points + [f"{name} {value.hex()}" for name, value in metrics.items()]


def test_every_epoch_gives_one_point_a_metric_and_every_step_one(
    make_config: MakeConfig, digits: StagedData
) -> None:
    recorder = run(make_config(epochs=3), digits)
    counts = Counter(point.metric for point in recorder.points)
    assert counts == {
        "train/loss": 3,
        "train/accuracy": 3,
        **{f"val/{name}": 3 for name in ("loss", *OF_CLASSES, "dead_units")},
        "lr": 3,
        "images_per_second": 3,
        "train/batch_loss": 18,
    }
    places = [(p.epoch, p.step) for p in recorder.points if p.metric == "val/loss"]
    assert places == [(1, 6), (2, 12), (3, 18)]
    steps = [(p.epoch, p.step) for p in recorder.points if p.metric == "train/batch_loss"]
    assert steps == [(1 + step // 6, step + 1) for step in range(18)]


def test_a_trial_learns(make_config: MakeConfig, digits: StagedData) -> None:
    metrics = ended(run(make_config(epochs=40, select="last"), digits)).metrics
    assert set(metrics) == {
        *("train/loss", "train/accuracy"),
        *(f"{split}/{name}" for split in ("val", "test") for name in ("loss", *OF_CLASSES)),
    }
    assert metrics["test/accuracy"] > 0.7  # of 189 images; guessing gives 0.1


def test_a_trial_reports_its_confusion_and_its_memory(
    make_config: MakeConfig, digits: StagedData
) -> None:
    end = ended(run(make_config(), digits))
    assert end.confusion is not None
    assert [sum(row) for row in end.confusion] == [36] * 10  # the test split has 36 a class
    right = sum(end.confusion[label][label] for label in range(10))
    assert end.metrics["test/accuracy"] == right / 360
    assert end.peak_memory_bytes is not None
    assert end.peak_memory_bytes > 2**26  # torch alone takes more


def test_an_objective_may_be_any_metric_of_the_task(
    stage_set: Callable[..., tuple[DataConfig, StagedData]], make_task_config: MakeConfig
) -> None:
    data_config, data = stage_set("sunshine")
    config = make_task_config(
        "regression", data_config, (1,), layers=[{"linear": 1}], metric="val/r2", epochs=3
    )
    recorder = run(config, data)
    curve = [point.value for point in recorder.points if point.metric == "val/r2"]
    assert ended(recorder).metrics["val/r2"] == max(curve)
    assert ended(recorder).confusion is None


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error"])
def test_a_trial_gives_the_same_numbers_again_and_after_others(
    make_config: MakeConfig, digits: StagedData, loss: str
) -> None:
    config, other = make_config(loss=loss), make_config(seed=7)
    alone = numbers(run(config, digits))
    recorder = Recorder()
    run_pack([Assignment("other", 1, other), Assignment("t", 1, config)], digits, recorder)
    later = Recorder()
    later.events = recorder.of("t")
    assert numbers(later) == alone
    assert numbers(run(other, digits)) != alone


def checkpoint_contents(folder: Path) -> dict[str, bytes]:
    """Give a folder's files by kind and epoch; the time in their names is left out."""
    return {path.name[:9]: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_trial_gives_the_same_bytes_after_others_of_other_shapes(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    others = [
        make_config(layers=["flatten", {"linear": 64}, {"activation": "relu"}, {"linear": 10}]),
        make_config(layers=[*WIDE, "flatten", {"linear": 10}], batch_size=64, epochs=1),
        make_config(batch_size=7, optimizer=OptimizerConfig("adam", 0.01), epochs=1),
        make_config(layers=WRONG_HEAD),
    ]
    config, recorder = make_config(), Recorder()
    alone = run(config, digits, checkpoint_folder=str(tmp_path / "alone"))
    pack = [Assignment(str(number), 1, other) for number, other in enumerate(others)]
    folder = str(tmp_path / "after")
    pack.append(Assignment("t", 1, config, checkpoint_folder=folder, checkpoints=EVERY_EPOCH))
    run_pack(pack, digits, recorder)
    later = Recorder()
    later.events = recorder.of("t")
    assert numbers(later) == numbers(alone)
    contents = checkpoint_contents(tmp_path / "alone")
    assert contents == checkpoint_contents(tmp_path / "after")
    assert len(contents) >= 3


IN_ANOTHER_PROCESS = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(int(sys.argv[3]))
from experiments.records import (Assignment, TrialConfig)
from workers.staging import stage
from workers.training import run_pack
from tests.unit.workers.test_training import Recorder, numbers

config, recorder = TrialConfig.from_data(json.loads(sys.argv[1])), Recorder()
run_pack([Assignment("t", 1, config)], stage(config.data, root=Path(sys.argv[2])), recorder)
heavy = [name for name in ("torch._dynamo", "torchvision", "sklearn") if name in sys.modules]
print(json.dumps({"numbers": numbers(recorder), "heavy": heavy}))
"""


def test_a_trial_gives_the_same_numbers_in_another_process_without_heavy_imports(
    make_config: MakeConfig, digits: StagedData, data_root: Path, repository: Path
) -> None:
    config = make_config()
    arguments = [json.dumps(config.to_data()), str(data_root), str(torch.get_num_threads())]
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["numbers"] == numbers(run(config, digits))
    assert answer["heavy"] == []


def test_a_trial_that_raises_is_a_failure_and_the_others_go_on(
    make_config: MakeConfig, digits: StagedData
) -> None:
    recorder = Recorder()
    pack = [
        Assignment("bad", 1, make_config(layers=WRONG_HEAD)),
        Assignment("good", 1, make_config()),
    ]
    run_pack(pack, digits, recorder)
    begun, failure = recorder.of("bad")
    assert begun == TrialBegun("bad", epoch=0, step=0)
    assert isinstance(failure, TrialFailed)
    assert failure.failure.kind == FailureKind.ERROR
    assert failure.failure.type == "IndexError"
    assert "Traceback" in failure.failure.traceback
    assert isinstance(recorder.of("good")[-1], TrialSucceeded)


def test_every_trial_ends_once(make_config: MakeConfig, digits: StagedData) -> None:
    recorder = Recorder()
    configs = [make_config(), make_config(layers=WRONG_HEAD), make_config(lr=1e4, seed=1)]
    run_pack([Assignment(str(i), 1, c) for i, c in enumerate(configs)], digits, recorder)
    ends = [e for e in recorder.events if isinstance(e, TrialSucceeded | TrialFailed)]
    assert [event.trial_id for event in ends] == ["0", "1", "2"]


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_curve(
    make_config: MakeConfig, digits: StagedData
) -> None:
    recorder = run(make_config(lr=1e30, epochs=5), digits)
    failure = failed(recorder).failure
    assert failure.kind == FailureKind.NOT_FINITE
    kept = [point.step for point in recorder.points]
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) >= 1
    assert f"train/batch_loss became nan at step {len(kept) + 1} (epoch 1)" in failure.message
    assert "lr 1e+30" in failure.message


def test_a_validation_loss_that_is_not_finite_fails_the_trial(
    make_config: MakeConfig, digits: StagedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Learner, "evaluate", lambda *_, **__: Score(float("inf"), {"accuracy": 0.1})
    )
    recorder = run(make_config(), digits)
    assert failed(recorder).failure.message.startswith("val/loss became inf at step 6 (epoch 1)")
    metrics = {point.metric for point in recorder.points}
    assert "val/loss" not in metrics
    assert "train/loss" in metrics


def test_a_trial_stops_between_two_steps_when_asked(
    make_config: MakeConfig, digits: StagedData
) -> None:
    recorder = run(make_config(), digits, recorder=Recorder(stop_at=9))
    assert recorder.events[-1] == TrialStopped("t")
    assert {point.epoch for point in recorder.points} == {1}


def test_a_trial_that_takes_too_long_fails_by_timeout(
    make_config: MakeConfig, digits: StagedData
) -> None:
    seconds = iter(range(1000))
    recorder = Recorder()
    assignment = Assignment("t", 1, make_config(), timeout_seconds=4.0)
    run_pack([assignment], digits, recorder, timer=lambda: float(next(seconds)))
    failure = failed(recorder).failure
    assert failure.kind == FailureKind.TIMEOUT
    assert "not finished after 4 s (execution.timeout), at step 4 of 12" in failure.message


def test_times_come_from_the_clock_and_the_timer(
    make_config: MakeConfig, digits: StagedData
) -> None:
    recorder, seconds = Recorder(), iter(range(0, 1000, 3))
    run_pack(
        [Assignment("t", 1, make_config(epochs=1))],
        digits,
        recorder,
        clock=lambda: 1_700_000_000.25,
        timer=lambda: float(next(seconds)),
    )
    assert {point.timestamp_ms for point in recorder.points} == {1_700_000_000_250}
    speed = [p.value for p in recorder.points if p.metric == "images_per_second"]
    assert speed == [189 / 3]
    assert ended(recorder).duration_seconds == 9.0


def test_other_data_than_planned_is_a_data_failure(
    make_config: MakeConfig, digits: StagedData
) -> None:
    recorder = run(make_config(), dataclasses.replace(digits, digest="0" * 64))
    assert failed(recorder).failure.kind == FailureKind.DATA
    assert len(recorder.events) == 1


def test_memory_that_runs_out_is_said_so(
    make_config: MakeConfig, digits: StagedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Learner, "train_epoch", run_out)
    assert failed(run(make_config(), digits)).failure.kind == FailureKind.OUT_OF_MEMORY


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let validation give these accuracies, one an epoch; testing goes on as usual."""
    left, evaluate = iter([0.5, 0.7, 0.6, 0.7]), Learner.evaluate

    def give(learner: Learner, split: str, **options: Any) -> Score:
        if split == "test":
            return evaluate(learner, split, **options)
        return Score(1.0, {"accuracy": next(left)})

    monkeypatch.setattr(Learner, "evaluate", give)


def the_score(recorder: Recorder) -> Score:
    """Give what a trial has reported of the test split."""
    end = ended(recorder)
    metrics = {name: end.metrics[f"test/{name}"] for name in OF_CLASSES}
    return Score(end.metrics["test/loss"], metrics, end.confusion)


def score(config: TrialConfig, digits: StagedData, saved: CheckpointSaved) -> Score:
    """Score a checkpoint's weights on the test split."""
    learner = Learner(config, digits, device=torch.device("cpu"))
    learner.module.load_state_dict(load(Path(saved.path), sha256=saved.sha256)["model"])
    return learner.evaluate("test", before_batch=lambda: None)


class Store(Recorder):
    """A store that records each checkpoint only when it hears of the next one of its kind."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: dict[str, CheckpointSaved] = {}
        self._heard: dict[str, CheckpointSaved] = {}

    def report(self, event: Event) -> None:
        super().report(event)
        if isinstance(event, CheckpointSaved):
            if event.kind in self._heard:
                self.recorded[event.kind] = self._heard[event.kind]
            self._heard[event.kind] = event
        for saved in self.recorded.values():
            assert load(Path(saved.path), sha256=saved.sha256)["epoch"] == saved.epoch


@pytest.mark.usefixtures("scripted")
def test_what_a_late_store_has_on_record_is_always_there(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    store = Store()
    run(make_config(epochs=4), digits, recorder=store, checkpoint_folder=str(tmp_path))
    ended(store)
    assert {kind: saved.epoch for kind, saved in store.recorded.items()} == {"best": 1, "last": 3}


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(
    ("num_failures", "written"),
    [
        (1, ["best1", "last1", "last2", "best2", "last3", "last4"]),
        (2, ["best1", "last1", "last2", "last3", "best2", "last4"]),
    ],
)
def test_a_best_checkpoint_that_failed_is_written_at_the_next_one(
    make_config: MakeConfig,
    digits: StagedData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_failures: int,
    written: list[str],
) -> None:
    failures = iter(range(num_failures))

    def write_or_fail(path: Path, content: memoryview) -> None:
        if path.name == "best-0002.pt" and next(failures, None) is not None:
            raise OSError(28, "No space left on device")
        write_whole(path, content)

    monkeypatch.setattr("workers.checkpoints.write_whole", write_or_fail)
    config = make_config(epochs=4)
    recorder = run(config, digits, checkpoint_folder=str(tmp_path))
    saved = [e for e in recorder.events if isinstance(e, CheckpointSaved)]
    assert [f"{event.kind}{event.epoch}" for event in saved] == written
    (best,) = (event for event in saved if (event.kind, event.epoch) == ("best", 2))
    assert score(config, digits, best) == the_score(recorder)


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(("select", "epoch"), [("best", 2), ("last", 4)])
def test_the_selected_epoch_is_tested_and_is_the_best_checkpoint(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, select: str, epoch: int
) -> None:
    config = make_config(epochs=4, select=select)
    recorder = run(config, digits, checkpoint_folder=str(tmp_path))
    end = ended(recorder)
    assert end.selected_epoch == epoch
    assert end.metrics["val/accuracy"] == 0.7
    curve = {p.epoch: p.value for p in recorder.points if p.metric == "train/loss"}
    assert end.metrics["train/loss"] == curve[epoch]
    saved = {e.kind: e for e in recorder.events if isinstance(e, CheckpointSaved)}
    assert (saved["best"].epoch, saved["last"].epoch) == (epoch, 4)
    assert score(config, digits, saved["best"]) == the_score(recorder)
    assert (score(config, digits, saved["last"]) == the_score(recorder)) == (select == "last")


def test_a_loss_can_be_the_objective(make_config: MakeConfig, digits: StagedData) -> None:
    recorder = run(make_config(epochs=4, metric="val/loss"), digits)
    curve = {p.epoch: p.value for p in recorder.points if p.metric == "val/loss"}
    assert ended(recorder).metrics["val/loss"] == min(curve.values())


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(
    ("policy", "written"),
    [
        (CheckpointPolicy(1), ["best1", "last1", "best2", "last2", "last3", "last4"]),
        (CheckpointPolicy(3), ["best2", "last3", "last4"]),
        (CheckpointPolicy(3, ("best",)), ["best2", "last3"]),  # a "last" is there to go on from
        (CheckpointPolicy(9, ("best",)), ["best2"]),
        (CheckpointPolicy(2, ()), ["last2", "last4"]),
    ],
)
def test_checkpoints_are_written_as_the_policy_says(
    make_config: MakeConfig,
    digits: StagedData,
    tmp_path: Path,
    policy: CheckpointPolicy,
    written: list[str],
) -> None:
    config = make_config(epochs=4)
    recorder = run(config, digits, checkpoints=policy, checkpoint_folder=str(tmp_path / "new"))
    saved = [e for e in recorder.events if isinstance(e, CheckpointSaved)]
    assert [f"{event.kind}{event.epoch}" for event in saved] == written
    assert all(event.step == 6 * event.epoch for event in saved)
    ended(recorder)


def test_a_checkpoint_knows_its_trial(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    config = make_config()
    recorder = run(config, digits, checkpoint_folder=str(tmp_path))
    saved = [e for e in recorder.events if isinstance(e, CheckpointSaved)][-1]
    contents = load(Path(saved.path), sha256=saved.sha256)
    assert TrialConfig.from_data(json.loads(contents["config"])) == config
    assert contents["full_scale"] == 16


def test_a_checkpoint_that_cannot_be_written_costs_no_trial_and_is_said_once(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    recorder = run(make_config(epochs=3), digits, checkpoint_folder=str(tmp_path / "file"))
    ended(recorder)
    assert not [e for e in recorder.events if isinstance(e, CheckpointSaved)]
    best, last = (e for e in recorder.events if isinstance(e, TrialNoted))
    assert {best.kind, last.kind} == {IncidentKind.CHECKPOINT_NOT_WRITTEN}
    assert 't: the "best" checkpoint of epoch 1 could not be written to' in best.message
    assert "training goes on and the previous checkpoint stays good" in best.message
    assert '"last" checkpoint of epoch 1' in last.message


def test_want_of_room_is_said_again_after_a_checkpoint_found_room(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_or_fail(path: Path, content: memoryview) -> None:
        if path.name[:9] in {"last-0001", "last-0002", "last-0004"}:
            raise OSError(28, "No space left on device")
        write_whole(path, content)

    monkeypatch.setattr("workers.checkpoints.write_whole", write_or_fail)
    recorder = run(make_config(epochs=5), digits, checkpoint_folder=str(tmp_path))
    notes = [e.message for e in recorder.events if isinstance(e, TrialNoted)]
    assert ["epoch 1" in notes[0], "epoch 4" in notes[1]] == [True, True]
    assert len(notes) == 2
    saved = [
        e.epoch for e in recorder.events if isinstance(e, CheckpointSaved) and e.kind == "last"
    ]
    assert saved == [3, 5]


def test_a_stop_is_heard_while_the_test_split_is_scored(
    make_config: MakeConfig, digits: StagedData
) -> None:
    # Two epochs of six steps, each with one batch of validation, then one batch of testing.
    recorder = run(make_config(), digits, recorder=Recorder(stop_at=15))
    assert recorder.events[-1] == TrialStopped("t")
    assert {point.epoch for point in recorder.points} == {1, 2}
    ended(run(make_config(), digits, recorder=Recorder(stop_at=16)))
