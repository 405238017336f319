"""Layers as data: each knows its shapes, parameters and cost by arithmetic, without torch.

Here are the layers that take any place in a network. Those with units or windows of their
own are in `unit_layers.py`, `window_layers.py` and `upsampling_layers.py`, layers made of
layers in `blocks.py`, and the joins of a graph in `joins.py`. Adding a layer means one
record in one of them, its torch form in `workers/modules.py`, and its name in
`layer_language.py`. Shapes exclude the batch: `(C, H, W)` or `(F,)`.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from experiments.architectures.activations import ACTIVATIONS, ALPHA, FUNCTION
from experiments.architectures.geometry import POINT, Shape, ShapeError, Window, shape_text
from experiments.architectures.image_shape import ImageDimensions, ImageShape
from experiments.language.kinds import Flag, Integer, Number

MAX_UNITS: Final = 10_000_000
"""The most channels or features that a layer may ask for."""

FLOAT32_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Measure:
    """What a layer makes of an input shape.

    `parameters` counts what is learned. `multiply_adds` counts the products of
    convolutions and linear layers for one example; biases, activations, pooling,
    upsampling and normalisation cost next to nothing beside them and count 0.
    `kept_bytes` is the memory that the layer takes for one example while training, in
    float32, where that is not its output's: nothing for another view of the input, all
    inner outputs for a block. `fixed_numbers` counts the weights that are never learned.
    """

    output_shape: Shape
    parameters: int = 0
    multiply_adds: int = 0
    window: Window = POINT
    kept_bytes: int | None = None
    fixed_numbers: int = 0

    @property
    def activation_bytes(self) -> int:
        """Give the memory of one example's output in float32, inner layers' included."""
        if self.kept_bytes is not None:
            return self.kept_bytes
        return FLOAT32_BYTES * math.prod(self.output_shape)


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
            field.name: plain(getattr(self, field.name))
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
        weights = features_of(self, input_shape) * self.out_features
        return Measure(
            (self.out_features,),
            parameters=weights + self.out_features * self.bias,
            multiply_adds=weights,
        )


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """An activation function of `activations.ACTIVATIONS`."""

    kind: ClassVar[str] = "activation"

    name: Annotated[str, FUNCTION, "which function"]
    alpha: Annotated[float | None, ALPHA, "option of leaky_relu (slope) and elu (floor)"] = None

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
        return Measure((math.prod(input_shape),), window=whole(input_shape), kept_bytes=0)


@dataclass(frozen=True, slots=True)
class Reshape(Layer):
    """Gives the same numbers another shape: flatten undone."""

    kind: ClassVar[str] = "reshape"

    shape: Annotated[ImageShape, ImageDimensions(MAX_UNITS), "[channels, height, width]"]

    @property
    def text(self) -> str:
        """Describe the layer: `reshape 1x28x28`."""
        return f"{self.kind} {shape_text(self.shape)}"

    def measure(self, input_shape: Shape) -> Measure:
        """Keep the number of elements."""
        if math.prod(input_shape) != math.prod(self.shape):
            raise ShapeError(
                f"{self.text} needs {math.prod(self.shape)} numbers, got "
                f"{math.prod(input_shape)} in {shape_text(input_shape)}"
            )
        return Measure(self.shape, window=whole(input_shape), kept_bytes=0)

    def to_data(self) -> Any:
        """Write all three numbers, equal or not."""
        return {self.kind: {"shape": list(self.shape)}}


def features_of(layer: Layer, input_shape: Shape) -> int:
    """Give the length of the vector that a layer of units needs; ShapeError for an image."""
    if len(input_shape) != 1:
        raise ShapeError(
            f"{layer.text} needs a vector, got {shape_text(input_shape)}; put flatten before it"
        )
    return input_shape[0]


def whole(shape: Shape) -> Window:
    """Give the window that covers a whole image; of a vector, a point."""
    return Window((shape[1], shape[2])) if len(shape) == 3 else POINT


def plain(value: Any) -> Any:
    """Give an option's value as JSON has it; a square size is one number."""
    if isinstance(value, tuple):
        return value[0] if len(set(value)) == 1 else list(value)
    return value
