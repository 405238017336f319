"""Examples as a network takes them: standardised float32, made in blocks of several batches.

A block at a time keeps memory small for any data set, and spares small networks the cost
of gathering and converting every batch by itself.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import torch
from torch import Tensor

from workers.criterion import Criterion
from workers.datasets.staged import Split, StagedData
from workers.devices import send

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
    for inputs, targets in gathered(split, torch.split(order, size), device=data.mean.device):
        if change is not None:
            inputs, targets = change(inputs, targets)
        yield standardise(inputs, data, layout=layout), criterion.targets(inputs, targets)


def gathered(
    split: Split, positions: Iterable[Tensor], *, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the raw inputs and targets at each of some positions (n,) of a split, on a device.

    Where the split has no room there, examples are gathered on the host and copied while those
    before them are worked on.
    """
    found = (split.gather(each) for each in positions)
    if split.inputs.device == device:
        yield from found
        return
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def copied(block: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, Tensor], torch.cuda.Event]:
        with torch.cuda.stream(stream):
            inputs, targets = (send(part, device) for part in block)
        return (inputs, targets), stream.record_event()

    for block, arrival in one_ahead(map(copied, found)):
        here = torch.cuda.current_stream(device)
        here.wait_event(arrival)
        for part in block:
            part.record_stream(here)  # its memory belongs to the other stream
        yield block


_Item = TypeVar("_Item")


def one_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield items, each when the one after it has been begun."""
    before = next(items, None)
    while before is not None:
        after = next(items, None)
        yield before
        before = after
