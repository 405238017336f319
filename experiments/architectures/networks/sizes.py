"""Sizes in named networks: how `width` scales them, and which images fit which form."""

from typing import Annotated, Final

from experiments.architectures.geometry import Shape, ShapeError, shape_text
from experiments.language.kinds import Number

LARGE_IMAGE: Final = 64
"""Smaller side, in pixels, from which AlexNet, VGG and ResNet take their published form."""

Width = Annotated[float, Number(above=0, maximum=16), "factor for all numbers of channels"]


def scaled(units: int, width: float) -> int:
    """Multiply by `width`, to the nearest integer (halves to the even one), at least 1."""
    return max(1, round(units * width))


def is_large(input_shape: Shape) -> bool:
    """Say whether an image is large enough for the published forms."""
    return min(input_shape[1:], default=0) >= LARGE_IMAGE


def check_sides(name: str, input_shape: Shape, *, multiple: int) -> None:
    """Hold that the input is an image whose sides `multiple` divides.

    Raises:
        ShapeError: It is not; the message tells the nearest sizes that are.
    """
    if len(input_shape) != 3:
        raise ShapeError(
            f"{name} needs an image (channels x height x width), "
            f"got a vector of {shape_text(input_shape)}"
        )
    size = input_shape[1:]
    if any(side % multiple for side in size):
        larger = shape_text(-(-side // multiple) * multiple for side in size)
        raise ShapeError(
            f"{name} needs an image whose sides {multiple} divides, got {shape_text(size)}; "
            f"bring the images to {larger}, say"
        )
