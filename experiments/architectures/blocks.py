"""Layers made of layers: residual blocks, and a network run on every patch of an image."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from experiments.architectures.geometry import Shape, ShapeError, Size, Window, shape_text
from experiments.architectures.layers import FLOAT32_BYTES, Layer, Measure, plain
from experiments.architectures.window_layers import slide


@dataclass(frozen=True, slots=True)
class Residual(Layer):
    """Adds what `body` computes to what `shortcut` passes on (nothing: the input itself).

    Source: He et al., "Deep Residual Learning for Image Recognition", 2016, section 3.
    """

    kind: ClassVar[str] = "residual"

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    @property
    def branches(self) -> tuple[tuple[str, tuple[Layer, ...]], ...]:
        """Give both branches with their names."""
        return (("body", self.body), ("shortcut", self.shortcut))

    def measure(self, input_shape: Shape) -> Measure:
        """Sum up both branches. The window is that of the addition: a point."""
        body, shortcut = (_chain(layers, input_shape) for _, layers in self.branches)
        shape = self.sum_shape(body.output_shape, shortcut.output_shape)
        return Measure(
            shape,
            parameters=body.parameters + shortcut.parameters,
            multiply_adds=body.multiply_adds + shortcut.multiply_adds,
            kept_bytes=body.activation_bytes + shortcut.activation_bytes + _bytes(shape),
        )

    def sum_shape(self, body_shape: Shape, shortcut_shape: Shape) -> Shape:
        """Give the shape of the sum of both branches' outputs.

        Raises:
            ShapeError: The two differ.
        """
        if body_shape != shortcut_shape:
            raise ShapeError(
                f"residual cannot add its body's {shape_text(body_shape)} "
                f"to its shortcut's {shape_text(shortcut_shape)}"
            )
        return body_shape

    def to_data(self) -> Any:
        """Write both branches; the shortcut is left out where it passes the input on."""
        options = {
            name: [layer.to_data() for layer in layers] for name, layers in self.branches if layers
        }
        return {self.kind: options}


@dataclass(frozen=True, slots=True)
class Patches(Layer):
    """Runs one network on every patch of an image, each patch for itself.

    What the network makes of a patch (K scores) is one pixel of the output (K channels).
    It is what a fully convolutional network replaces: overlapping patches are computed
    over and over.
    """

    kind: ClassVar[str] = "patches"

    size: Size
    stride: Size
    layers: tuple[Layer, ...]

    @property
    def text(self) -> str:
        """Describe the layer: `patches 32x32, stride 8x8`."""
        stride = f", stride {shape_text(self.stride)}" if self.stride != (1, 1) else ""
        return f"{self.kind} {shape_text(self.size)}{stride}"

    @property
    def window(self) -> Window:
        """Give the window that a patch is."""
        return Window(self.size, self.stride)

    def measure(self, input_shape: Shape) -> Measure:
        """Count the inner network's parameters once, its products for every patch."""
        places = self.places(input_shape)
        inner = _chain(self.layers, (input_shape[0], *self.size))
        shape = self.scores_shape(inner.output_shape, places)
        num_places = math.prod(places)
        return Measure(
            shape,
            parameters=inner.parameters,
            multiply_adds=inner.multiply_adds * num_places,
            window=self.window,
            kept_bytes=inner.activation_bytes * num_places + _bytes(shape),
        )

    def places(self, input_shape: Shape) -> Size:
        """Count the rows and columns of patches.

        Raises:
            ShapeError: The input is no image, or smaller than a patch.
        """
        return slide(self, input_shape, window=self.window)

    def scores_shape(self, inner_shape: Shape, places: Size) -> Shape:
        """Give the output's shape from what the inner network gives for a patch.

        Raises:
            ShapeError: That is neither a vector nor an image of one pixel.
        """
        if inner_shape[1:] not in ((), (1, 1)):
            raise ShapeError(
                f"{self.text} needs a network that makes a vector of a patch, or one pixel, "
                f"got {shape_text(inner_shape)}; end it with flatten and linear"
            )
        return (inner_shape[0], *places)

    def to_data(self) -> Any:
        """Write the patch and the inner network; a stride of 1 is left out."""
        options: dict[str, Any] = {"size": plain(self.size)}
        if self.stride != (1, 1):
            options["stride"] = plain(self.stride)
        return {self.kind: options | {"layers": [layer.to_data() for layer in self.layers]}}


def _chain(layers: Iterable[Layer], input_shape: Shape) -> Measure:
    """Measure layers one after the other as one; its window is left open."""
    shape, parameters, multiply_adds, kept_bytes = input_shape, 0, 0, 0
    for layer in layers:
        measure = layer.measure(shape)
        shape = measure.output_shape
        parameters += measure.parameters
        multiply_adds += measure.multiply_adds
        kept_bytes += measure.activation_bytes
    return Measure(shape, parameters, multiply_adds, kept_bytes=kept_bytes)


def _bytes(shape: Shape) -> int:
    return FLOAT32_BYTES * math.prod(shape)
