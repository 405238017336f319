"""Weights that are taken over, and weights that stay."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from experiments.architectures.architecture import Architecture
from experiments.errors import CheckpointError
from experiments.records import InitConfig
from workers import checkpoints
from workers.modules import build_module
from workers.transfer import start_from, train_mode

FEATURES: list[Any] = [
    {"conv2d": {"out_channels": 4, "kernel_size": 3, "bias": False}},
    "batch_norm",
    "relu",
    "flatten",
]


def network(*, outputs: int, seed: int) -> nn.Module:
    data = {"name": "small", "input_shape": [1, 8, 8], "layers": [*FEATURES, {"linear": outputs}]}
    return build_module(Architecture.from_data(data), generator=torch.Generator().manual_seed(seed))


def saved(folder: Path, module: nn.Module, *, num_layers: int, num_frozen: int) -> InitConfig:
    file = checkpoints.save(
        folder / "best.pt",
        module.state_dict(),
        epoch=1,
        step=1,
        mean=[3.0],
        std=[2.0],
        full_scale=16,
    )
    return InitConfig("abc-0001", file.sha256, str(file.path), num_layers, num_frozen)


def test_first_layers_are_the_sources_and_the_rest_its_own(tmp_path: Path) -> None:
    source, target, own = (
        network(outputs=8, seed=1),
        network(outputs=2, seed=2),
        network(outputs=2, seed=2),
    )
    mean, std = start_from(
        target, saved(tmp_path, source, num_layers=4, num_frozen=0), full_scale=16
    )
    assert torch.equal(target.state_dict()["0.weight"], source.state_dict()["0.weight"])
    assert torch.equal(target.state_dict()["4.weight"], own.state_dict()["4.weight"])
    assert (mean.tolist(), std.tolist()) == ([3.0], [2.0])
    assert all(weight.requires_grad for weight in target.parameters())


def test_statistics_follow_the_scale_of_the_new_data(tmp_path: Path) -> None:
    init = saved(tmp_path, network(outputs=8, seed=1), num_layers=4, num_frozen=0)
    mean, std = start_from(network(outputs=2, seed=2), init, full_scale=255)
    assert ((255 - mean) / std).tolist() == pytest.approx([(16 - 3.0) / 2.0])


def test_all_layers_train_without_an_init() -> None:
    module = network(outputs=2, seed=2).eval()
    train_mode(module, None)
    assert all(part.training for part in module.modules())


def test_other_layers_than_planned_are_refused(tmp_path: Path) -> None:
    init = saved(tmp_path, network(outputs=8, seed=1), num_layers=5, num_frozen=0)
    with pytest.raises(CheckpointError, match="the first 5 layers of abc-0001 are not those"):
        start_from(network(outputs=2, seed=2), init, full_scale=16)
