"""What integration tests share: a real trial, small enough to train in a second."""

from collections.abc import Callable
from typing import Any

import pytest

from experiments.architectures.architecture import Architecture
from experiments.data.datasets import facts
from experiments.records import DataConfig, Objective, OptimizerConfig, ScheduleConfig, TrialConfig

MakeConfig = Callable[..., TrialConfig]


@pytest.fixture
def digits_config(tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    """Give a function that makes the configuration of a linear classifier of digits."""
    known = facts("digits", {}, root=tmp_path_factory.getbasetemp())

    def make(**changes: Any) -> TrialConfig:
        layers = ["flatten", {"linear": 10}]
        defaults: dict[str, Any] = {
            "task": "classification",
            "architecture": Architecture.from_data(
                {"name": "linear", "input_shape": [1, 8, 8], "layers": layers}
            ),
            "data": DataConfig("digits", known.digest),
            "loss": "cross_entropy",
            "optimizer": OptimizerConfig("sgd", lr=0.1, momentum=0.9),
            "schedule": ScheduleConfig(),
            "epochs": 2,
            "batch_size": 64,
            "seed": 0,
            "objective": Objective(),
        }
        return TrialConfig(**(defaults | changes))

    return make
