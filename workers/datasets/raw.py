"""What a reader gives: both splits of a data set, inputs in blocks, targets whole."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Progress = Callable[[str], None]
"""Takes a line for a person who waits."""

Inputs = NDArray[np.uint8] | NDArray[np.float32]
"""Images (n, C, H, W) uint8, or plain numbers (n, F) float32."""


@dataclass(frozen=True, slots=True)
class RawSplit:
    """One split, not yet staged.

    `inputs` yields blocks and can be walked once; the blocks add up to the targets, which
    are classes (N,) int64, values (N, T) float32, or masks (N, H, W) uint8.
    """

    inputs: Iterable[Inputs]
    targets: NDArray[Any]


@dataclass(frozen=True, slots=True)
class RawData:
    """A whole data set, not yet staged."""

    train: RawSplit
    test: RawSplit


def whole(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> RawSplit:
    """Wrap a split that lies in memory: (N, C, H, W) uint8 images in one block."""
    return RawSplit((images,), labels.astype(np.int64))
