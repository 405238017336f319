"""Examples as a network takes them: standardised float32, made in blocks of several batches.

A block at a time keeps memory small for any data set, and spares small networks the cost
of gathering and converting every batch by itself.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import Tensor

from workers.criterion import Criterion
from workers.datasets.staged import Split, StagedData

BLOCK_BYTES: Final = 2**22

Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Makes other inputs and targets of raw ones, such as an augmentation."""


def standardise(
    inputs: Tensor, data: StagedData, *, layout: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Map raw values to (x - mean) / std by channel or feature.

    Images (N, C, H, W) uint8 or numbers (N, F) float32 become float32; the layout is that
    of images.
    """
    if inputs.ndim == 2:
        return (inputs - data.mean).div_(data.std)
    mean, std = data.mean[:, None, None], data.std[:, None, None]
    return inputs.to(torch.float32, memory_format=layout).sub_(mean).div_(std)


def blocks(
    split: Split,
    order: Tensor,
    data: StagedData,
    criterion: Criterion,
    *,
    multiple: int,
    layout: torch.memory_format,
    change: Change | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a split's inputs and targets in an order, in blocks.

    Args:
        split: Where the examples come from.
        order: (N,) int64 positions within the split.
        data: The split's data set, for its statistics.
        criterion: Gives the targets.
        multiple: Every block but the last holds a multiple of so many examples.
        layout: The order of images in memory.
        change: What is done to raw inputs and targets first.

    Yields:
        inputs (n, C, H, W) or (n, F) float32, about `BLOCK_BYTES` of them, and targets as
        `Criterion.targets` gives them.
    """
    input_bytes = 4 * math.prod(data.input_shape)
    size = multiple * max(1, BLOCK_BYTES // (input_bytes * multiple))
    for positions in torch.split(order, size):
        inputs, targets = split.gather(positions)
        if change is not None:
            inputs, targets = change(inputs, targets)
        yield standardise(inputs, data, layout=layout), criterion.targets(inputs, targets)
