"""Taps and joins: what makes a graph of a list of layers.

A tap names the signal where it stands. Further on the network may go back to it (`from`)
or join it to the signal of that place (`add`, `concat`). They stand among the outermost
layers only, so that every path through the network can be read off one list.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from experiments.architectures.geometry import Shape, ShapeError, shape_text
from experiments.architectures.layers import Layer, Measure
from experiments.language.compound_kinds import ListOf
from experiments.language.kinds import Name


class _Joint(Layer):
    """What taps and joins share: they have no measure of their own."""

    __slots__ = ()

    def measure(self, input_shape: Shape) -> Measure:
        """Refuse: only the network as a whole knows its taps."""
        raise ShapeError(
            f"{self.text} stands inside a block, at {shape_text(input_shape)}; taps and joins "
            "work at the top level of a network only"
        )


@dataclass(frozen=True, slots=True)
class _Named(_Joint):
    """A layer that is nothing but the name of a tap."""

    name: Annotated[str, Name(max_length=50), "the name of a signal"]

    @property
    def text(self) -> str:
        """Describe the layer: `tap pool4`."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Tap(_Named):
    """Names the signal at this place."""

    kind: ClassVar[str] = "tap"


@dataclass(frozen=True, slots=True)
class From(_Named):
    """Goes back to a tap: the next layer works on its signal."""

    kind: ClassVar[str] = "from"


@dataclass(frozen=True, slots=True)
class Join(_Joint):
    """Makes one signal of the present one and of those of some taps."""

    taps: Annotated[
        tuple[str, ...],
        ListOf(Name(max_length=50), min_length=1),
        "the tap, or taps, to join to the signal of this place",
    ]

    def __post_init__(self) -> None:
        """Refuse a tap that is named twice."""
        if len(set(self.taps)) < len(self.taps):
            raise ValueError(f"names a tap twice: {', '.join(self.taps)}")

    @property
    def text(self) -> str:
        """Describe the layer: `add pool4`."""
        return f"{self.kind} {', '.join(self.taps)}"

    @abstractmethod
    def join(self, shapes: Sequence[Shape]) -> Shape:
        """Give the joined shape; the first is that of the place, the others those of `taps`.

        Raises:
            ShapeError: They cannot be joined.
        """

    def _refuse(self, shapes: Sequence[Shape], rule: str) -> ShapeError:
        here, *tapped = map(shape_text, shapes)
        pairs = zip(tapped, self.taps, strict=True)
        taps = ", ".join(f"{shape} at the tap {name}" for shape, name in pairs)
        return ShapeError(f"{self.kind} needs {rule}, got {here} at its place, {taps}")


@dataclass(frozen=True, slots=True)
class Add(Join):
    """Adds signals, element by element."""

    kind: ClassVar[str] = "add"

    def join(self, shapes: Sequence[Shape]) -> Shape:
        """Give the shape that all have in common."""
        if len(set(shapes)) > 1:
            raise self._refuse(shapes, "signals of one shape")
        return shapes[0]


@dataclass(frozen=True, slots=True)
class Concat(Join):
    """Stacks the channels (or features) of signals, its own place's first."""

    kind: ClassVar[str] = "concat"

    def join(self, shapes: Sequence[Shape]) -> Shape:
        """Add up the channels of images of one size, or the features of vectors."""
        if len({shape[1:] for shape in shapes}) > 1:
            raise self._refuse(shapes, "images of one size, or vectors")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def taps_read(layer: Any) -> tuple[str, ...]:
    """Give the names of the taps that a layer (or a template) reads."""
    if isinstance(layer, Join):
        return layer.taps
    return (layer.name,) if isinstance(layer, From) else ()


def rename_taps(layers: Iterable[Layer], names: Mapping[str, str]) -> tuple[Layer, ...]:
    """Give taps new names, where they stand and where they are read; others keep theirs."""

    def renamed(layer: Layer) -> Layer:
        match layer:
            case Tap() | From():
                return replace(layer, name=names.get(layer.name, layer.name))
            case Join():
                return replace(layer, taps=tuple(names.get(name, name) for name in layer.taps))
        return layer

    return tuple(map(renamed, layers))


def graph_faults(layers: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """Find what is wrong with the taps of a network, of layers or templates.

    Yields:
        The index of the layer at fault and what is wrong with it.
    """
    known: set[str] = set()
    for index, layer in enumerate(layers):
        for name in taps_read(layer):
            if name not in known:
                taps = ", ".join(known) or "none"
                yield index, f"there is no tap {name!r} before it; there are: {taps}"
            elif isinstance(layer, From) and not isinstance(layers[index - 1], Tap):
                yield index, "the signal before it is lost; give it a tap, and join it further on"
        if isinstance(layer, Tap):
            if layer.name in known:
                yield index, f"the tap {layer.name!r} exists already; each needs its own name"
            known.add(layer.name)


def unused_taps(layers: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """Find taps that nothing reads: a slip of the pen, or what is left of a network cut short.

    Yields:
        The index of the tap and what to do about it.
    """
    used = {name for layer in layers for name in taps_read(layer)}
    for index, layer in enumerate(layers):
        if isinstance(layer, Tap) and layer.name not in used:
            yield index, f"nothing uses the tap {layer.name!r}; take it out, or name it further on"
