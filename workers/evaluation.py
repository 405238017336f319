"""Loss and metrics over a whole split, exact: every example counts once."""

import math
from typing import Final

import torch
from torch import nn

from workers.batches import blocks
from workers.criterion import Criterion, Score
from workers.datasets.staged import Split, StagedData
from workers.devices import memory_layout

_BATCH_BYTES: Final = 2**20


def evaluate(module: nn.Module, split: Split, data: StagedData, criterion: Criterion) -> Score:
    """Score a network on a split, without dropout and with batch norm's running statistics.

    Batches have a size that depends on the input's shape only, and sums are kept in
    float64. Leaves the module in evaluation mode.
    """
    module.eval()
    batch = _batch_size(data.input_shape)
    device = split.indices.device
    layout = memory_layout(module, device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    tally = criterion.tally(device)
    with torch.inference_mode():
        order = torch.arange(len(split), device=device)
        source = blocks(split, order, data, criterion, multiple=batch, layout=layout)
        for inputs, targets in source:
            for x, y in zip(torch.split(inputs, batch), torch.split(targets, batch), strict=True):
                outputs = module(x)
                total += criterion.loss(outputs, y, reduction="none").double().sum()
                tally.add(outputs, y)
    return criterion.score(total.item() / len(split), tally)


def _batch_size(input_shape: tuple[int, ...]) -> int:
    """Give 16 to 1,024 examples, about a megabyte of them."""
    return max(16, min(1024, _BATCH_BYTES // (4 * math.prod(input_shape))))
