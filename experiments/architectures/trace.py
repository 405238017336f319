"""A signal followed through the layers of a network: its shape, and what it has seen."""

import functools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import ReceptiveField, Shape, ShapeError, Size
from experiments.architectures.joins import From, Join, Tap, graph_faults
from experiments.architectures.layers import Layer, Measure


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One row of a network's table.

    `path` is the layer's name in the torch module (`4.body.1`), `depth` how many blocks
    it stands in. A block follows its own layers, as the addition that ends it or as the
    patches put together, so that a table's parameters, fixed numbers, multiply-adds and
    activation bytes (of one example) add up to the network's. `receptive_field` and
    `lost_border` are (height, width) in pixels, of the network's and of the layer's input;
    the first is None for a network whose input is a vector. Shapes inside `patches` are
    those of one patch, the counts those of all.
    """

    path: str
    kind: str
    text: str
    input_shape: Shape
    output_shape: Shape
    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: Size | None
    lost_border: Size
    depth: int
    fixed_numbers: int = 0


def trace(layers: Sequence[Layer], input_shape: Shape) -> list[LayerSummary]:
    """Follow an input's shape through every layer, those inside blocks included.

    Raises:
        ShapeError: A layer does not fit, or a tap is missing; the message names the layer.
    """
    for index, message in graph_faults(layers):
        raise ShapeError(f"layer {index}: {message}", path=str(index))
    field = ReceptiveField() if len(input_shape) == 3 else None
    walk = _Walk([], {})
    walk.follow(layers, _Signal(input_shape, field))
    return walk.rows


@dataclass(frozen=True, slots=True)
class _Signal:
    """What travels through the layers: a shape, and what its elements have seen."""

    shape: Shape
    field: ReceptiveField | None


@dataclass(frozen=True, slots=True)
class _Walk:
    """The rows so far, and the signals that taps have named."""

    rows: list[LayerSummary]
    taps: dict[str, _Signal]

    def follow(
        self, layers: Sequence[Layer], signal: _Signal, *, prefix: str = "", depth: int = 0
    ) -> _Signal:
        """Send a signal through layers, add their rows, give what comes out."""
        for index, layer in enumerate(layers):
            path = f"{prefix}{index}"
            if isinstance(layer, Residual):
                signal = self._residual(layer, signal, path, depth)
            elif isinstance(layer, Patches):
                signal = self._patches(layer, signal, path, depth)
            elif isinstance(layer, Tap | From | Join) and depth == 0:
                signal = self._joint(layer, signal, path)
            else:
                with _named(path):
                    measure = layer.measure(signal.shape)
                signal = self._add(layer, signal, measure, path, depth)
        return signal

    def _add(
        self,
        layer: Layer,
        signal: _Signal,
        measure: Measure,
        path: str,
        depth: int,
        *,
        text: str | None = None,
    ) -> _Signal:
        """Add a layer's row; give what comes out of it."""
        field = None if signal.field is None else signal.field.through(measure.window)
        size = signal.shape[1:]
        self.rows.append(
            LayerSummary(
                path=path,
                kind=layer.kind,
                text=layer.text if text is None else text,
                input_shape=signal.shape,
                output_shape=measure.output_shape,
                parameters=measure.parameters,
                multiply_adds=measure.multiply_adds,
                activation_bytes=measure.activation_bytes,
                receptive_field=None if field is None else field.size,
                lost_border=measure.window.lost_border((size[0], size[1])) if size else (0, 0),
                depth=depth,
                fixed_numbers=measure.fixed_numbers,
            )
        )
        return _Signal(measure.output_shape, field)

    def _residual(self, layer: Residual, signal: _Signal, path: str, depth: int) -> _Signal:
        body, shortcut = (
            self.follow(layers, signal, prefix=f"{path}.{name}.", depth=depth + 1)
            for name, layers in layer.branches
        )
        with _named(path):
            own = layer.addition(body.shape, shortcut.shape)
        joined = _Signal(signal.shape, _union([body, shortcut]))
        return self._add(layer, joined, own, path, depth, text="add")

    def _patches(self, layer: Patches, signal: _Signal, path: str, depth: int) -> _Signal:
        """Follow one patch, and count it as often as there are patches."""
        with _named(path):
            num_places = math.prod(layer.places(signal.shape))
        start = len(self.rows)
        patch = _Signal(layer.patch_shape(signal.shape), signal.field)
        scores = self.follow(layer.layers, patch, prefix=f"{path}.layers.", depth=depth + 1)
        self.rows[start:] = [
            replace(
                row,
                multiply_adds=row.multiply_adds * num_places,
                activation_bytes=row.activation_bytes * num_places,
            )
            for row in self.rows[start:]
        ]
        with _named(path):
            own = layer.assembly(signal.shape, scores.shape)
        return self._add(layer, signal, own, path, depth)

    def _joint(self, layer: Tap | From | Join, signal: _Signal, path: str) -> _Signal:
        """Keep a signal, go back to one, or join some."""
        if isinstance(layer, Join):
            signals = [signal, *(self.taps[name] for name in layer.taps)]
            with _named(path):
                shape = layer.join([each.shape for each in signals])
            joined = _Signal(signal.shape, _union(signals))
            return self._add(layer, joined, Measure(shape), path, 0)
        if isinstance(layer, Tap):
            self.taps[layer.name] = signal
        tapped = self.taps[layer.name]
        here = replace(signal, field=tapped.field)
        return self._add(layer, here, Measure(tapped.shape, kept_bytes=0), path, 0)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Let a misfit name its layer."""
    try:
        yield
    except ShapeError as error:
        raise ShapeError(f"layer {path}: {error}", path=path) from error


def _union(signals: Sequence[_Signal]) -> ReceptiveField | None:
    """Give what the join of signals sees; None for vectors of numbers."""
    fields = [signal.field for signal in signals if signal.field is not None]
    return functools.reduce(ReceptiveField.union, fields) if fields else None
