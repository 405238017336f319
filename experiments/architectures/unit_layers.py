"""Layers of units beside `Linear`: maxout, and the fixed ones of the perceptron."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from experiments.architectures.geometry import Shape, ShapeError, shape_text
from experiments.architectures.layers import FLOAT32_BYTES, MAX_UNITS, Layer, Measure
from experiments.language.kinds import Flag, Integer


@dataclass(frozen=True, slots=True)
class Maxout(Layer):
    """Units that give the largest of some linear functions of the inputs.

    Two pieces can make relu, leaky relu and the absolute value. Source: Goodfellow et al.,
    "Maxout Networks", 2013, section 3.
    """

    kind: ClassVar[str] = "maxout"

    out_features: Annotated[int, Integer(1, MAX_UNITS), "number of units"]
    pieces: Annotated[int, Integer(1, 1000), "linear functions of each unit"] = 2
    bias: Annotated[bool, Flag(), "whether each linear function adds a constant"] = True

    @property
    def text(self) -> str:
        """Describe the layer: `maxout 64 of 2`."""
        return f"{self.kind} {self.out_features} of {self.pieces}"

    def measure(self, input_shape: Shape) -> Measure:
        """Count `(inputs + 1) outputs` parameters for each of the pieces."""
        functions = self.out_features * self.pieces
        weights = _features(self, input_shape) * functions
        return Measure(
            (self.out_features,),
            parameters=weights + functions * self.bias,
            multiply_adds=weights,
            kept_bytes=FLOAT32_BYTES * (functions + self.out_features),
        )


@dataclass(frozen=True, slots=True)
class AssociativeUnits(Layer):
    """Units `sign(v x)` with fixed random weights v: nothing in them is learned.

    Source: Rosenblatt, "The Perceptron: A Probabilistic Model for Information Storage and
    Organization in the Brain", 1958; the associative units between sensor and response.
    """

    kind: ClassVar[str] = "associative_units"

    out_features: Annotated[int, Integer(1, MAX_UNITS), "number of units"]

    @property
    def text(self) -> str:
        """Describe the layer: `associative_units 512`."""
        return f"{self.kind} {self.out_features}"

    def measure(self, input_shape: Shape) -> Measure:
        """Count products, and no parameters."""
        products = _features(self, input_shape) * self.out_features
        return Measure((self.out_features,), multiply_adds=products)


def _features(layer: Layer, input_shape: Shape) -> int:
    """Give the length of the vector that a layer of units needs."""
    if len(input_shape) != 1:
        raise ShapeError(
            f"{layer.text} needs a vector, got {shape_text(input_shape)}; put flatten before it"
        )
    return input_shape[0]
