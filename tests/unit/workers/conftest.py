"""What the tests of the workers share: data sets, staged once, and trials on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape
from experiments.compatibility import default_output_activation
from experiments.data.datasets import DATASETS, facts
from experiments.language.fields import fields_of
from experiments.records import DataConfig, Objective, OptimizerConfig, ScheduleConfig, TrialConfig
from experiments.tasks import TASKS, natural_goal
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
        loss = changes.get("loss", "cross_entropy")
        defaults: dict[str, Any] = {
            "task": "classification",
            "architecture": Architecture.from_data(data),
            "data": digits_config,
            "loss": loss,
            "output_activation": default_output_activation(loss, "classification"),
            "optimizer": OptimizerConfig("sgd", lr, momentum=0.9),
            "schedule": ScheduleConfig(),
            "epochs": 2,
            "batch_size": 32,
            "seed": 0,
            "objective": Objective(metric, natural_goal(metric), select),
        }
        return TrialConfig(**defaults | changes)

    return make


Stage = Callable[..., tuple[DataConfig, StagedData]]


@pytest.fixture(scope="session")
def stage_set(data_root: Path) -> Stage:
    """Stage a data set by name, with options of its own."""

    def make(name: str, **options: Any) -> tuple[DataConfig, StagedData]:
        known = fields_of(DATASETS[name].options)
        chosen = {key: options.get(key, field.default) for key, field in known.items()}
        digest = facts(name, chosen, root=data_root).digest
        config = DataConfig(name, digest, options=chosen)
        return config, stage(config, root=data_root)

    return make


@pytest.fixture(scope="session")
def make_task_config(make_config: Callable[..., TrialConfig]) -> Callable[..., TrialConfig]:
    """Make a trial of any task on data of any shape; its loss and outputs are the task's."""

    def make(task: str, data: DataConfig, input_shape: Shape, **changes: Any) -> TrialConfig:
        loss = changes.get("loss", TASKS[task].loss)
        layers = changes.pop("layers")
        plain = {"name": "small", "input_shape": list(input_shape), "layers": layers}
        defaults = {
            "task": task,
            "data": data,
            "architecture": Architecture.from_data(plain),
            "loss": loss,
            "output_activation": default_output_activation(loss, task),
            "metric": TASKS[task].objectives[0],
        }
        return make_config(**defaults | changes)

    return make
