"""A network as data: an input shape, concrete layers, and what follows from them.

One definition feeds everything: the plan's shapes and costs, the torch module, the
report's table, and the content key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.geometry import ReceptiveField, Shape, ShapeError, Size, shape_text
from experiments.kinds import Faults
from experiments.layer_language import read_layers
from experiments.layers import Layer, Residual
from experiments.source import from_values


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One row of a network's table.

    `path` is the layer's name in the torch module (`4.body.1`), `depth` how many blocks
    it stands in. A residual block follows its own layers, as the addition that ends it,
    so that a table's parameters and multiply-adds (of one example) add up to the network's.
    `receptive_field` and `lost_border` are (height, width) in pixels, of the network's and
    of the layer's input; the first is None for a network whose input is a vector.
    """

    path: str
    kind: str
    text: str
    input_shape: Shape
    output_shape: Shape
    parameters: int
    multiply_adds: int
    receptive_field: Size | None
    lost_border: Size
    depth: int


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
        rows: list[LayerSummary] = []
        field = ReceptiveField() if len(self.input_shape) == 3 else None
        start = _Signal(self.input_shape, field)
        try:
            _follow(self.layers, start, rows, prefix="", depth=0)
        except ShapeError as error:
            place = f"{self.name} does not fit an input of {shape_text(self.input_shape)}"
            raise ShapeError(f"{place}: {error}") from error
        return tuple(rows)

    @property
    def parameters(self) -> int:
        """Count the learned parameters; raises ShapeError like `trace`."""
        return sum(row.parameters for row in self.trace())

    @property
    def multiply_adds(self) -> int:
        """Count one example's multiply-adds; raises ShapeError like `trace`."""
        return sum(row.multiply_adds for row in self.trace())

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
        templates = read_layers(from_values(data["layers"]), "layers", faults)
        faults.raise_any()
        open_ones = [template for template in templates if not isinstance(template, Layer)]
        if open_ones:
            raise ValueError(f"architecture {data['name']} is not complete: {open_ones[0]!r}")
        return cls(data["name"], tuple(data["input_shape"]), templates)


@dataclass(frozen=True, slots=True)
class _Signal:
    """What travels through the layers: a shape, and what its elements have seen."""

    shape: Shape
    field: ReceptiveField | None


def _follow(
    layers: Sequence[Layer], signal: _Signal, rows: list[LayerSummary], *, prefix: str, depth: int
) -> _Signal:
    """Send a signal through layers, add their rows, give what comes out."""
    for index, layer in enumerate(layers):
        path = f"{prefix}{index}"
        if isinstance(layer, Residual):
            signal = _follow_residual(layer, signal, rows, path=path, depth=depth)
        else:
            signal = _follow_layer(layer, signal, rows, path=path, depth=depth)
    return signal


def _follow_layer(
    layer: Layer, signal: _Signal, rows: list[LayerSummary], *, path: str, depth: int
) -> _Signal:
    try:
        measure = layer.measure(signal.shape)
    except ShapeError as error:
        raise ShapeError(f"layer {path}: {error}") from error
    field = None if signal.field is None else signal.field.through(measure.window)
    size = signal.shape[1:]
    rows.append(
        LayerSummary(
            path=path,
            kind=layer.kind,
            text=layer.text,
            input_shape=signal.shape,
            output_shape=measure.output_shape,
            parameters=measure.parameters,
            multiply_adds=measure.multiply_adds,
            receptive_field=None if field is None else field.size,
            lost_border=measure.window.lost_border((size[0], size[1])) if size else (0, 0),
            depth=depth,
        )
    )
    return _Signal(measure.output_shape, field)


def _follow_residual(
    layer: Residual, signal: _Signal, rows: list[LayerSummary], *, path: str, depth: int
) -> _Signal:
    body, shortcut = (
        _follow(layers, signal, rows, prefix=f"{path}.{name}.", depth=depth + 1)
        for name, layers in layer.branches
    )
    try:
        shape = layer.sum_shape(body.shape, shortcut.shape)
    except ShapeError as error:
        raise ShapeError(f"layer {path}: {error}") from error
    field = body.field.union(shortcut.field) if body.field and shortcut.field else None
    rows.append(
        LayerSummary(
            path=path,
            kind=layer.kind,
            text="add",
            input_shape=signal.shape,
            output_shape=shape,
            parameters=0,
            multiply_adds=0,
            receptive_field=None if field is None else field.size,
            lost_border=(0, 0),
            depth=depth,
        )
    )
    return _Signal(shape, field)
