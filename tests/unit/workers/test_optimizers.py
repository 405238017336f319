import io
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn
from torch.nn import Parameter

from experiments.descent import OPTIMIZERS
from experiments.records import OptimizerConfig
from workers.optimizers import Sgd, build_optimizer

CONFIGS = {
    "sgd": OptimizerConfig("sgd", 0.1, weight_decay=0.0, momentum=0.0),
    "sgd with momentum": OptimizerConfig("sgd", 0.1, weight_decay=0.01, momentum=0.9),
    "nesterov": OptimizerConfig("nesterov", 0.1, weight_decay=0.01, momentum=0.9),
    "nesterov without momentum": OptimizerConfig("nesterov", 0.1, momentum=0.0),
    "rmsprop": OptimizerConfig("rmsprop", 0.01, weight_decay=0.01, momentum=0.0),
    "rmsprop with momentum": OptimizerConfig("rmsprop", 0.01, momentum=0.9),
    "adam": OptimizerConfig("adam", 0.01, weight_decay=0.01),
    "adamw": OptimizerConfig("adamw", 0.01, weight_decay=0.1),
}
TORCH: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "nesterov": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A convolution with channels last and a linear layer, the same every time."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)).to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(std=0.1, generator=generator)
    return module.to(memory_format=torch.channels_last)


def gradients(module: nn.Module, step: int) -> None:
    """Give the module the gradients of a fixed loss of its weights."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(6, 3, 4, 4, generator=generator)
    dtype = next(module.parameters()).dtype
    images = images.to(dtype, memory_format=torch.channels_last)
    torch.autograd.backward(module(images).square().mean())


def weights(module: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    return ((name, weight.detach()) for name, weight in module.named_parameters())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_those_of_torch_optim(
    config: OptimizerConfig, fused: bool, dtype: torch.dtype
) -> None:
    ours, theirs = network(dtype), network(dtype)
    optimizer = build_optimizer(config, ours.parameters())
    options = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.name != "rmsprop":  # it has no fused form
        options["fused"] = fused
    if config.momentum is not None:
        options["momentum"] = config.momentum
    if config.name == "nesterov" and config.momentum:  # torch refuses it without momentum
        options["nesterov"] = True
    reference = TORCH[config.name](theirs.parameters(), **options)
    for step in range(5):
        gradients(ours, step)
        gradients(theirs, step)
        optimizer.step(lr=config.lr)
        reference.step()
        reference.zero_grad()
    # The loop adds in another order than the fused kernel.
    tolerance = 0.0 if fused else 1e-6 if dtype == torch.float32 else 1e-14
    for (name, found), (_, expected) in zip(weights(ours), weights(theirs), strict=True):
        same = torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
        assert same, (name, (found - expected).abs().max())


def test_every_optimizer_of_the_language_is_held_to_torch() -> None:
    assert {config.name for config in CONFIGS.values()} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_there_may_be_nothing_to_learn(name: str) -> None:
    build_optimizer(OptimizerConfig(name, 0.1, momentum=0.9), []).step(lr=0.1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_weight_without_part_in_the_step_stays(name: str) -> None:
    used, unused = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = build_optimizer(OptimizerConfig(name, 0.1, momentum=0.9), [used, unused])
    torch.autograd.backward(used.sum())
    optimizer.step(lr=0.1)
    assert torch.equal(unused, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("num_before", [0, 1, 3])
def test_a_restored_optimizer_makes_the_steps_that_it_would_have_made(
    config: OptimizerConfig, num_before: int
) -> None:
    whole, resumed = network(), network()
    optimizer = build_optimizer(config, whole.parameters())
    for step in range(num_before):
        gradients(whole, step)
        optimizer.step(lr=0.1)
    file = io.BytesIO()
    torch.save({"model": whole.state_dict(), "optimizer": optimizer.state()}, file)
    file.seek(0)
    contents = torch.load(file, weights_only=True)
    resumed.load_state_dict(contents["model"])
    restored = build_optimizer(config, resumed.parameters())
    restored.restore(contents["optimizer"])
    for step in range(num_before, num_before + 3):
        for module, stepping in ((whole, optimizer), (resumed, restored)):
            gradients(module, step)
            stepping.step(lr=0.01)
    for (name, expected), (_, found) in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(expected, found), name


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


def test_sgd_goes_on_from_buffers_that_lay_otherwise_in_memory() -> None:
    """As a pack, or a GPU, leaves them; the kernel walks over memory, not over places."""
    layouts = (torch.channels_last, torch.contiguous_format)
    after = []
    for layout in layouts:
        weight = Parameter(torch.arange(72.0).view(2, 4, 3, 3).contiguous(memory_format=layouts[0]))
        optimizer = Sgd([weight], momentum=0.9, weight_decay=0.0, nesterov=False)
        buffer = torch.arange(72.0, 144.0).view(2, 4, 3, 3).contiguous(memory_format=layout)
        optimizer.restore({"buffers": [buffer]})
        weight.grad = torch.ones_like(weight)
        optimizer.step(lr=0.1)
        after.append(weight.detach().clone())
    assert torch.equal(*after)
