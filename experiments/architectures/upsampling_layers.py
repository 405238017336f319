"""The layers that make an image larger: interpolation and transposed convolution."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from experiments.architectures.geometry import Shape, ShapeError, Size, Window, shape_text
from experiments.architectures.layers import MAX_UNITS, Layer, Measure
from experiments.architectures.window_layers import image_of
from experiments.language.compound_kinds import Pair
from experiments.language.kinds import Choice, Flag, Integer


@dataclass(frozen=True, slots=True)
class Upsample(Layer):
    """Interpolation: more pixels from the same numbers, nothing to learn.

    An output pixel stands between the centres of the input's pixels: `nearest` repeats the
    closest one, `bilinear` weighs the two closest in each direction.
    """

    kind: ClassVar[str] = "upsample"

    scale: Annotated[Size, Pair(), "factors for height and width"]
    mode: Annotated[str, Choice(("nearest", "bilinear")), "how to interpolate"] = "nearest"

    @property
    def text(self) -> str:
        """Describe the layer: `upsample 2x2 bilinear`."""
        return f"{self.kind} {shape_text(self.scale)} {self.mode}"

    def measure(self, input_shape: Shape) -> Measure:
        """Keep the channels, multiply height and width."""
        channels, (height, width) = image_of(self, input_shape)
        by_h, by_w = self.scale
        painted = _triangle(self.scale) if self.mode == "bilinear" else self.scale
        window = Window(painted, self.scale, transposed=True)
        return Measure((channels, height * by_h, width * by_w), window=window)


@dataclass(frozen=True, slots=True)
class ConvTranspose2d(Layer):
    """A convolution run backwards: every input pixel paints a weighted filter.

    `padding` is cut off the output's border. With `init: bilinear` the layer starts as
    bilinear interpolation by its stride, each channel for itself. Source: Long, Shelhamer
    and Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015, sections
    3.3 and 4.1.
    """

    kind: ClassVar[str] = "conv_transpose2d"

    out_channels: Annotated[int, Integer(1, MAX_UNITS), "number of output channels"]
    kernel_size: Annotated[Size, Pair(), "height and width of a filter, in pixels"]
    stride: Annotated[Size, Pair(), "factors by which the image grows"] = (1, 1)
    padding: Annotated[Size, Pair(minimum=0), "pixels cut off each side of the output"] = (0, 0)
    bias: Annotated[bool, Flag(), "whether each channel adds a constant"] = True
    init: Annotated[str, Choice(("random", "bilinear")), "what the weights start as"] = "random"

    def __post_init__(self) -> None:
        """Refuse options that contradict each other."""
        if any(p >= k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(
                f"padding must be less than kernel_size, got padding {shape_text(self.padding)}, "
                f"kernel_size {shape_text(self.kernel_size)}"
            )
        if self.init == "bilinear" and self.kernel_size != _triangle(self.stride):
            raise ValueError(
                f"init: bilinear with stride {shape_text(self.stride)} needs kernel_size "
                f"{shape_text(_triangle(self.stride))} (twice the stride, an odd one less 1), "
                f"got {shape_text(self.kernel_size)}"
            )

    @property
    def text(self) -> str:
        """Describe the layer: `conv_transpose2d 21 4x4, stride 2x2, padding 1x1, bilinear`."""
        parts = [f"{self.kind} {self.out_channels} {shape_text(self.kernel_size)}"]
        if self.stride != (1, 1):
            parts.append(f"stride {shape_text(self.stride)}")
        if self.padding != (0, 0):
            parts.append(f"padding {shape_text(self.padding)}")
        if self.init != "random":
            parts.append(self.init)
        return ", ".join(parts)

    def measure(self, input_shape: Shape) -> Measure:
        """Count `(F F Ci + 1) Co` parameters, a filter's products at every input pixel.

        A side of W pixels becomes `(W - 1) S - 2P + F`.
        """
        channels, size = image_of(self, input_shape)
        if self.init == "bilinear" and channels != self.out_channels:
            raise ShapeError(
                f"{self.text} needs as many input channels as outputs, got "
                f"{shape_text(input_shape)}: bilinear interpolation mixes no channels"
            )
        sides = zip(size, self.kernel_size, self.stride, self.padding, strict=True)
        height, width = ((side - 1) * step - 2 * cut + kernel for side, kernel, step, cut in sides)
        if height < 1 or width < 1:
            raise ShapeError(f"{self.text} cuts all of an input of {shape_text(input_shape)} off")
        weights = channels * self.out_channels * math.prod(self.kernel_size)
        return Measure(
            (self.out_channels, height, width),
            parameters=weights + self.out_channels * self.bias,
            multiply_adds=weights * math.prod(size),
            window=Window(self.kernel_size, self.stride, transposed=True),
        )


def _triangle(factors: Size) -> Size:
    """Give the pixels to which bilinear interpolation by these factors paints one."""
    height, width = (2 * factor - factor % 2 for factor in factors)
    return height, width
