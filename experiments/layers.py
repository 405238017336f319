"""Layers as data: each knows its shapes, parameters and cost by arithmetic, without torch.

Adding a layer means one record here (or in `window_layers.py`, if it slides a window over
an image), its torch form in `workers/modules.py`, and its name in `layer_language.py`.
Shapes exclude the batch: `(C, H, W)` or `(F,)`.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from experiments.activations import ACTIVATIONS, LATER_ACTIVATIONS
from experiments.geometry import POINT, Shape, ShapeError, Window, shape_text
from experiments.kinds import Choice, Flag, Integer, Number

MAX_UNITS: Final = 10_000_000
"""The most channels or features that a layer may ask for."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a layer makes of an input shape.

    `parameters` counts what is learned. `multiply_adds` counts the products of
    convolutions and linear layers for one example; biases, activations, pooling and
    normalisation cost next to nothing beside them and count 0.
    """

    output_shape: Shape
    parameters: int = 0
    multiply_adds: int = 0
    window: Window = POINT


class Layer(ABC):
    """One layer of a network; its subclasses are frozen records of its options."""

    __slots__ = ()

    kind: ClassVar[str]
    """The layer's name in the layer language."""

    @abstractmethod
    def measure(self, input_shape: Shape) -> Measure:
        """Work out everything that follows from the input's shape.

        Raises:
            ShapeError: The layer does not fit the shape.
        """

    @property
    def text(self) -> str:
        """Describe the layer in a few words, for tables and messages."""
        return self.kind

    def output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; raises ShapeError like `measure`."""
        return self.measure(input_shape).output_shape

    def parameters(self, input_shape: Shape) -> int:
        """Count the learned parameters; raises ShapeError like `measure`."""
        return self.measure(input_shape).parameters

    def multiply_adds(self, input_shape: Shape) -> int:
        """Count one example's multiply-adds; raises ShapeError like `measure`."""
        return self.measure(input_shape).multiply_adds

    def to_data(self) -> Any:
        """Write the layer in the layer language, as plain data.

        Equal layers give equal data. Defaults are left out, so that an option added later
        changes no content key; a default itself may not change without a new
        `SEMANTICS_VERSION`.
        """
        options = {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]  # all are records
            if getattr(self, field.name) != field.default
        }
        return {self.kind: options} if options else self.kind


@dataclass(frozen=True, slots=True)
class Linear(Layer):
    """A fully connected layer: every output sees every input."""

    kind: ClassVar[str] = "linear"

    out_features: Annotated[int, Integer(1, MAX_UNITS), "number of outputs"]
    bias: Annotated[bool, Flag(), "whether each output adds a constant"] = True

    @property
    def text(self) -> str:
        """Describe the layer: `linear 64`."""
        return f"{self.kind} {self.out_features}"

    def measure(self, input_shape: Shape) -> Measure:
        """Count `(inputs + 1) outputs` parameters."""
        if len(input_shape) != 1:
            raise ShapeError(
                f"{self.text} needs a vector, got {shape_text(input_shape)}; put flatten before it"
            )
        weights = input_shape[0] * self.out_features
        return Measure(
            (self.out_features,),
            parameters=weights + self.out_features * self.bias,
            multiply_adds=weights,
        )


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """A pointwise activation function of `activations.ACTIVATIONS`."""

    kind: ClassVar[str] = "activation"

    name: Annotated[str, Choice(tuple(ACTIVATIONS), later=LATER_ACTIVATIONS), "which function"]
    alpha: Annotated[
        float | None, Number(minimum=0), "option of leaky_relu (slope) and elu (floor)"
    ] = None

    def __post_init__(self) -> None:
        """Fill in alpha's default; refuse it where the function has none."""
        default = ACTIVATIONS[self.name].alpha
        if self.alpha is None:
            object.__setattr__(self, "alpha", default)
        elif default is None:
            raise ValueError(f"{self.name} has no alpha, got alpha={self.alpha:g}")

    @property
    def text(self) -> str:
        """Describe the layer: `relu`, `leaky_relu 0.2`."""
        return self.name if self._is_default else f"{self.name} {self.alpha:g}"

    def measure(self, input_shape: Shape) -> Measure:
        """Change values only."""
        return Measure(input_shape)

    def to_data(self) -> Any:
        """Write the function's name, with alpha where it is not the default."""
        options = {"name": self.name, "alpha": self.alpha}
        return {self.kind: self.name if self._is_default else options}

    @property
    def _is_default(self) -> bool:
        return self.alpha == ACTIVATIONS[self.name].alpha


@dataclass(frozen=True, slots=True)
class BatchNorm(Layer):
    """Normalises each channel (or feature) over the batch, then scales and shifts it."""

    kind: ClassVar[str] = "batch_norm"

    def measure(self, input_shape: Shape) -> Measure:
        """Count a scale and a shift for each channel."""
        return Measure(input_shape, parameters=2 * input_shape[0])


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Sets elements to zero by chance while training, and scales the others up."""

    kind: ClassVar[str] = "dropout"

    p: Annotated[float, Number(minimum=0, below=1), "probability of dropping an element"]

    @property
    def text(self) -> str:
        """Describe the layer: `dropout 0.5`."""
        return f"{self.kind} {self.p:g}"

    def measure(self, input_shape: Shape) -> Measure:
        """Change values only."""
        return Measure(input_shape)


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """Turns an image into a vector, channel by channel, row by row."""

    kind: ClassVar[str] = "flatten"

    def measure(self, input_shape: Shape) -> Measure:
        """Keep the number of elements; the vector as a whole sees the whole image."""
        window = Window((input_shape[1], input_shape[2])) if len(input_shape) == 3 else POINT
        return Measure((math.prod(input_shape),), window=window)


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
        ends, parameters, multiply_adds = [], 0, 0
        for _, layers in self.branches:
            shape = input_shape
            for layer in layers:
                measure = layer.measure(shape)
                shape = measure.output_shape
                parameters += measure.parameters
                multiply_adds += measure.multiply_adds
            ends.append(shape)
        return Measure(self.sum_shape(*ends), parameters, multiply_adds)

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


def _plain(value: Any) -> Any:
    """Give an option's value as JSON has it; a square size is one number."""
    if isinstance(value, tuple):
        return value[0] if len(set(value)) == 1 else list(value)
    return value
