"""What a reader gives: both splits of a data set, images in blocks, labels whole."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Progress = Callable[[str], None]
"""Takes a line for a person who waits."""


@dataclass(frozen=True, slots=True)
class RawSplit:
    """One split, not yet staged.

    `images` yields blocks of (n, C, H, W) uint8 and can be walked once; the blocks add up
    to the labels. `labels` is (N,) int64.
    """

    inputs: Iterable[NDArray[np.uint8]]
    targets: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RawData:
    """A whole data set, not yet staged."""

    train: RawSplit
    test: RawSplit


def whole(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> RawSplit:
    """Wrap a split that lies in memory: (N, C, H, W) uint8 images in one block."""
    return RawSplit((images,), labels.astype(np.int64))
