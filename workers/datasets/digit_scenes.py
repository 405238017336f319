"""Grey scenes with handwritten digits of several sizes, and the class of every pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.data.generated_sets import DigitScenesOptions
from workers.datasets.digits import read_digits
from workers.datasets.draws import Draws
from workers.datasets.raw import RawData, RawSplit

_SIDE: Final = 8  # of a bundled digit
_SHARES: Final = (1 / 4, 3 / 8, 1 / 2)  # of the scene that a digit's side takes
_FULL: Final = 16  # of a bundled digit's ink
_INK: Final = 128  # from here on, of 255, a pixel is the digit's
_ATTEMPTS: Final = 10  # to find a free place for a digit
_GREYS: Final = (40, 120)  # of the background, from and to
_SLOPE: Final = 40  # grey levels that the light changes by across a scene, at most
_BRIGHTEST: Final = 255
_FAINTEST: Final = 190
_DEVIATION: Final = 12  # of the noise, in grey levels
_SPECKS: Final = 6
_SPECK_SIDE: Final = 2

Images = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Box:
    """A place in a scene, in pixels; a pixel's width around it stays free."""

    top: int
    left: int
    side: int

    def meets(self, other: "_Box") -> bool:
        """Say whether two boxes overlap or touch."""
        return (
            self.top <= other.top + other.side
            and other.top <= self.top + self.side
            and self.left <= other.left + other.side
            and other.left <= self.left + self.side
        )


def make_digit_scenes(options: DigitScenesOptions) -> RawData:
    """Compose scenes (N, 1, size, size) and masks (N, size, size): 0 background, 1..10 digits.

    A scene is an uneven grey with noise and small bright specks; on it lie up to `digits`
    digits, which do not touch. Their sides are a quarter, three eighths and half of the
    scene's, rounded down to a multiple of the bundled digits' 8 pixels, at least 16. A pixel
    is the digit's where at least half of its ink is. Training scenes hold digits of the
    bundled set's training half, test scenes those of its test half.
    """
    digits = read_digits()
    return RawData(
        train=_split(options, "train", digits.train), test=_split(options, "test", digits.test)
    )


def _split(options: DigitScenesOptions, name: str, digits: RawSplit) -> RawSplit:
    scales = sorted({max(2, int(options.size * share) // _SIDE) for share in _SHARES})
    glyphs = np.concatenate([block[:, 0] for block in digits.inputs])
    stamps = {scale: _scaled(glyphs, scale) for scale in scales}
    scenes = np.empty((options.examples, 1, options.size, options.size), dtype=np.uint8)
    masks = np.zeros((options.examples, options.size, options.size), dtype=np.uint8)
    for number in range(options.examples):
        draws = Draws("digit_scenes", options.seed, name, number)
        scene = _background(draws, options.size)
        for box in _boxes(draws, options, scales):
            which = int(draws.below(len(digits.targets), 1)[0])
            ink = stamps[box.side // _SIDE][which].astype(np.int64)
            grey = _FAINTEST + int(draws.below(_BRIGHTEST - _FAINTEST + 1, 1)[0])
            window = np.s_[box.top : box.top + box.side, box.left : box.left + box.side]
            scene[window] += (grey - scene[window]) * ink // 255
            masks[number][window][ink >= _INK] = 1 + digits.targets[which]
        noise = np.rint(_DEVIATION * draws.normal(scene.size)).reshape(scene.shape)
        scenes[number, 0] = np.clip(scene + noise, 0, 255)
    return RawSplit((scenes,), masks)


def _scaled(glyphs: Images, scale: int) -> Images:
    """Enlarge digits (N, 8, 8) of ink 0..16 to (N, 8 scale, 8 scale) of ink 0..255."""
    side = _SIDE * scale
    inked = (glyphs.astype(np.int64) * 255 // _FULL).astype(np.uint8)
    scaled = [
        Image.fromarray(glyph).resize((side, side), Image.Resampling.BILINEAR) for glyph in inked
    ]
    return np.stack([np.asarray(glyph) for glyph in scaled])


def _background(draws: Draws, size: int) -> NDArray[np.int64]:
    """Draw an uneven grey with specks as bright as digits, (size, size)."""
    darkest, lightest = _GREYS
    level = darkest + draws.below(lightest - darkest + 1, 1)[0]
    across, down = draws.below(2 * _SLOPE + 1, 2) - _SLOPE
    steps = np.arange(size) - size // 2
    scene: NDArray[np.int64] = level + (across * steps[None, :] + down * steps[:, None]) // size
    places = draws.below(size - _SPECK_SIDE + 1, 2 * _SPECKS).reshape(-1, 2)
    greys = _FAINTEST + draws.below(_BRIGHTEST - _FAINTEST + 1, _SPECKS)
    for (top, left), grey in zip(places, greys, strict=True):
        scene[top : top + _SPECK_SIDE, left : left + _SPECK_SIDE] = grey
    return scene


def _boxes(draws: Draws, options: DigitScenesOptions, scales: Sequence[int]) -> list[_Box]:
    """Draw places that do not touch; a digit that finds none in ten attempts is left out."""
    boxes: list[_Box] = []
    for _ in range(options.digits):
        side = _SIDE * scales[int(draws.below(len(scales), 1)[0])]
        places = draws.below(options.size - side + 1, 2 * _ATTEMPTS).reshape(-1, 2).tolist()
        candidates = (_Box(top, left, side) for top, left in places)
        free = (box for box in candidates if not any(box.meets(other) for other in boxes))
        boxes += [box for box in [next(free, None)] if box is not None]
    return boxes
