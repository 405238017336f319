"""What the tests of the workers share: the digits, staged once, and trials on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.architecture import Architecture
from experiments.datasets import facts
from experiments.records import DataConfig, Objective, OptimizerConfig, ScheduleConfig, TrialConfig
from workers.datasets.staged import StagedData
from workers.staging import stage

SMALL = [
    {"conv2d": {"out_channels": 8, "kernel_size": 3, "padding": "same"}},
    {"activation": "relu"},
    {"max_pool2d": 2},
    "flatten",
    {"dropout": 0.25},
    {"linear": 10},
]


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root in which the digits are staged once for all tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def digits_config(data_root: Path) -> DataConfig:
    """210 of the digits: 189 to train on (so 32 leave a partial batch), 21 to validate."""
    digest = facts("digits", {}, root=data_root).digest
    return DataConfig("digits", digest, val_fraction=0.1, split_seed=0, limit=210)


@pytest.fixture(scope="session")
def digits(digits_config: DataConfig, data_root: Path) -> StagedData:
    """The staged digits."""
    return stage(digits_config, root=data_root)


@pytest.fixture(scope="session")
def make_config(digits_config: DataConfig) -> Callable[..., TrialConfig]:
    """Make a trial on the digits; whatever is given replaces the default."""

    def make(
        *,
        layers: list[Any] = SMALL,
        lr: float = 0.05,
        select: str = "best",
        metric: str = "val/accuracy",
        **changes: Any,
    ) -> TrialConfig:
        data = {"name": "small", "input_shape": [1, 8, 8], "layers": layers}
        goal = "maximize" if metric == "val/accuracy" else "minimize"
        defaults: dict[str, Any] = {
            "task": "classification",
            "architecture": Architecture.from_data(data),
            "data": digits_config,
            "loss": "cross_entropy",
            "optimizer": OptimizerConfig("sgd", lr, momentum=0.9),
            "schedule": ScheduleConfig(),
            "epochs": 2,
            "batch_size": 32,
            "seed": 0,
            "objective": Objective(metric, goal, select),
        }
        return TrialConfig(**defaults | changes)

    return make
