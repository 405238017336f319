"""What a spec makes of a data set before it is stored: fewer classes, another size, noise."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.data.data_changes import DataChanges
from experiments.data.dataset_facts import MASK, DatasetFacts
from workers.datasets.draws import Draws
from workers.datasets.raw import Inputs, RawData, RawSplit

_BLOCK: Final = 1024
"""Inputs that are worked on at a time."""

Images = NDArray[np.uint8]


def changed(
    data: RawData, changes: DataChanges, *, base: DatasetFacts, known: DatasetFacts
) -> RawData:
    """Make the changes to a data set, block by block as it comes.

    The noise is fixed by the digest of the changed set: the same for all trials.

    Args:
        data: What the set's reader gives.
        changes: What is made of it; `label_noise` and `normalise` have no place here.
        base: The facts of the set before the changes.
        known: Its facts after them.
    """

    def split(name: str, raw: RawSplit) -> RawSplit:
        inputs, targets = _small_blocks(raw.inputs), raw.targets
        if changes.classes is not None:
            labels = _renumbered(targets, base.class_names, changes.classes)
            inputs, targets = _kept(inputs, labels >= 0), labels[labels >= 0]
        if changes.resize or changes.crop:
            inputs = (_sized(block, changes, Image.Resampling.BILINEAR) for block in inputs)
            if base.target == MASK:
                targets = _sized(targets[:, None], changes, Image.Resampling.NEAREST)[:, 0]
        if changes.noise:
            stream = ("noise", known.digest, name)
            inputs = _noisy(inputs, stream, changes.noise * base.full_scale, base.full_scale)
        return RawSplit(inputs, targets)

    return RawData(train=split("train", data.train), test=split("test", data.test))


def _small_blocks(inputs: Iterable[Inputs]) -> Iterator[Any]:
    """Cut blocks, so that a set that comes in one piece needs no copy of the whole."""
    for block in inputs:
        for start in range(0, len(block), _BLOCK):
            yield block[start : start + _BLOCK]


def _renumbered(
    labels: NDArray[np.int64], names: tuple[str, ...], chosen: tuple[str, ...]
) -> NDArray[np.int64]:
    """Give each label's number among the chosen classes, -1 where it is of none of them."""
    numbers = np.full(len(names), -1, dtype=np.int64)
    for number, name in enumerate(chosen):
        numbers[names.index(name)] = number
    return numbers[labels]


def _kept(blocks: Iterable[Any], keep: NDArray[np.bool_]) -> Iterator[Any]:
    start = 0
    for block in blocks:
        yield block[keep[start : start + len(block)]]
        start += len(block)


def _sized(images: Images, changes: DataChanges, how: Image.Resampling) -> Images:
    """Stretch images (n, C, H, W) to `resize`, then cut the centre of size `crop` out."""
    if changes.resize is not None:
        images = _stretched(images, changes.resize, how)
    if changes.crop is not None:
        height, width = changes.crop
        top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
        images = images[:, :, top : top + height, left : left + width]
    return images


def _stretched(images: Images, size: tuple[int, int], how: Image.Resampling) -> Images:
    """Stretch images (n, C, H, W) by Pillow, in whole numbers; bilinear is antialiased."""
    count, channels, height, width = images.shape
    stretched = np.empty((count * channels, *size), dtype=np.uint8)
    for number, channel in enumerate(images.reshape(-1, height, width)):
        stretched[number] = Image.fromarray(channel).resize((size[1], size[0]), how)
    return stretched.reshape(count, channels, *size)


def _noisy(
    blocks: Iterable[Images], stream: tuple[str, ...], deviation: float, full_scale: int
) -> Iterator[Images]:
    """Add Gaussian noise, round, and keep within 0 and the full scale.

    Each image draws from a stream of its own: where blocks are cut plays no part.
    """
    number = 0
    for block in blocks:
        noise = np.empty(block.shape)
        for row in noise:
            row[...] = Draws(*stream, number).normal(row.size).reshape(row.shape)
            number += 1
        yield np.clip(np.rint(block + deviation * noise), 0, full_scale).astype(np.uint8)
