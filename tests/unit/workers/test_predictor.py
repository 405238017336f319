import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.records import DataConfig, TrialConfig
from workers import checkpoints
from workers.batches import standardise
from workers.datasets.staged import StagedData
from workers.learner import Learner
from workers.predictor import load_predictor


@pytest.mark.parametrize(
    ("task", "name", "layers"),
    [
        ("classification", "digits", ["flatten", {"linear": 10}]),
        ("regression", "sunshine", [{"linear": 3}, "tanh", {"linear": 1}]),
        ("reconstruction", "digits", [{"conv2d": {"out_channels": 1, "kernel_size": 1}}]),
    ],
)
def test_raw_inputs_give_the_outputs_of_the_trained_network(
    stage_set: Callable[..., tuple[DataConfig, StagedData]],
    make_task_config: Callable[..., TrialConfig],
    tmp_path: Path,
    task: str,
    name: str,
    layers: list[Any],
) -> None:
    data_config, data = stage_set(name)
    config = make_task_config(task, data_config, data.input_shape, layers=layers)
    learner = Learner(config, data, device=torch.device("cpu"))
    saved = checkpoints.save(
        tmp_path / "best.pt",
        learner.module.state_dict(),
        epoch=1,
        step=1,
        config=json.dumps(config.to_data()),
        mean=data.mean.tolist(),
        std=data.std.tolist(),
    )
    raw = data.test.inputs[:5]
    with torch.no_grad():
        found = load_predictor(saved.path, sha256=saved.sha256)(raw)
        expected = learner.module.eval()(standardise(raw, data))
    torch.testing.assert_close(found, expected)
