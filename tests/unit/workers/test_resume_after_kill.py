"""Real CNN trials whose processes are killed, and the networks that they give all the same."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.records import (
    AugmentationConfig,
    CheckpointPolicy,
    OptimizerConfig,
    ScheduleConfig,
    TrialConfig,
)
from tests.unit.workers.killed_trials import Kills, train_to_the_end
from tests.unit.workers.trial_record import TrialRecord
from workers.datasets.staged import StagedData

MakeConfig = Callable[..., TrialConfig]

NUM_TRIALS = 20
NUM_KILLS = 2  # a trial
EPOCHS = 4
STEPS_PER_EPOCH = 6  # 189 images, 32 at a time

CONVNET = [
    {"conv2d": {"out_channels": 8, "kernel_size": 3, "padding": "same"}},
    "batch_norm",
    "relu",
    {"max_pool2d": 2},
    {"conv2d": {"out_channels": 8, "kernel_size": 3}},
    "relu",
    "flatten",
    {"dropout": 0.25},
    {"linear": 10},
]
OPTIMIZERS = [
    OptimizerConfig("sgd", 0.05, weight_decay=5e-4, momentum=0.9),
    OptimizerConfig("nesterov", 0.05, momentum=0.9),
    OptimizerConfig("rmsprop", 0.001, momentum=0.9),
    OptimizerConfig("adam", 0.003),
    OptimizerConfig("adamw", 0.003, weight_decay=0.1),
]
CHANGES: list[dict[str, Any]] = [
    {"schedule": ScheduleConfig("cosine", warmup_epochs=1.0)},
    {"schedule": ScheduleConfig("one_cycle"), "augmentation": AugmentationConfig("crop", 1)},
    {"select": "last", "augmentation": AugmentationConfig("flip")},
    {"metric": "val/loss"},
]


@pytest.mark.slow
def test_twenty_trials_killed_at_random_give_the_bytes_of_undisturbed_ones(
    make_config: MakeConfig, digits: StagedData, data_root: Path, tmp_path: Path
) -> None:
    assert digits.name == "digits"  # it is staged by now; the other processes only open it
    wasted = list[tuple[int, int]]()  # steps, and how many there are between two checkpoints
    for number in range(NUM_TRIALS):
        config = make_config(
            layers=CONVNET,
            optimizer=OPTIMIZERS[number % len(OPTIMIZERS)],
            epochs=EPOCHS,
            seed=number,
            **CHANGES[number % len(CHANGES)],
        )
        every = 1 + number % 2
        policy = CheckpointPolicy(every_epochs=every)
        straight, disturbed = TrialRecord(config), TrialRecord(config)
        options: dict[str, Any] = {"data_root": data_root, "checkpoints": policy}
        train_to_the_end(straight, tmp_path / f"{number}-straight", **options)
        kills = Kills(NUM_KILLS, EPOCHS * STEPS_PER_EPOCH, random.Random(number))
        in_vain = train_to_the_end(disturbed, tmp_path / f"{number}", kills=kills, **options)
        assert disturbed.result() == straight.result(), number
        assert disturbed.notes == []
        interval = every * STEPS_PER_EPOCH
        wasted += ((steps, interval) for steps in in_vain)
    assert len(wasted) >= NUM_TRIALS  # a kill can come too late, after the trial's end
    assert max(steps - interval for steps, interval in wasted) <= 0, wasted
    print(f"{len(wasted)} kills wasted {sum(steps for steps, _ in wasted)} steps")
