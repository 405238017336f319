"""The ways in which training images may be changed by chance: names and docs.

The changes themselves are the workers' (`workers/augmentation.py`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

SMALLEST_WINDOW: Final = Fraction(3, 4)
"""The share of each side that a random window keeps at least."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """One way to change images: its doc, and the steps that make it up (flip, shift, crop)."""

    doc: str
    steps: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Say whether it takes a number of pixels."""
        return "shift" in self.steps


_STEPS: Final[Mapping[str, str]] = {
    "flip": "seen in a mirror (left and right swap), with a chance of one half",
    "shift": "moved by whole pixels, up to so many in each direction; black comes in",
    "crop": "a random window of at least 3/4 of each side, stretched to the whole size",
}


def _of(*steps: str) -> Augmentation:
    return Augmentation("; and ".join(_STEPS[step] for step in steps), steps)


AUGMENTATIONS: Final[Mapping[str, Augmentation]] = {
    "none": Augmentation("the images as they are"),
    "flip": _of("flip"),
    "shift": _of("shift"),
    "crop": _of("crop"),
    "shift_flip": _of("shift", "flip"),
    "crop_flip": _of("crop", "flip"),
}


def default_pixels(input_shape: tuple[int, ...]) -> int:
    """Give how far images of a shape (C, H, W) move unless a spec says otherwise.

    An eighth of the shorter side, at least 1: the 4 pixels of 32 that are usual on CIFAR-10
    (He et al. 2016, section 4.2).
    """
    return max(1, min(input_shape[-2:]) // 8)


def smallest_window(side: int) -> int:
    """Give the least number of pixels that a random window keeps of a side."""
    return math.ceil(SMALLEST_WINDOW * side)
