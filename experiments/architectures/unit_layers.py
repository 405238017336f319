"""Layers of units beside `Linear`: maxout, and the fixed ones of the perceptron."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from experiments.architectures.geometry import Shape
from experiments.architectures.layers import (
    FLOAT32_BYTES,
    MAX_UNITS,
    Layer,
    Measure,
    features_of,
)
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
        weights = features_of(self, input_shape) * functions
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
        """Count the weights as fixed numbers, none as parameters."""
        weights = features_of(self, input_shape) * self.out_features
        return Measure((self.out_features,), multiply_adds=weights, fixed_numbers=weights)
