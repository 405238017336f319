from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn

from experiments.hyperparameters import OPTIMIZERS
from experiments.records import OptimizerConfig
from workers.optimizers import build_optimizer

CONFIGS = {
    "sgd": OptimizerConfig("sgd", 0.1, weight_decay=0.0, momentum=0.0),
    "sgd with momentum": OptimizerConfig("sgd", 0.1, weight_decay=0.01, momentum=0.9),
    "adam": OptimizerConfig("adam", 0.01, weight_decay=0.01),
    "adamw": OptimizerConfig("adamw", 0.01, weight_decay=0.1),
}
TORCH: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def network() -> nn.Module:
    """A convolution with channels last and a linear layer, the same every time."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(std=0.1, generator=generator)
    return module.to(memory_format=torch.channels_last)


def gradients(module: nn.Module, step: int) -> None:
    """Give the module the gradients of a fixed loss of its weights."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(6, 3, 4, 4, generator=generator)
    images = images.to(memory_format=torch.channels_last)
    torch.autograd.backward(module(images).square().mean())


def weights(module: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    return ((name, weight.detach()) for name, weight in module.named_parameters())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("fused", [True, False])
def test_steps_are_those_of_torch_optim(config: OptimizerConfig, fused: bool) -> None:
    ours, theirs = network(), network()
    optimizer = build_optimizer(config, ours.parameters())
    options = {"lr": config.lr, "weight_decay": config.weight_decay, "fused": fused}
    if config.momentum is not None:
        options["momentum"] = config.momentum
    reference = TORCH[config.name](theirs.parameters(), **options)
    for step in range(5):
        gradients(ours, step)
        gradients(theirs, step)
        optimizer.step(lr=config.lr)
        reference.step()
        reference.zero_grad()
    tolerance = 0.0 if fused else 1e-6  # the loop adds in another order
    for (name, found), (_, expected) in zip(weights(ours), weights(theirs), strict=True):
        same = torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
        assert same, (name, (found - expected).abs().max())


def test_every_optimizer_of_the_language_can_be_built() -> None:
    for name in OPTIMIZERS:
        optimizer = build_optimizer(OptimizerConfig(name, 0.1), network().parameters())
        assert type(optimizer).__name__.lower() == name.removesuffix("w")


def test_the_rate_of_each_step_counts() -> None:
    module = network()
    optimizer = build_optimizer(CONFIGS["sgd"], module.parameters())
    before = [weight.clone() for _, weight in weights(module)]
    gradients(module, 0)
    optimizer.step(lr=0.0)
    assert all(torch.equal(a, b) for a, (_, b) in zip(before, weights(module), strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_forgets_the_gradients(name: str) -> None:
    module = network()
    optimizer = build_optimizer(OptimizerConfig(name, 0.1), module.parameters())
    gradients(module, 0)
    optimizer.step(lr=0.1)
    assert [weight.grad for weight in module.parameters()] == [None] * 4
