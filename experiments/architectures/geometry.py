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
    """A layer does not fit the shape it is given.

    `path` is the layer's place in its network (`2.body.1`), where that is known.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


def shape_text(shape: Iterable[int]) -> str:
    """Write a shape as people do: `16x4x4`."""
    return "x".join(str(size) for size in shape)


@dataclass(frozen=True, slots=True)
class Window:
    """What one output pixel sees of a layer's input; `padding` is that of each side.

    A transposed window is run backwards, as upsampling does: every input pixel paints
    `kernel` output pixels, those of its neighbour begin `stride` pixels further. Source:
    Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation",
    2015, section 3.3. A fitted window's places are spread over the whole of any image.
    """

    kernel: Size = (1, 1)
    stride: Size = (1, 1)
    padding: Size = (0, 0)
    dilation: Size = (1, 1)
    transposed: bool = False
    fitted: bool = False

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

        The caller has checked that the image is not smaller than `smallest_input`; a
        transposed window's layer counts its output itself.
        """
        height, width = (room // stride + 1 for room, stride in self._room(size))
        return height, width

    def lost_border(self, size: Size) -> Size:
        """Count the image's last rows and columns that no window reaches.

        0 where only padding is left over, and where the stride exceeds the window: such a
        layer (a 1x1 convolution with stride 2) skips pixels everywhere, by design. A
        transposed or fitted window reaches all.
        """
        if self.transposed or self.fitted:
            return 0, 0
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
class Reach:
    """What one element sees along one direction, padding included.

    `size` is in pixels; `jump` is the distance, in the same pixels, between what two
    neighbours see first. The pixels are those of the network's input, or of the last
    image that was upsampled: then `below` is what a pixel saw before that, `painted` how
    many pixels each became, and `factor` how far they are apart.
    Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
    Networks", Distill 2019; upsampling is their convolution solved for its input.
    """

    size: int = 1
    jump: int = 1
    below: "Reach | None" = None
    painted: int = 1
    factor: int = 1

    @property
    def pixels(self) -> int:
        """Give what is seen of the network's input, by the element that sees most.

        Behind upsampling by a factor f, n pixels in a row see `ceil((n + w - 1) / f)` of
        the image before it, w being how many pixels each of those was painted to.
        """
        reach, pixels = self, self.size
        while reach.below is not None:
            count = -(-(pixels + reach.painted - 1) // reach.factor)
            reach = reach.below
            pixels = reach.size + (count - 1) * reach.jump
        return pixels

    def through(self, extent: int, stride: int) -> "Reach":
        """Grow by a window: `(w - 1)` neighbours further; the stride multiplies the jump."""
        size = self.size + (extent - 1) * self.jump
        return Reach(size, self.jump * stride, self.below, self.painted, self.factor)

    def upsampled(self, painted: int, factor: int) -> "Reach":
        """Go on in the pixels of an upsampled image."""
        if factor == 1:  # the same as a window of that extent
            return self.through(painted, 1)
        return Reach(below=self, painted=painted, factor=factor)


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """Which part of the network's input one element sees, in both directions."""

    rows: Reach = Reach()
    columns: Reach = Reach()

    @property
    def size(self) -> Size:
        """Give its height and width in pixels, padding included."""
        return self.rows.pixels, self.columns.pixels

    def through(self, window: Window) -> "ReceptiveField":
        """Grow by a window."""
        (extent_h, extent_w), (stride_h, stride_w) = window.extent, window.stride
        if window.transposed:
            return ReceptiveField(
                self.rows.upsampled(extent_h, stride_h), self.columns.upsampled(extent_w, stride_w)
            )
        return ReceptiveField(
            self.rows.through(extent_h, stride_h), self.columns.through(extent_w, stride_w)
        )

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """Take the wider of two branches that end at the same place, in each direction."""
        return ReceptiveField(
            max(self.rows, other.rows, key=lambda reach: reach.pixels),
            max(self.columns, other.columns, key=lambda reach: reach.pixels),
        )
