from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.digits_grid import WORKLOAD as DIGITS
from benchmarks.lenet_mnist import WORKLOAD as MNIST
from benchmarks.noop import grid
from benchmarks.peers.networks import build
from benchmarks.resnet_cifar import WORKLOAD as CIFAR
from benchmarks.workloads import Workload
from experiments.records import TrialConfig
from workers.modules import build_module


def different(workload: Workload) -> Iterator[tuple[str, str, TrialConfig]]:
    """Give each network of a workload, with each activation, and a trial that trains it."""
    count = len(workload.rates) * len(workload.batch_sizes) * workload.num_seeds
    trials = workload.plan(Path()).trials[::count]
    names = [(model, kind) for model in workload.models for kind in workload.activations]
    for (model, activation), trial in zip(names, trials, strict=True):
        yield model, activation, trial.config


NETWORKS = [each for workload in (DIGITS, MNIST, CIFAR, grid(10)) for each in different(workload)]


def in_order(module: nn.Module) -> list[torch.Tensor]:
    """Give weights and statistics by the order in which they stand, without batch norm's count."""
    return [value for value in module.state_dict().values() if value.ndim]


@pytest.mark.parametrize(("model", "activation", "config"), NETWORKS)
def test_peers_train_the_network_that_trainyard_trains(
    model: str, activation: str, config: TrialConfig
) -> None:
    ours = build_module(config.architecture, generator=torch.Generator().manual_seed(1))
    theirs = build(model, activation=activation, num_classes=10, channels_last=False)

    with torch.no_grad():
        for mine, its in zip(in_order(ours), in_order(theirs), strict=True):
            its.copy_(mine)
    images = torch.randn(5, *config.architecture.input_shape)

    for mode in (True, False):  # batch norm with the batch's statistics, and with its own
        torch.testing.assert_close(theirs.train(mode)(images), ours.train(mode)(images))


@pytest.mark.parametrize(("model", "activation", "config"), NETWORKS)
def test_peers_draw_initial_weights_as_wide_as_ours(
    model: str, activation: str, config: TrialConfig
) -> None:
    ours = build_module(config.architecture, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(1)
    theirs = build(model, activation=activation, num_classes=10, channels_last=False)

    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        if mine.numel() >= 1000:
            torch.testing.assert_close(its.std(), mine.std(), rtol=0.1, atol=0.0)
