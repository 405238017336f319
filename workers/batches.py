"""Images as a network takes them: standardised float32, made in blocks of several batches.

A block at a time keeps memory small for any data set, and spares small networks the cost
of gathering and converting every batch by itself.
"""

import math
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from workers.datasets.staged import Split, StagedData

BLOCK_BYTES: Final = 2**22


def standardise(
    images: Tensor, data: StagedData, *, layout: torch.memory_format = torch.contiguous_format
) -> Tensor:
    """Map raw values to (x - mean) / std by channel: (N, C, H, W) uint8 to float32."""
    mean, std = data.mean[:, None, None], data.std[:, None, None]
    return images.to(torch.float32, memory_format=layout).sub_(mean).div_(std)


def blocks(
    split: Split,
    order: Tensor,
    data: StagedData,
    *,
    multiple: int,
    layout: torch.memory_format,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a split's images and labels in an order, in blocks.

    Args:
        split: Where the images come from.
        order: (N,) int64 positions within the split.
        data: The split's data set, for its statistics.
        multiple: Every block but the last holds a multiple of so many images.
        layout: The order of the images in memory.

    Yields:
        images (n, C, H, W) float32 and labels (n,) int64; about `BLOCK_BYTES` of images.
    """
    image_bytes = 4 * math.prod(data.input_shape)
    size = multiple * max(1, BLOCK_BYTES // (image_bytes * multiple))
    for positions in torch.split(order, size):
        images, labels = split.gather(positions)
        yield standardise(images, data, layout=layout), labels
