from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiments.events import CheckpointSaved, Event
from experiments.records import Assignment, CheckpointPolicy, TrialConfig
from workers.datasets.staged import StagedData
from workers.learner import Learner
from workers.resumption import Selected
from workers.saving import Saver


class SlowDisk:
    """A reporter that hears of a file once it is written, and a clock by which that takes time."""

    def __init__(self, file_seconds: float) -> None:
        self.saved: list[str] = []
        self._file_seconds = file_seconds
        self._now = 0.0

    def report(self, event: Event) -> None:
        assert isinstance(event, CheckpointSaved)
        self.saved.append(f"{event.kind}{event.epoch}")
        self._now += self._file_seconds

    def stop_requested(self, trial_id: str) -> bool:
        raise AssertionError(f"nobody asks about {trial_id}")

    def now(self) -> float:
        return self._now


@pytest.mark.parametrize(
    ("file_seconds", "every_epochs", "saved"),
    [
        (0.001, None, [3, 4, 5, 6, 7]),  # 0.04 s between two of them: less than an epoch
        (0.004, None, [3, 5, 7]),  # 0.16 s: less than two epochs
        (0.004, 1, [1, 2, 3, 4, 5, 6, 7]),  # as told
        (9.0, None, [3, 7]),  # the last is written whatever it costs
    ],
)
def test_checkpoints_take_a_twentieth_of_the_time_unless_told_otherwise(
    make_config: Callable[..., TrialConfig],
    digits: StagedData,
    tmp_path: Path,
    file_seconds: float,
    every_epochs: int | None,
    saved: list[int],
) -> None:
    config = make_config(epochs=7)
    disk = SlowDisk(file_seconds)
    learner = Learner(config, digits, device=torch.device("cpu"))
    assignment = Assignment("t", 1, config, checkpoints=CheckpointPolicy(every_epochs))
    saver = Saver(assignment, tmp_path, learner, disk, timer=disk.now)
    for epoch in range(1, config.epochs + 1):
        saver.save(learner, epoch, Selected(epoch, {}, None), seconds=0.1 * epoch)
    assert disk.saved == [f"{kind}{epoch}" for epoch in saved for kind in ("best", "last")]


def test_an_attempt_that_goes_on_saves_after_its_first_epoch(
    make_config: Callable[..., TrialConfig], digits: StagedData, tmp_path: Path
) -> None:
    config = make_config(epochs=9)
    disk = SlowDisk(9.0)
    learner = Learner(config, digits, device=torch.device("cpu"))
    saver = Saver(Assignment("t", 2, config), tmp_path, learner, disk, timer=disk.now)
    saver.save(learner, 6, Selected(6, {}, None), seconds=0.6)
    assert disk.saved == ["best6", "last6"]
