"""What a trained network does on the test split, as pictures are made of it: plain numpy.

Made by `portrait.py`; torch is not needed here. Every image is (H, W, C) uint8 of 0..255, C
being 1 (grey) or 3 (red, green, blue); of data with other numbers of channels it is their mean.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of each is shown at most, and what it may cost to find it.

    A network that would take more than `multiply_adds` for the whole test split is shown on
    its first examples only; of one with more than `parameters` there are no pictures.
    """

    failures: int = 24
    reconstructions: int = 8
    segmentations: int = 8
    filters: int = 64
    layers: int = 24
    channels: int = 16
    units: int = 256
    multiply_adds: int = 4 * 10**11
    parameters: int = 250_000_000


@dataclass(frozen=True, slots=True, eq=False)
class WrongAnswer:
    """An example whose class was taken for another.

    `index` is its place in the test split. `image` is None where the inputs are numbers,
    which are then `features` (empty otherwise). `confidence` is the probability that was given
    to the answer, None where the outputs are no probabilities. `loss` is the example's own.
    """

    index: int
    image: Image | None
    features: tuple[float, ...]
    true: str
    predicted: str
    confidence: float | None
    loss: float


@dataclass(frozen=True, slots=True, eq=False)
class WrongValue:
    """An example whose numbers were missed; `true` and `predicted` are one a target.

    `index`, `image`, `features` and `loss` as in `WrongAnswer`.
    """

    index: int
    image: Image | None
    features: tuple[float, ...]
    true: tuple[float, ...]
    predicted: tuple[float, ...]
    loss: float


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """An image, its true and its predicted classes (H, W) uint8, and their agreement.

    `iou` is the mean over the classes that are in either mask of intersection / union.
    """

    index: int
    image: Image
    true_mask: Image
    predicted_mask: Image
    iou: float


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """An image, what the network made of it, and how near that is, in decibels (100 at most)."""

    index: int
    image: Image
    output: Image
    psnr: float


@dataclass(frozen=True, slots=True, eq=False)
class Filters:
    """The weights that the first layer lays on an image: the first ones of `num_filters`.

    `images` is (K, H, W, C) uint8. Each filter is divided by its own largest weight: 128 is
    a weight of 0, 255 and 1 are plus and minus the largest.
    """

    layer: str
    num_filters: int
    images: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class LayerMaps:
    """What one layer makes of an image: the first ones of its channels.

    `layer` is its path and text (`2 max_pool2d 2x2`), `shape` that of its output. `maps` is
    (K, H, W) uint8; a vector's is (1, 1, F). All of a layer have one scale: 0 stands for `low`,
    255 for `high`.
    """

    layer: str
    shape: tuple[int, ...]
    maps: NDArray[np.uint8]
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMaps:
    """An image of the test split, and what the layers make of it, in their order."""

    index: int
    image: Image
    layers: tuple[LayerMaps, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """What a trained network does on the test split.

    `num_shown` of the split's `num_examples` were looked at, its first ones. `failures` are the
    worst first: the largest losses of wrong answers (classification, binary), the largest
    losses of values (regression), the lowest IoU (segmentation) or PSNR (reconstruction).
    `num_failures` counts the wrong answers; it is None where nothing is plainly wrong.
    `reconstructions` and `segmentations` go evenly by rank from the worst to the best.
    `notes` say what was left out and why, a sentence each.
    """

    task: str
    data: str
    model: str
    class_names: tuple[str, ...]
    target_names: tuple[str, ...]
    num_examples: int
    num_shown: int
    num_failures: int | None = None
    failures: tuple[WrongAnswer | WrongValue | Segmentation | Reconstruction, ...] = ()
    filters: Filters | None = None
    feature_maps: FeatureMaps | None = None
    reconstructions: tuple[Reconstruction, ...] = ()
    segmentations: tuple[Segmentation, ...] = ()
    notes: tuple[str, ...] = ()
