"""A staged data set as a trial sees it: split tensors over mapped files, and their statistics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.devices import free_bytes

_SHARE = 0.5
"""The most of a device's free memory that a data set may take."""
_BLOCK_VALUES = 2**22  # counted at a time; bounds the memory of the statistics


@dataclass(frozen=True, slots=True)
class Split:
    """Some examples of a data set, by index.

    `inputs` and `targets` are those of the whole file, shared by all processes of the
    machine; `indices` (N,) int64 says which belong to the split. Inputs are images
    (M, C, H, W) uint8 or numbers (M, F) float32; targets are classes (M,) int64, values
    (M, T) float32, or masks (M, H, W) uint8.
    """

    inputs: Tensor
    targets: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Give the inputs and targets at positions (n,) within the split."""
        rows = self.indices[positions]
        return self.inputs[rows], self.targets[rows]


@dataclass(frozen=True, slots=True, eq=False)
class StagedData:
    """The three splits of a data set; `train` and `val` share their inputs and targets.

    `digest` names the content, as in `DataConfig`. `mean` and `std` say how the inputs are
    shifted and scaled for a network, by channel (C,) or feature (F,), float32, in units of
    the raw values: the statistics of the training split unless the data configuration says
    otherwise. `target`, `class_names`, `target_names` and `full_scale` are as in
    `DatasetFacts`.
    """

    name: str
    digest: str
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    mean: Tensor
    std: Tensor
    target: str = "class"
    target_names: tuple[str, ...] = ()
    full_scale: int = 255

    def to(self, device: torch.device) -> "StagedData":
        """Give the data with all tensors on a device (itself, on the CPU).

        Splits that would take more than half of the device's free memory stay where they are, and
        only `mean` and `std` move. The last set that was moved stays on its device, for the trials
        that follow.
        """
        if device.type == "cpu":
            return self
        if (self, device) not in _moved:
            _moved.clear()  # first: there may be no room for two sets
            _moved[self, device] = _move(self, device)
        return _moved[self, device]


_moved: dict[tuple[StagedData, torch.device], StagedData] = {}  # by identity; one at most


def _move(data: StagedData, device: torch.device) -> StagedData:
    """Copy each tensor to a device once, however many splits share it, if there is room."""
    copies: dict[int, Tensor] = {}
    parts = (data.train, data.val, data.test)
    tensors = {id(each): each for part in parts for each in (part.inputs, part.targets)}
    free = free_bytes(device)
    fits = free is None or sum(each.nbytes for each in tensors.values()) <= _SHARE * free

    def copy(tensor: Tensor) -> Tensor:
        if id(tensor) not in copies:
            copies[id(tensor)] = tensor.to(device)
        return copies[id(tensor)]

    def split(part: Split) -> Split:
        if not fits:
            return part
        return Split(copy(part.inputs), copy(part.targets), copy(part.indices))

    return replace(
        data,
        train=split(data.train),
        val=split(data.val),
        test=split(data.test),
        mean=copy(data.mean),
        std=copy(data.std),
    )


def channel_statistics(
    images: NDArray[np.uint8], indices: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Give mean and standard deviation of each channel over some images.

    Computed in whole numbers from a histogram of the 256 values, so that neither order
    nor block size matters. The deviation is the population's; of a channel that never
    changes it is given as 1.

    Args:
        images: (M, C, H, W) uint8.
        indices: (N,) int64, the images that count; N >= 1.

    Returns:
        mean and std, (C,) float32 each.
    """
    counts = _histograms(images, indices)
    moments = [_moments(histogram) for histogram in counts.tolist()]
    mean = torch.tensor([mean for mean, _ in moments], dtype=torch.float32)
    std = torch.tensor([std for _, std in moments], dtype=torch.float32)
    return mean, std


def feature_statistics(
    numbers: NDArray[np.float32], indices: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Give mean and standard deviation of each feature over some examples.

    The sums are exactly rounded (Shewchuk 1997), so the order does not matter. The
    deviation is the population's; of a feature that never changes it is given as 1.

    Args:
        numbers: (M, F) float32.
        indices: (N,) int64, the examples that count; N >= 1.

    Returns:
        mean and std, (F,) float32 each.
    """
    moments = []
    for feature in numbers[indices].astype(np.float64).T:
        mean = math.fsum(feature) / len(feature)
        variance = math.fsum((feature - mean) ** 2) / len(feature)
        moments.append((mean, math.sqrt(variance) if np.ptp(feature) else 1.0))
    both = torch.tensor(moments, dtype=torch.float32)  # (F, 2)
    return both[:, 0], both[:, 1]


def _histograms(images: NDArray[np.uint8], indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the 256 values of each channel, (C, 256)."""
    _, channels, height, width = images.shape
    counts = np.zeros((channels, 256), dtype=np.int64)
    block = max(1, _BLOCK_VALUES // (channels * height * width))
    for start in range(0, len(indices), block):
        chosen = images[indices[start : start + block]]
        for channel in range(channels):
            counts[channel] += np.bincount(chosen[:, channel].ravel(), minlength=256)
    return counts


def _moments(histogram: Sequence[int]) -> tuple[float, float]:
    """Give (mean, std) of values 0..255 that occur so many times; exact up to the last step."""
    total = sum(histogram)
    first = sum(value * count for value, count in enumerate(histogram))
    second = sum(value * value * count for value, count in enumerate(histogram))
    variance = total * second - first * first  # times total squared
    return first / total, (variance / total**2) ** 0.5 if variance else 1.0
