"""The losses of a pack's members against each member's own, in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.compatibility import LOSSES
from experiments.records import DataConfig, TrialConfig
from workers.criterion import Criterion
from workers.datasets.staged import StagedData
from workers.fusion.fused_criterion import FusedCriterion

MakeConfig = Callable[..., TrialConfig]
Stage = Callable[..., tuple[DataConfig, StagedData]]
SIZE = 7
SETS: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "classification": ("digits", {"limit": 40}, ["flatten", {"linear": 10}]),
    "binary": ("too_hot", {}, [{"linear": 1}]),
    "regression": ("sunshine", {}, [{"linear": 1}]),
    "segmentation": (
        "digit_scenes",
        {"size": 32, "digits": 1, "examples": 20},
        [{"conv2d": {"out_channels": 11, "kernel_size": 1}}],
    ),
    "reconstruction": (
        "digits",
        {"limit": 40},
        [{"conv2d": {"out_channels": 1, "kernel_size": 1}}],
    ),
}
OUTPUTS = {
    "classification": (10,),
    "binary": (1,),
    "regression": (1,),
    "segmentation": (11, 32, 32),
    "reconstruction": (1, 8, 8),
}


def judged_in_every_way(task: str) -> list[tuple[str, str]]:
    """Give each loss of a task with each output activation, and the first again at the end."""
    ways = [(name, way) for name, rule in LOSSES.items() for way in rule.outputs.get(task, ())]
    return [*ways, ways[0]]


@pytest.mark.parametrize("task", SETS)
def test_losses_and_gradients_are_those_of_each_member(
    stage_set: Stage, make_task_config: MakeConfig, task: str
) -> None:
    name, options, layers = SETS[task]
    data_config, data = stage_set(name, **options)
    configs = [
        make_task_config(
            task, data_config, data.input_shape, layers=layers, loss=loss, output_activation=way
        )
        for loss, way in judged_in_every_way(task)
    ]
    num = len(configs)
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(len(data.train), (1, num, SIZE), generator=generator)
    raw, truth = (
        values.view(1, num, SIZE, *values.shape[1:])
        for values in data.train.gather(places.flatten())
    )
    outputs = torch.randn(num, SIZE, *OUTPUTS[task], generator=generator, dtype=torch.float64)
    together = outputs.clone().requires_grad_()
    criterion = FusedCriterion(configs, data)
    targets = as_double(criterion.targets(raw, truth)[0])
    losses = criterion.losses(together, targets)
    assert losses.shape == (num, SIZE)
    torch.autograd.backward(losses.mean(dim=1).sum())
    for index, config in enumerate(configs):
        own = outputs[index].clone().requires_grad_()
        alone = Criterion(config, data)
        wanted = as_double(alone.targets(raw[0, index], truth[0, index]))
        loss = alone.loss(own, wanted)
        torch.autograd.backward(loss)
        torch.testing.assert_close(losses[index].mean(), loss, rtol=0, atol=1e-12)
        assert together.grad is not None
        torch.testing.assert_close(together.grad[index], own.grad, rtol=0, atol=1e-12)
        assert torch.count_nonzero(own.grad) > 0  # type: ignore[arg-type]


def as_double(targets: Tensor) -> Tensor:
    return targets.double() if targets.is_floating_point() else targets


def test_targets_that_all_share_are_each_members_own(
    stage_set: Stage, make_task_config: MakeConfig
) -> None:
    data_config, data = stage_set("too_hot")
    losses = ["hinge", "binary_cross_entropy", "binary_cross_entropy", "perceptron"]
    configs = [
        make_task_config("binary", data_config, (1,), layers=[{"linear": 1}], loss=loss)
        for loss in losses
    ]
    raw, truth = data.train.gather(torch.arange(5))
    shared = FusedCriterion(configs, data).shared_targets(raw, truth)
    assert shared.shape == (4, 5, 1)
    for config, found in zip(configs, shared, strict=True):
        assert torch.equal(found, Criterion(config, data).targets(raw, truth))
    assert not torch.equal(shared[0], shared[1])  # signs, and yes and no
