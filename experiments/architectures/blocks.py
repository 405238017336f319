"""Layers made of layers: residual blocks, and a network run on every patch of an image."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
        own = self.addition(body.output_shape, shortcut.output_shape)
        return _with_inner(_with_inner(own, body), shortcut)

    def addition(self, body_shape: Shape, shortcut_shape: Shape) -> Measure:
        """Measure the addition alone.

        Raises:
            ShapeError: The two differ.
        """
        if body_shape != shortcut_shape:
            raise ShapeError(
                f"residual cannot add its body's {shape_text(body_shape)} "
                f"to its shortcut's {shape_text(shortcut_shape)}"
            )
        return Measure(body_shape)

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

    def measure(self, input_shape: Shape) -> Measure:
        """Count the inner network's parameters once, its products for every patch."""
        num_places = math.prod(self.places(input_shape))
        inner = _chain(self.layers, self.patch_shape(input_shape))
        own = self.assembly(input_shape, inner.output_shape)
        return _with_inner(own, inner, times=num_places)

    def places(self, input_shape: Shape) -> Size:
        """Count the rows and columns of patches.

        Raises:
            ShapeError: The input is no image, or smaller than a patch.
        """
        return slide(self, input_shape, window=self._window)

    def patch_shape(self, input_shape: Shape) -> Shape:
        """Give the shape of one patch."""
        return (input_shape[0], *self.size)

    def assembly(self, input_shape: Shape, inner_shape: Shape) -> Measure:
        """Measure the cutting and putting together alone, from what becomes of a patch.

        All patches are copied, and kept beside the scores.

        Raises:
            ShapeError: The inner network gives neither a vector nor an image of one pixel.
        """
        if inner_shape[1:] not in ((), (1, 1)):
            raise ShapeError(
                f"{self.text} needs a network that makes a vector of a patch, or one pixel, "
                f"got {shape_text(inner_shape)}; end it with flatten and linear"
            )
        places = self.places(input_shape)
        numbers = math.prod(self.patch_shape(input_shape)) + inner_shape[0]
        return Measure(
            (inner_shape[0], *places),
            window=self._window,
            kept_bytes=FLOAT32_BYTES * numbers * math.prod(places),
        )

    def to_data(self) -> Any:
        """Write the patch and the inner network; a stride of 1 is left out."""
        options: dict[str, Any] = {"size": plain(self.size)}
        if self.stride != (1, 1):
            options["stride"] = plain(self.stride)
        return {self.kind: options | {"layers": [layer.to_data() for layer in self.layers]}}

    @property
    def _window(self) -> Window:
        return Window(self.size, self.stride)


def _chain(layers: Iterable[Layer], input_shape: Shape) -> Measure:
    """Measure layers one after the other as one; its window is left open."""
    chain = Measure(input_shape, kept_bytes=0)
    for layer in layers:
        chain = _with_inner(layer.measure(chain.output_shape), chain)
    return chain


def _with_inner(own: Measure, inner: Measure, *, times: int = 1) -> Measure:
    """Add to a layer's own counts those of an inner one that runs so many times."""
    return replace(
        own,
        parameters=own.parameters + inner.parameters,
        multiply_adds=own.multiply_adds + inner.multiply_adds * times,
        kept_bytes=own.activation_bytes + inner.activation_bytes * times,
        fixed_numbers=own.fixed_numbers + inner.fixed_numbers,
    )
