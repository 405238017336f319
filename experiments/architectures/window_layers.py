"""The layers that slide a window over an image: convolution, shared or not, and pooling.

Their sizes follow torch's arithmetic: a window that does not fit whole is left out (no
`ceil_mode`).
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from experiments.architectures.geometry import Shape, ShapeError, Size, Window, shape_text
from experiments.architectures.layers import FLOAT32_BYTES, MAX_UNITS, Layer, Measure
from experiments.language.compound_kinds import Either, Pair
from experiments.language.kinds import Choice, Flag, Integer


@dataclass(frozen=True, slots=True)
class Conv2d(Layer):
    """A convolution: one filter an output channel, its weights shared by all places.

    `padding: same` keeps the image's size; it becomes numbers, so that both spellings are
    one layer. It needs stride 1, and a kernel that leaves both sides the same amount.
    """

    kind: ClassVar[str] = "conv2d"

    out_channels: Annotated[int, Integer(1, MAX_UNITS), "number of filters"]
    kernel_size: Annotated[Size, Pair(), "height and width of a filter, in pixels"]
    stride: Annotated[Size, Pair(), "pixels from one place to the next"] = (1, 1)
    padding: Annotated[
        Size | str,
        Either((Pair(minimum=0), Choice(("same",)))),
        "zeros around the image, in pixels, or same",
    ] = (0, 0)
    dilation: Annotated[Size, Pair(), "pixels from one weight of a filter to the next"] = (1, 1)
    groups: Annotated[int, Integer(1, MAX_UNITS), "parts of channels that do not mix"] = 1
    bias: Annotated[bool, Flag(), "whether each filter adds a constant"] = True

    def __post_init__(self) -> None:
        """Refuse options that contradict each other; write `same` as numbers."""
        if self.out_channels % self.groups:
            raise ValueError(
                f"groups must divide out_channels, got groups={self.groups}, "
                f"out_channels={self.out_channels}"
            )
        if isinstance(self.padding, str):
            object.__setattr__(self, "padding", self._same_padding())

    @property
    def border(self) -> Size:
        """Give the padding in pixels."""
        assert not isinstance(self.padding, str)  # written as numbers when it was made
        return self.padding

    @property
    def text(self) -> str:
        """Describe the layer: `conv2d 16 3x3, stride 2x2, padding 1x1`."""
        parts = [f"{self.kind} {self.out_channels} {shape_text(self.kernel_size)}"]
        if self.stride != (1, 1):
            parts.append(f"stride {shape_text(self.stride)}")
        if self.border != (0, 0):
            parts.append(f"padding {shape_text(self.border)}")
        if self.dilation != (1, 1):
            parts.append(f"dilation {shape_text(self.dilation)}")
        if self.groups != 1:
            parts.append(f"groups {self.groups}")
        return ", ".join(parts)

    def measure(self, input_shape: Shape) -> Measure:
        """Count `(F F Ci / groups + 1) Co` parameters, a filter's products at every place."""
        channels, _ = image_of(self, input_shape)
        if channels % self.groups:
            raise ShapeError(
                f"{self.text} needs input channels that {self.groups} divides, "
                f"got {shape_text(input_shape)}"
            )
        window = Window(self.kernel_size, self.stride, self.border, self.dilation)
        output_size = slide(self, input_shape, window=window)
        weights = self.out_channels * (channels // self.groups) * math.prod(self.kernel_size)
        return Measure(
            (self.out_channels, *output_size),
            parameters=weights + self.out_channels * self.bias,
            multiply_adds=weights * math.prod(output_size),
            window=window,
        )

    def _same_padding(self) -> Size:
        if self.stride != (1, 1):
            raise ValueError(f"padding: same needs stride 1, got stride {shape_text(self.stride)}")
        height, width = Window(self.kernel_size, dilation=self.dilation).extent
        if height % 2 == 0 or width % 2 == 0:
            raise ValueError(
                f"padding: same needs an odd kernel, got {shape_text(self.kernel_size)}; "
                "give the padding in pixels"
            )
        return height // 2, width // 2


@dataclass(frozen=True, slots=True)
class LocallyConnected2d(Layer):
    """A convolution whose places share no weights: each has filters and constants of its own."""

    kind: ClassVar[str] = "locally_connected2d"

    out_channels: Annotated[int, Integer(1, MAX_UNITS), "number of filters at each place"]
    kernel_size: Annotated[Size, Pair(), "height and width of a filter, in pixels"]
    stride: Annotated[Size, Pair(), "pixels from one place to the next"] = (1, 1)
    bias: Annotated[bool, Flag(), "whether each filter of each place adds a constant"] = True

    @property
    def text(self) -> str:
        """Describe the layer: `locally_connected2d 16 3x3, stride 2x2`."""
        stride = f", stride {shape_text(self.stride)}" if self.stride != (1, 1) else ""
        return f"{self.kind} {self.out_channels} {shape_text(self.kernel_size)}{stride}"

    def measure(self, input_shape: Shape) -> Measure:
        """Count `(F F Ci + 1) Co` parameters for every place, each product once.

        The inputs of all places are kept beside the outputs.
        """
        channels, _ = image_of(self, input_shape)
        window = Window(self.kernel_size, self.stride)
        places = slide(self, input_shape, window=window)
        num_outputs = self.out_channels * math.prod(places)
        num_inputs = channels * math.prod(self.kernel_size) * math.prod(places)
        weights = self.out_channels * num_inputs
        return Measure(
            (self.out_channels, *places),
            parameters=weights + num_outputs * self.bias,
            multiply_adds=weights,
            window=window,
            kept_bytes=FLOAT32_BYTES * (num_inputs + num_outputs),
        )


@dataclass(frozen=True, slots=True)
class _Pool2d(Layer):
    """What the two poolings share."""

    kernel_size: Annotated[Size, Pair(), "height and width of the window, in pixels"]
    stride: Annotated[
        Size | None, Pair(), "pixels from one place to the next; kernel_size when left out"
    ] = None
    padding: Annotated[Size, Pair(minimum=0), "border around the image, in pixels"] = (0, 0)

    def __post_init__(self) -> None:
        """Hold torch's rule for padding, and give equal pools one form."""
        halves = zip(self.padding, self.kernel_size, strict=True)
        if any(2 * padding > kernel for padding, kernel in halves):
            raise ValueError(
                f"padding must be at most half of kernel_size, got padding "
                f"{shape_text(self.padding)}, kernel_size {shape_text(self.kernel_size)}"
            )
        if self.stride == self.kernel_size:
            object.__setattr__(self, "stride", None)

    @property
    def step(self) -> Size:
        """Give the stride, which is `kernel_size` unless another was given."""
        return self.stride or self.kernel_size

    @property
    def text(self) -> str:
        """Describe the layer: `max_pool2d 3x3, stride 2x2, padding 1x1`."""
        stride = f", stride {shape_text(self.stride)}" if self.stride else ""
        padding = f", padding {shape_text(self.padding)}" if any(self.padding) else ""
        return f"{self.kind} {shape_text(self.kernel_size)}{stride}{padding}"

    def measure(self, input_shape: Shape) -> Measure:
        """Keep the channels, shrink the image."""
        channels, _ = image_of(self, input_shape)
        window = Window(self.kernel_size, self.step, self.padding)
        return Measure((channels, *slide(self, input_shape, window=window)), window=window)


@dataclass(frozen=True, slots=True)
class MaxPool2d(_Pool2d):
    """The largest value of each window; padding never wins."""

    kind: ClassVar[str] = "max_pool2d"


@dataclass(frozen=True, slots=True)
class AvgPool2d(_Pool2d):
    """The mean of each window; padding counts as zeros."""

    kind: ClassVar[str] = "avg_pool2d"


@dataclass(frozen=True, slots=True)
class AdaptiveAvgPool2d(Layer):
    """The means of a grid of windows, so that any image gives the same output size."""

    kind: ClassVar[str] = "adaptive_avg_pool2d"

    output_size: Annotated[Size, Pair(), "height and width of the output"] = (1, 1)

    @property
    def text(self) -> str:
        """Describe the layer: `adaptive_avg_pool2d 7x7`."""
        return f"{self.kind} {shape_text(self.output_size)}"

    def measure(self, input_shape: Shape) -> Measure:
        """Keep the channels; the window is the largest of the grid."""
        channels, (height, width) = image_of(self, input_shape)
        out_h, out_w = self.output_size
        kernel = (_largest_part(height, out_h), _largest_part(width, out_w))
        stride = (max(1, height // out_h), max(1, width // out_w))
        return Measure((channels, out_h, out_w), window=Window(kernel, stride, fitted=True))


def image_of(layer: Layer, input_shape: Shape) -> tuple[int, Size]:
    """Split an image's shape into channels and size.

    Raises:
        ShapeError: It is the shape of a vector.
    """
    if len(input_shape) != 3:
        raise ShapeError(
            f"{layer.text} needs an image (channels x height x width), "
            f"got a vector of {shape_text(input_shape)}"
        )
    channels, height, width = input_shape
    return channels, (height, width)


def slide(layer: Layer, input_shape: Shape, *, window: Window) -> Size:
    """Give the size of the output of a window that slides over an image.

    Raises:
        ShapeError: The input is no image, or smaller than the window.
    """
    _, size = image_of(layer, input_shape)
    needed = window.smallest_input
    if size[0] < needed[0] or size[1] < needed[1]:
        raise ShapeError(
            f"{layer.text} needs an input of at least {shape_text(needed)}, "
            f"got {shape_text(input_shape)}"
        )
    return window.output_size(size)


def _largest_part(length: int, parts: int) -> int:
    """Give the longest of torch's parts `floor(i L / n) .. ceil((i + 1) L / n)`.

    With r = (i L) mod n a part has `ceil((r + L) / n)` pixels, and the largest r of all is
    n less the greatest common divisor of n and L.
    """
    return -(-(length + parts - math.gcd(length, parts)) // parts)
