"""How a window slides over an image: output sizes, lost borders, receptive fields.

Sizes and windows are `(height, width)` pairs in pixels. Shapes exclude the batch:
`(channels, height, width)` for an image, `(features,)` for a vector.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Shape = tuple[int, ...]
Size = tuple[int, int]


class ShapeError(ValueError):
    """A layer does not fit the shape it is given."""


def shape_text(shape: Iterable[int]) -> str:
    """Write a shape as people do: `16x4x4`."""
    return "x".join(str(size) for size in shape)


@dataclass(frozen=True, slots=True)
class Window:
    """What one output pixel sees of a layer's input; `padding` is that of each side."""

    kernel: Size = (1, 1)
    stride: Size = (1, 1)
    padding: Size = (0, 0)
    dilation: Size = (1, 1)

    @property
    def extent(self) -> Size:
        """Give the pixels from the window's first row and column to its last."""
        (kernel_h, kernel_w), (dilation_h, dilation_w) = self.kernel, self.dilation
        return (kernel_h - 1) * dilation_h + 1, (kernel_w - 1) * dilation_w + 1

    @property
    def smallest_input(self) -> Size:
        """Give the smallest image on which the window finds a place."""
        sides = zip(self.extent, self.padding, strict=True)
        height, width = (max(1, extent - 2 * padding) for extent, padding in sides)
        return height, width

    def output_size(self, size: Size) -> Size:
        """Count the window's places in an image: `floor((W - F + 2P) / S) + 1` a direction.

        The caller has checked that the image is not smaller than `smallest_input`.
        """
        height, width = (room // stride + 1 for room, stride in self._room(size))
        return height, width

    def lost_border(self, size: Size) -> Size:
        """Count the image's last rows and columns that no window reaches.

        0 where only padding is left over, and where the stride exceeds the window: such a
        layer (a 1x1 convolution with stride 2) skips pixels everywhere, by design.
        """
        left_over = (room % stride for room, stride in self._room(size))
        lost_h, lost_w = (
            max(0, left - padding) if stride <= extent else 0
            for left, padding, stride, extent in zip(
                left_over, self.padding, self.stride, self.extent, strict=True
            )
        )
        return lost_h, lost_w

    def _room(self, size: Size) -> Iterable[tuple[int, int]]:
        """Pair, for each direction, how far the window can move with its stride."""
        sides = zip(size, self.padding, self.extent, self.stride, strict=True)
        for length, padding, extent, stride in sides:
            yield length + 2 * padding - extent, stride


POINT: Final = Window()
"""Sees one pixel: every layer that works element by element."""


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """Which part of the network's input one element sees, padding included.

    `size` is in pixels of the input; `jump` is the distance, in the same pixels, between
    the fields of two neighbours.
    Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
    Networks", Distill 2019.
    """

    size: Size = (1, 1)
    jump: Size = (1, 1)

    def through(self, window: Window) -> "ReceptiveField":
        """Grow by a window: `(w - 1)` neighbours further; the stride multiplies the jump."""
        (size_h, size_w), (jump_h, jump_w) = self.size, self.jump
        (extent_h, extent_w), (stride_h, stride_w) = window.extent, window.stride
        return ReceptiveField(
            (size_h + (extent_h - 1) * jump_h, size_w + (extent_w - 1) * jump_w),
            (jump_h * stride_h, jump_w * stride_w),
        )

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """Join the fields of two branches that end at the same place."""
        (size_h, size_w), (other_h, other_w) = self.size, other.size
        return ReceptiveField((max(size_h, other_h), max(size_w, other_w)), self.jump)
