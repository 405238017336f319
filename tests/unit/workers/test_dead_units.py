"""Units that are zero for every example are counted, in a network alone and in a pack."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.records import TrialConfig
from workers import dead_units
from workers.datasets.staged import StagedData
from workers.dead_units import UnitWatch
from workers.fusion.fused_learner import FusedLearner
from workers.groups import Alone
from workers.learner import Learner
from workers.modules import build_module

MakeConfig = Callable[..., TrialConfig]
CPU = torch.device("cpu")


def go_on() -> None:
    """Let every batch be scored."""


def network(function: str = "relu", *, bias: bool = True) -> list[Any]:
    """Give 6 channels that are pooled and 5 numbers, each behind a function."""
    return [
        {"conv2d": {"out_channels": 6, "kernel_size": 3, "bias": bias}},
        {"activation": function},
        {"max_pool2d": 2},
        "flatten",
        {"linear": 5},
        {"activation": function},
        {"linear": 10},
    ]


def kill(weights: dict[str, Tensor], *, channels: int, numbers: int) -> dict[str, Tensor]:
    """Let the first units answer to nothing."""
    changed = {name: value.clone() for name, value in weights.items()}
    changed["0.bias"][:channels] = -1e3
    changed["4.bias"][:numbers] = -1e3
    return changed


def share_of(module: nn.Module, *batches: Tensor) -> float | None:
    with UnitWatch(module) as watch, torch.inference_mode():
        for batch in batches:
            watch.begin_pass()
            module(batch)
    (share,) = watch.shares()
    return share


def test_a_network_alone_and_in_a_pack_has_its_own_share(
    make_config: MakeConfig, digits: StagedData
) -> None:
    functions = ["relu", "relu", "tanh", "relu"]  # in the order of packs' stretches
    configs = [
        make_config(layers=network(function), seed=seed) for seed, function in enumerate(functions)
    ]
    pack = FusedLearner.start(configs, digits, device=CPU)
    alone = [Learner(config, digits, device=CPU) for config in configs]
    deaths = [(3, 4), (0, 0), (3, 4), (6, 5)]
    for learner, member, (channels, numbers) in zip(alone, pack.members, deaths, strict=True):
        weights = kill(learner.copy_weights(), channels=channels, numbers=numbers)
        weights["0.bias"][channels:] = weights["4.bias"][numbers:] = 1e3
        learner.restore(weights, None)
        member.restore(weights, None)
    expected = [7 / 11, 0.0, None, 1.0]
    together = [score.dead_units for score in pack.evaluate("val", before_batch=go_on)]
    one_by_one = [
        Alone(learner).evaluate("val", before_batch=go_on)[0].dead_units for learner in alone
    ]
    assert together == one_by_one == expected


def test_only_the_validation_split_is_watched(make_config: MakeConfig, digits: StagedData) -> None:
    learner = Learner(make_config(layers=network()), digits, device=CPU)
    assert learner.evaluate("test", before_batch=go_on).dead_units is None
    assert learner.evaluate("val", before_batch=go_on).dead_units is not None


def test_watching_changes_no_number_and_leaves_nothing_behind(
    make_config: MakeConfig, digits: StagedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = Learner(make_config(layers=network()), digits, device=CPU)
    watched = learner.evaluate("val", before_batch=go_on)
    assert not any(part._forward_hooks for part in learner.module.modules())
    monkeypatch.setattr(UnitWatch, "__enter__", lambda self: self)
    unwatched = learner.evaluate("val", before_batch=go_on)
    assert replace(watched, dead_units=None) == unwatched
    assert watched.dead_units is not None
    assert unwatched.dead_units is None  # nothing was seen


def test_a_unit_that_answers_once_lives() -> None:
    module = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    with torch.no_grad():
        module[0].weight[:] = 1.0  # type: ignore[operator]
        module[0].bias[:] = torch.tensor([0.0, -10.0])  # type: ignore[operator]
    quiet, loud = torch.full((40, 1), -1.0), torch.full((3, 1), 5.0)
    assert share_of(module, quiet) == 1.0
    assert share_of(module, quiet, quiet, loud) == 0.5


def test_only_the_first_examples_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_units, "MOST_EXAMPLES", 50)
    module = nn.Sequential(nn.ReLU())
    quiet, loud = torch.full((30, 1), -1.0), torch.ones(30, 1)
    within, beyond = loud.clone(), loud.clone()
    within[:19], beyond[:20] = -1.0, -1.0
    assert share_of(module, quiet, within) == 0.0
    assert share_of(module, quiet, beyond) == 1.0
    assert share_of(module, quiet, beyond, loud) == 1.0


def test_a_rectifier_that_is_passed_twice_has_units_at_each_place() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, inputs: Tensor) -> Tensor:
            once: Tensor = self.relu(inputs)
            again: Tensor = self.relu(1.0 - once[:, :1])
            return again

    signal = torch.tensor([[1.0, -1.0, 2.0]])
    assert share_of(Twice(), signal) == 2 / 4  # the second of three, and 1 - 1


def test_functions_that_never_die_give_no_share(make_config: MakeConfig) -> None:
    for function in ("leaky_relu", "tanh", "step"):
        module = build_module(
            make_config(layers=network(function)).architecture,
            generator=torch.Generator().manual_seed(0),
        )
        assert share_of(module, torch.zeros(4, 1, 8, 8)) is None


def test_what_is_no_number_is_not_dead() -> None:
    assert share_of(nn.Sequential(nn.ReLU()), torch.full((2, 3), torch.nan)) == 0.0
