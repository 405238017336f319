"""A trial that is interrupted after any epoch, and goes on, is the trial that was not."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.events import CheckpointSaved, Event, TrialBegun, TrialStopped, TrialSucceeded
from experiments.records import (
    AugmentationConfig,
    CheckpointPolicy,
    DataConfig,
    InitConfig,
    OptimizerConfig,
    ResumePoint,
    ScheduleConfig,
    TrialConfig,
)
from experiments.states import IncidentKind
from tests.unit.workers.trial_record import TrialRecord
from workers import checkpoints
from workers.datasets.staged import StagedData
from workers.learner import Learner
from workers.training import run_pack

MakeConfig = Callable[..., TrialConfig]

OPTIMIZERS = {
    "sgd": OptimizerConfig("sgd", 0.1, momentum=0.0),
    "sgd with momentum": OptimizerConfig("sgd", 0.05, weight_decay=0.01, momentum=0.9),
    "nesterov": OptimizerConfig("nesterov", 0.05, weight_decay=0.01, momentum=0.9),
    "rmsprop": OptimizerConfig("rmsprop", 0.003, weight_decay=0.01, momentum=0.0),
    "rmsprop with momentum": OptimizerConfig("rmsprop", 0.001, momentum=0.9),
    "adam": OptimizerConfig("adam", 0.01, weight_decay=0.01),
    "adamw": OptimizerConfig("adamw", 0.01, weight_decay=0.1),
}
RICH = [
    {"conv2d": {"out_channels": 6, "kernel_size": 3, "padding": "same"}},
    "batch_norm",
    "relu",
    {"max_pool2d": 2},
    {"conv2d": {"out_channels": 8, "kernel_size": 3}},
    "batch_norm",
    "relu",
    "flatten",
    {"dropout": 0.3},
    {"linear": 10},
]
SETTINGS: dict[str, dict[str, Any]] = {
    "step": {"schedule": ScheduleConfig("step", step_epochs=1, step_factor=0.3)},
    "cosine": {"schedule": ScheduleConfig("cosine", warmup_epochs=1.5), "layers": RICH},
    "one cycle": {"schedule": ScheduleConfig("one_cycle")},
    "crop": {"augmentation": AugmentationConfig("crop", pixels=1)},
    "flip": {"augmentation": AugmentationConfig("flip"), "layers": RICH},
    "last": {"select": "last", "layers": RICH},
    "by loss": {"metric": "val/loss", "lr": 0.4},
    "linear": {"layers": ["flatten", {"linear": 10}], "loss": "hinge"},
    "bfloat16": {"precision": "bfloat16", "layers": RICH},
}


class Interrupted:
    """A reporter that asks for a stop as soon as the "last" of an epoch is on record."""

    def __init__(self, record: TrialRecord, *, after: int | None) -> None:
        self._record = record
        self._after = after
        self._is_over = False

    def report(self, event: Event) -> None:
        self._record.keep(event)
        if isinstance(event, CheckpointSaved) and event.kind == "last":
            self._is_over = event.epoch == self._after

    def stop_requested(self, trial_id: str) -> bool:
        assert trial_id
        return self._is_over


def attempt(
    record: TrialRecord,
    data: StagedData,
    folder: Path,
    *,
    until: int | None = None,
    seconds: float = 0.0,
    **options: Any,
) -> None:
    """Make one more attempt; each asking of the timer takes so many seconds."""
    times = iter(range(100_000))
    run_pack(
        [record.assignment(str(folder / str(len(record.begun))), **options)],
        data,
        Interrupted(record, after=until),
        timer=lambda: seconds * next(times),
    )


def undisturbed(config: TrialConfig, data: StagedData, folder: Path, **options: Any) -> TrialRecord:
    record = TrialRecord(config)
    attempt(record, data, folder / "undisturbed", **options)
    return record


def check_every_interruption(
    config: TrialConfig, data: StagedData, folder: Path, **options: Any
) -> None:
    """Interrupt a trial after each epoch, and once after all of them."""
    expected = undisturbed(config, data, folder, **options).result()
    each = range(1, config.epochs)
    for stops in [*([epoch] for epoch in each), list(each)]:
        record = TrialRecord(config)
        for number in stops:
            attempt(record, data, folder / f"{stops}", until=number, **options)
            assert record.ending == TrialStopped("t")
        attempt(record, data, folder / f"{stops}", **options)
        assert [begun.epoch for begun in record.begun] == [0, *stops]
        assert record.result() == expected
        assert record.notes == []


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_every_optimizer_goes_on_to_the_last_bit(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, optimizer: OptimizerConfig
) -> None:
    config = make_config(optimizer=optimizer, layers=RICH, epochs=3)
    check_every_interruption(config, digits, tmp_path)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_every_setting_goes_on_to_the_last_bit(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, setting: dict[str, Any]
) -> None:
    check_every_interruption(make_config(epochs=3, **setting), digits, tmp_path)


def test_other_tasks_go_on_to_the_last_bit(
    stage_set: Callable[..., tuple[DataConfig, StagedData]],
    make_task_config: MakeConfig,
    tmp_path: Path,
) -> None:
    data_config, data = stage_set("sunshine")
    layers = [{"linear": 4}, {"activation": "tanh"}, {"linear": 1}]
    config = make_task_config("regression", data_config, (1,), layers=layers, epochs=3, lr=0.01)
    check_every_interruption(config, data, tmp_path)


@pytest.mark.parametrize("num_frozen", [0, 2, 10])
def test_transferred_and_frozen_layers_go_on_to_the_last_bit(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, num_frozen: int
) -> None:
    source = Learner(make_config(layers=RICH, seed=5), digits, device=torch.device("cpu"))
    saved = checkpoints.save(
        tmp_path / "source.pt", source.copy_weights(), epoch=1, step=6, mean=[1.0], std=[2.0]
    )
    number = max(4, num_frozen)
    init = InitConfig("s", saved.sha256, str(saved.path), num_layers=number, num_frozen=num_frozen)
    config = make_config(layers=RICH, init=init, optimizer=OPTIMIZERS["adam"], epochs=3)
    check_every_interruption(config, digits, tmp_path)


@pytest.mark.parametrize("keep", [(), ("best",), ("last",)])
def test_what_is_kept_in_the_end_makes_no_difference(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, keep: tuple[str, ...]
) -> None:
    config, policy = make_config(epochs=3), CheckpointPolicy(1, keep)
    check_every_interruption(config, digits, tmp_path, checkpoints=policy)


@pytest.fixture
def peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second epoch of every trial validate best, whatever its weights are."""
    validate = Learner.evaluate

    def give(learner: Learner, split: str, **options: Any) -> Any:
        score = validate(learner, split, **options)
        if split == "test":
            return score
        epoch = round(learner.optimizer_state()["counts"][0].item()) / learner.steps_per_epoch
        return dataclasses.replace(score, metrics={"accuracy": 0.9 if epoch == 2 else 0.1})

    monkeypatch.setattr(Learner, "evaluate", give)


@pytest.mark.usefixtures("peak")
@pytest.mark.parametrize(("every", "stops"), [(1, [2, 3, 4]), (3, [3])])
def test_weights_that_were_best_before_the_interruption_are_tested(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, every: int, stops: list[int]
) -> None:
    config = make_config(epochs=5, optimizer=OPTIMIZERS["adam"])
    policy = CheckpointPolicy(every_epochs=every)
    straight = undisturbed(config, digits, tmp_path, checkpoints=policy)
    record = TrialRecord(config)
    for stop in stops:
        attempt(record, digits, tmp_path, until=stop, checkpoints=policy)
    attempt(record, digits, tmp_path, checkpoints=policy)
    assert [begun.epoch for begun in record.begun] == [0, *stops]
    assert record.result() == straight.result()
    assert isinstance(record.ending, TrialSucceeded)
    assert record.ending.selected_epoch == 2


@pytest.mark.usefixtures("peak")
def test_a_trial_that_died_after_its_last_epoch_is_only_tested(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    config = make_config(epochs=3, optimizer=OPTIMIZERS["adam"])
    straight = undisturbed(config, digits, tmp_path)
    record = TrialRecord(config)
    attempt(record, digits, tmp_path, until=3, seconds=1.0)
    assert record.ending == TrialStopped("t")
    num_saved = len(record.saved)
    attempt(record, digits, tmp_path)
    assert record.begun[-1] == TrialBegun("t", epoch=3, step=18)
    assert record.result() == straight.result()
    anew = record.saved[num_saved:]  # the newest attempt's folder has all that is kept
    assert [(saved.kind, saved.epoch) for saved in anew] == [("best", 2), ("last", 3)]
    assert all(Path(saved.path).parent == tmp_path / "1" for saved in anew)


def test_a_best_checkpoint_that_is_gone_is_written_anew(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    config = make_config(epochs=3)
    straight = undisturbed(config, digits, tmp_path)
    record = TrialRecord(config)
    attempt(record, digits, tmp_path, until=2)
    for path in tmp_path.glob("0/best-*.pt"):
        path.unlink()
    attempt(record, digits, tmp_path)
    assert record.result() == straight.result()
    newest = [saved for saved in record.saved if saved.kind == "best"][-1]
    assert checkpoints.load(Path(newest.path), sha256=newest.sha256)


def test_the_seconds_before_the_interruption_count_as_far_as_the_training_does(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    record = TrialRecord(make_config(epochs=3))
    attempt(record, digits, tmp_path, until=1, seconds=100.0)
    before = checkpoints.seconds_of(Path(record.resume_from[0].path))
    assert before >= 300.0  # the timer was asked at least three times until then
    attempt(record, digits, tmp_path, until=2, seconds=1.0)
    later = checkpoints.seconds_of(Path(record.resume_from[0].path))
    assert before < later < before + 100.0
    attempt(record, digits, tmp_path)
    assert isinstance(record.ending, TrialSucceeded)
    assert record.ending.duration_seconds == later


def test_the_timeout_is_that_of_the_attempt(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    record = TrialRecord(make_config(epochs=3))
    attempt(record, digits, tmp_path, until=1, seconds=100.0)
    attempt(record, digits, tmp_path, timeout_seconds=50.0)
    assert isinstance(record.ending, TrialSucceeded)


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (remove, "the checkpoint cannot be read"),
        (truncate, "the checkpoint is truncated or altered"),
        (empty, "the checkpoint is truncated or altered: 0 bytes"),
        (flip_a_bit, "the checkpoint is truncated or altered"),
    ],
)
@pytest.mark.parametrize("num_spoilt", [1, 2])
def test_a_spoilt_checkpoint_is_passed_over_for_the_one_before(
    make_config: MakeConfig,
    digits: StagedData,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    why: str,
    num_spoilt: int,
) -> None:
    config = make_config(epochs=3)
    straight = undisturbed(config, digits, tmp_path)
    record = TrialRecord(config)
    attempt(record, digits, tmp_path, until=2)
    newest, before = record.resume_from
    spoilt = (newest, before)[:num_spoilt]
    for point in spoilt:
        spoil(Path(point.path))
    attempt(record, digits, tmp_path)
    assert record.begun[-1].epoch == 2 - num_spoilt
    instead = (
        f"; the trial goes on after epoch 1, from {before.path}"
        if num_spoilt == 1
        else "; the trial starts anew"
    )
    assert len(record.notes) == num_spoilt
    for note, point in zip(record.notes, spoilt, strict=True):
        assert note.kind == IncidentKind.CHECKPOINT_REJECTED
        assert note.message.startswith(f"{point.path}: {why}")
        assert note.message.endswith(instead)
    assert record.result() == straight.result()


def rewritten(record: TrialRecord, path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Put the newest "last" on record as somebody else would have written it."""
    newest = record.resume_from[0]
    contents = checkpoints.load(Path(newest.path), sha256=newest.sha256)
    torch.save(change(contents), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record.keep(CheckpointSaved("t", "last", newest.epoch, newest.step, str(path), digest, 1))


def of_another_seed(contents: dict[str, Any]) -> dict[str, Any]:
    config = json.loads(contents["config"]) | {"seed": 1}
    return contents | {"config": json.dumps(config)}


def without(*keys: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda contents: {key: contents[key] for key in contents.keys() - set(keys)}


FOREIGN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another trial's": (of_another_seed, "is of a trial with another configuration"),
    "nobody's": (without("config"), "is of a trial with another configuration"),
    "another dict": (lambda _: {"hello": 1}, "is no checkpoint of format 2"),
    "a list": (lambda _: [1, 2], "is no checkpoint of format 2"),
    "of a later format": (lambda c: c | {"format": 3}, "is no checkpoint of format 2"),
    "of the first format": (lambda c: c | {"format": 1}, "is of format 1, from an earlier version"),
    "without optimizer": (without("optimizer"), "lacks the state"),
    "without selection": (without("selected"), "lacks the state"),
}


@pytest.mark.parametrize(("change", "why"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_checkpoint_is_passed_over(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path, change: Any, why: str
) -> None:
    record = TrialRecord(make_config())
    attempt(record, digits, tmp_path, until=1)
    rewritten(record, tmp_path / "foreign.pt", change)
    attempt(record, digits, tmp_path)
    (note,) = record.notes
    assert note.message.startswith(str(tmp_path / "foreign.pt"))
    assert why in note.message
    assert record.begun[-1].epoch == 1
    assert isinstance(record.ending, TrialSucceeded)


def test_a_best_checkpoint_is_not_gone_on_from(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    record = TrialRecord(make_config())
    attempt(record, digits, tmp_path, until=1)
    best = next(saved for saved in record.saved if saved.kind == "best")
    record.keep(dataclasses.replace(best, kind="last"))
    assert record.resume_from[0] == ResumePoint(best.path, best.sha256, 1, 6)
    attempt(record, digits, tmp_path)
    assert 'is no "last" one' in record.notes[0].message
    assert record.begun[-1].epoch == 1


def test_the_order_of_events_is_points_then_best_then_last(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    record, heard = TrialRecord(make_config(select="last")), list[str]()

    class Listener(Interrupted):
        def report(self, event: Event) -> None:
            super().report(event)
            kind = event.kind if isinstance(event, CheckpointSaved) else type(event).__name__
            heard.append(kind)

    assignment = record.assignment(str(tmp_path))
    run_pack([assignment], digits, Listener(record, after=None))
    epoch = ["PointsMeasured", "PointsMeasured", "best", "last"]
    assert heard == ["TrialBegun", *epoch, *epoch, "TrialSucceeded"]
