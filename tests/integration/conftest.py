"""What integration tests share: a real trial, small enough to train in a second; two stores."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine

from experiments.architectures.architecture import Architecture
from experiments.data.datasets import facts
from experiments.records import DataConfig, Objective, OptimizerConfig, ScheduleConfig, TrialConfig
from orchestrator.settings import Settings, from_environment
from orchestrator.store.database import open_store
from tests.told_experiment import MakeConfig, Store


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


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Making an MLflow store takes seconds, so the tests of this file share one."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    MlflowClient(uri)
    return uri


@pytest.fixture
def settings(tmp_path: Path, empty_store: str) -> Settings:
    return from_environment({"TRAINYARD_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": empty_store})


@pytest.fixture
def client(empty_store: str) -> MlflowClient:
    return MlflowClient(empty_store)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_store(settings.database_url, create=True)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine, tmp_path: Path, digits_config: MakeConfig) -> Store:
    return Store(engine, tmp_path, digits_config)
