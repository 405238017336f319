"""Loss and metrics over a whole split, exact: every example counts once."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

import torch
from torch import nn

from experiments.architectures.architecture import Architecture
from experiments.planning.cost import evaluation_batch
from workers.batches import blocks
from workers.criterion import Criterion, Score
from workers.datasets.staged import Split, StagedData
from workers.dead_units import UnitWatch
from workers.devices import memory_for
from workers.precision import forward_in

_MOST_EVALUATED: Final = 4096
_SHARE: Final = 1 / 8
"""The most of a GPU's memory that an evaluation should take: others may share it."""
_NUMBERS_HELD: Final = 3
"""How often the largest output of a layer is held at once: read, written, and on the way."""


def evaluated_at_once(architecture: Architecture, device: torch.device, *, members: int = 1) -> int:
    """Give how many examples (of each member) are evaluated at a time.

    On a GPU as many as should fit, up to 4,096; it follows from the network and the GPU alone, so
    that numbers repeat. Elsewhere about a megabyte of inputs: more are not faster.
    """
    least = evaluation_batch(architecture.input_shape)
    there = memory_for(device, share=_SHARE)
    if there is None:
        return least
    largest = max(row.activation_bytes for row in architecture.trace())
    fitting = there // (members * _NUMBERS_HELD * max(largest, 1))
    return max(1, min(_MOST_EVALUATED, fitting))


def evaluate(
    module: nn.Module,
    split: Split,
    data: StagedData,
    criterion: Criterion,
    *,
    before_batch: Callable[[], None],
    batch_size: int | None = None,
    layout: torch.memory_format = torch.contiguous_format,
    precision: str = "float32",
    watches_units: bool = False,
) -> Score:
    """Score a network on a split, without dropout and with batch norm's running statistics.

    Batches have `batch_size`, or a size that depends on the input's shape only, and sums are
    kept in float64. Leaves the module in evaluation mode. `before_batch` is called before each
    batch; what it raises ends the evaluation. `layout` is the order of images in memory,
    `precision` the arithmetic of the forward pass. `watches_units` looks for dead ones.
    """
    module.eval()
    batch = batch_size or evaluation_batch(data.input_shape)
    device = data.mean.device
    forward = forward_in(precision, module, device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    tally = criterion.tally(device)
    watch = UnitWatch(module) if watches_units else None
    with torch.inference_mode(), watch or nullcontext():
        order = torch.arange(len(split), device=split.indices.device)
        source = blocks(split, order, data, criterion, multiple=batch, layout=layout)
        for inputs, targets in source:
            for x, y in zip(torch.split(inputs, batch), torch.split(targets, batch), strict=True):
                before_batch()
                if watch is not None:
                    watch.begin_pass()
                outputs = forward(x)
                total += criterion.loss(outputs, y, reduction="none").double().sum()
                tally.add(outputs, y)
    score = criterion.score(total.item() / len(split), tally)
    return score if watch is None else replace(score, dead_units=watch.shares()[0])
