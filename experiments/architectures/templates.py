"""Layers that leave something to the trial or to the task, and how it is filled in.

A template is a layer, or a placeholder for what a trial's hyperparameters (`activation`,
`dropout`) or its task (`classes`) decide. Named architectures and the layer language give
templates; `fill` makes the layers of an architecture from them.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import Shape, Size
from experiments.architectures.layers import Activation, Dropout, Layer, Linear, plain
from experiments.architectures.upsampling_layers import ConvTranspose2d
from experiments.architectures.window_layers import Conv2d


@dataclass(frozen=True, slots=True)
class HiddenActivation:
    """The trial's hidden activation."""

    def to_data(self) -> Any:
        """Write the placeholder in the layer language."""
        return "activation"


@dataclass(frozen=True, slots=True)
class TrialDropout:
    """Dropout with the trial's probability."""

    def to_data(self) -> Any:
        """Write the placeholder in the layer language."""
        return "dropout"


@dataclass(frozen=True, slots=True)
class Head:
    """The linear output layer, with as many outputs as the task needs."""

    bias: bool = True

    def to_data(self) -> Any:
        """Write the placeholder in the layer language."""
        options: dict[str, Any] = {"out_features": "classes"}
        return {"linear": options if self.bias else options | {"bias": False}}


@dataclass(frozen=True, slots=True)
class ConvHead:
    """A convolution with as many output channels as the task needs.

    `layer` gives its other options; its own number of channels is a stand-in, 1.
    """

    layer: Conv2d | ConvTranspose2d

    def __post_init__(self) -> None:
        """Hold the stand-in, so that equal heads are equal."""
        assert self.layer.out_channels == 1, self.layer

    def to_data(self) -> Any:
        """Write the placeholder in the layer language."""
        options = self.layer.to_data()[self.layer.kind]
        return {self.layer.kind: options | {"out_channels": "classes"}}


@dataclass(frozen=True, slots=True)
class ResidualTemplate:
    """A residual block with placeholders in it."""

    body: tuple["Template", ...]
    shortcut: tuple["Template", ...] = ()

    @property
    def inner(self) -> tuple["Template", ...]:
        """Give the templates of both branches."""
        return self.body + self.shortcut

    def to_data(self) -> Any:
        """Write the block in the layer language; an empty shortcut is left out."""
        branches = {"body": self.body, "shortcut": self.shortcut}
        return {"residual": {name: to_data(items) for name, items in branches.items() if items}}


@dataclass(frozen=True, slots=True)
class PatchesTemplate:
    """A network for patches with placeholders in it."""

    size: Size
    stride: Size
    inner: tuple["Template", ...]

    def to_data(self) -> Any:
        """Write the block in the layer language; a stride of 1 is left out."""
        options = {"size": plain(self.size), "stride": plain(self.stride)}
        if self.stride == (1, 1):
            del options["stride"]
        return {"patches": options | {"layers": to_data(self.inner)}}


Template = (
    Layer | HiddenActivation | TrialDropout | Head | ConvHead | ResidualTemplate | PatchesTemplate
)


def residual(body: Sequence[Template], shortcut: Sequence[Template] = ()) -> Template:
    """Make a residual block: a layer if all in it are layers, otherwise a template."""
    body_layers, shortcut_layers = _complete(body), _complete(shortcut)
    if body_layers is None or shortcut_layers is None:
        return ResidualTemplate(tuple(body), tuple(shortcut))
    return Residual(body_layers, shortcut_layers)


def patches(size: Size, stride: Size, layers: Sequence[Template]) -> Template:
    """Make a network for patches: a layer if all in it are layers, otherwise a template."""
    inner = _complete(layers)
    if inner is None:
        return PatchesTemplate(size, stride, tuple(layers))
    return Patches(size, stride, inner)


def fill(
    templates: Iterable[Template], *, activation: Activation, dropout: float, output_shape: Shape
) -> tuple[Layer, ...]:
    """Put a trial's hyperparameters and a task's outputs in place.

    A linear head gives all numbers of `output_shape`, a convolutional one its channels.
    Inside `patches` both give the channels: a patch is one pixel of the output.
    """

    def layers(items: Iterable[Template], outputs: int) -> tuple[Layer, ...]:
        return tuple(layer(item, outputs) for item in items)

    def layer(template: Template, outputs: int) -> Layer:
        match template:
            case HiddenActivation():
                return activation
            case TrialDropout():
                return Dropout(float(dropout))  # 0 and 0.0 are written alike
            case Head(bias=bias):
                return Linear(outputs, bias=bias)
            case ConvHead(layer=head):
                return dataclasses.replace(head, out_channels=output_shape[0])
            case ResidualTemplate(body=body, shortcut=shortcut):
                return Residual(layers(body, outputs), layers(shortcut, outputs))
            case PatchesTemplate(size=size, stride=stride, inner=inner):
                return Patches(size, stride, layers(inner, output_shape[0]))
            case _:
                return template

    return layers(templates, math.prod(output_shape))


def contains(templates: Iterable[Template], placeholder: type[Template]) -> bool:
    """Say whether a placeholder of that kind stands anywhere in the templates."""
    return any(
        isinstance(item, placeholder)
        or (
            isinstance(item, ResidualTemplate | PatchesTemplate)
            and contains(item.inner, placeholder)
        )
        for item in templates
    )


def to_data(templates: Iterable[Template]) -> list[Any]:
    """Write templates in the layer language, as plain data; equal ones give equal data."""
    return [template.to_data() for template in templates]


def _complete(templates: Sequence[Template]) -> tuple[Layer, ...] | None:
    """Give templates as layers; None where a placeholder is among them."""
    layers = tuple(item for item in templates if isinstance(item, Layer))
    return layers if len(layers) == len(templates) else None
