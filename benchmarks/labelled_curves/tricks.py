"""What is done to a training on purpose that no spec would ask for.

Only here: the engine has no door for any of it, so its names are replaced for a while.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from experiments.records import TrialConfig
from workers import learner
from workers.datasets.staged import Split, StagedData
from workers.modules import build_module

BURST = 30.0
BURST_STEPS = 3


def changed_data(trick: str, data: StagedData) -> StagedData:
    """Give the data that a trick trains on: labels shuffled among all examples, or blank inputs."""
    drawn = torch.Generator().manual_seed(0)

    def change(split: Split) -> Split:
        if trick == "no inputs":
            return replace(split, inputs=torch.zeros_like(split.inputs))
        return replace(
            split, targets=split.targets[torch.randperm(len(split.targets), generator=drawn)]
        )

    if trick not in {"no inputs", "shuffled labels"}:
        return data
    train, test = change(data.train), change(data.test)
    val = replace(data.val, inputs=train.inputs, targets=train.targets)
    return replace(data, train=train, val=val, test=test)


@contextmanager
def played(trick: str, config: TrialConfig, data: StagedData) -> Iterator[None]:
    """Train under a trick."""
    name, _, much = trick.partition(" ")
    if trick == "not shuffled":
        order = data.train.targets[data.train.indices].argsort(stable=True)
        with patch.object(learner, "draw_order", lambda *_: order):
            yield
    elif trick == "burst":
        with patch.object(learner, "epoch_rates", _bursting(learner.epoch_rates, config)):
            yield
    elif name == "kill":
        share = float(much.removesuffix("%")) / 100
        with patch.object(learner, "build_module", _killing(build_module, share)):
            yield
    else:
        yield


def burst_epoch(epochs: int) -> int:
    """Give the epoch that ends with a burst."""
    return epochs * 6 // 10


def _bursting(
    rates_of: Callable[..., list[float]], case: TrialConfig
) -> Callable[..., list[float]]:
    """Let the last steps of one epoch go far: the case's, however long its twin runs."""
    at = burst_epoch(case.epochs)

    def rates(config: TrialConfig, epoch: int, *, steps_per_epoch: int) -> list[float]:
        found = rates_of(config, epoch, steps_per_epoch=steps_per_epoch)
        if epoch != at:
            return found
        return [*found[:-BURST_STEPS], *(BURST * rate for rate in found[-BURST_STEPS:])]

    return rates


def _killing(build: Callable[..., nn.Module], share: float) -> Callable[..., nn.Module]:
    """Let a share of the hidden units begin out of reach of any input."""

    def build_and_kill(*arguments: Any, **options: Any) -> nn.Module:
        module = build(*arguments, **options)
        layers = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
        with torch.no_grad():
            for layer in layers[:-1]:
                bias = layer.bias
                assert bias is not None
                bias[: round(share * len(bias))] = -100.0
        return module

    return build_and_kill
