"""A network as data: an input shape, concrete layers, and what follows from them.

One definition feeds everything: the plan's shapes and costs, the torch module, the
report's table, and the content key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.architectures.geometry import Shape, ShapeError, Size, shape_text
from experiments.architectures.layer_language import read_layers
from experiments.architectures.layers import Layer
from experiments.architectures.trace import LayerSummary, trace
from experiments.language.kinds import Faults
from experiments.language.source import from_values

__all__ = ["Architecture", "LayerSummary"]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network, complete: nothing in it is left to the trial or to the task."""

    name: str
    input_shape: Shape
    layers: tuple[Layer, ...]

    def trace(self) -> tuple[LayerSummary, ...]:
        """Follow an input's shape through every layer, the branches of blocks included.

        Raises:
            ShapeError: A layer does not fit; the message names it and the shapes.
        """
        try:
            return tuple(trace(self.layers, self.input_shape))
        except ShapeError as error:
            place = f"{self.name} does not fit an input of {shape_text(self.input_shape)}"
            raise ShapeError(f"{place}: {error}", path=error.path) from error

    @property
    def parameters(self) -> int:
        """Count the learned parameters; raises ShapeError like `trace`."""
        return sum(row.parameters for row in self.trace())

    @property
    def multiply_adds(self) -> int:
        """Count one example's multiply-adds; raises ShapeError like `trace`."""
        return sum(row.multiply_adds for row in self.trace())

    @property
    def activation_bytes(self) -> int:
        """Give the memory of one example's activations; raises ShapeError like `trace`."""
        return sum(row.activation_bytes for row in self.trace())

    @property
    def output_shape(self) -> Shape:
        """Give the output's shape; raises ShapeError like `trace`."""
        return self.trace()[-1].output_shape

    @property
    def receptive_field(self) -> Size | None:
        """Give what one output sees of the image, padding included; None for a vector."""
        return self.trace()[-1].receptive_field

    def to_data(self) -> dict[str, Any]:
        """Give the network as JSON-ready data; its layers in the layer language.

        Equal networks give equal data, however a spec spelled them.
        """
        return {
            "name": self.name,
            "input_shape": list(self.input_shape),
            "layers": [layer.to_data() for layer in self.layers],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Architecture":
        """Rebuild the network from `to_data`'s result.

        Raises:
            SpecError: The layers are not in the layer language.
            ValueError: A layer is left to the trial or to the task.
        """
        faults = Faults(f"architecture {data['name']}")
        templates = read_layers(from_values(data["layers"]), "layers", faults, recorded=True)
        faults.raise_any()
        open_ones = [template for template in templates if not isinstance(template, Layer)]
        if open_ones:
            raise ValueError(f"architecture {data['name']} is not complete: {open_ones[0]!r}")
        return cls(data["name"], tuple(data["input_shape"]), templates)
