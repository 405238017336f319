"""What the layer language takes beside a layer's own options: heads, and a function's alpha."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Final

from experiments.architectures.activations import ALPHA
from experiments.architectures.layers import MAX_UNITS, Linear
from experiments.architectures.templates import ConvHead, Head, Template
from experiments.language.compound_kinds import Either
from experiments.language.fields import Record
from experiments.language.kinds import INVALID, Choice, Faults, Flag, Integer, Kind, Schema
from experiments.language.source import Entry, Node, join

CLASSES: Final = "classes"
"""What a spec writes for: as many as the task needs."""

_OUTPUTS: Final[Kind] = Either((Integer(1, MAX_UNITS), Choice((CLASSES,))))
_CHANNELS: Final = "out_channels"


@dataclass(frozen=True, slots=True)
class LinearOptions:
    """The options of `linear`, as a layer or as a head."""

    out_features: Annotated[
        int | str, _OUTPUTS, "number of outputs; classes: as many as the task needs"
    ]
    bias: Annotated[bool, Flag(), "whether each output adds a constant"] = True

    def template(self) -> Template:
        """Give what the options describe."""
        if isinstance(self.out_features, str):
            return Head(bias=self.bias)
        return Linear(self.out_features, bias=self.bias)


@dataclass(frozen=True, slots=True)
class AlphaOptions:
    """The option of the functions that have one."""

    alpha: Annotated[float, ALPHA, "slope (leaky_relu) or floor (elu) below zero"]


@dataclass(frozen=True, slots=True)
class ConvolutionRecord(Record):
    """A convolution's options, with `out_channels: classes` for a head, given as a template."""

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a layer or a head; raises ValueError where options contradict each other."""
        if node.kind != "mapping" or _CHANNELS not in node.entries():
            return Record.read(self, node, path, faults)
        entries = node.entries()
        channels = _OUTPUTS.read(entries[_CHANNELS].value, join(path, _CHANNELS), faults)
        if channels == CLASSES and "groups" in entries:
            message = "must be left out where out_channels is classes"
            return faults.add(entries["groups"], join(path, "groups"), message)
        # Its own fault is noted; a number in its place lets the others be found as well.
        number = 1 if channels is INVALID or channels == CLASSES else channels
        layer = Record.read(self, _with_channels(node, number), path, faults)
        if channels is INVALID or layer is INVALID:
            return INVALID
        return ConvHead(layer) if channels == CLASSES else layer

    def schema(self) -> Schema:
        """Give the layer's schema with the word allowed."""
        schema = Record.schema(self)
        number = schema["properties"][_CHANNELS]
        doc = f"{number['description']}; classes: as many as the task needs"
        channels = _OUTPUTS.schema() | {"description": doc}
        return schema | {"properties": schema["properties"] | {_CHANNELS: channels}}


def _with_channels(node: Node, number: int) -> Node:
    """Replace the number of channels in a node of options."""
    entries = []
    for entry in node.value:
        value = dataclasses.replace(entry.value, value=number, kind="scalar")
        entries.append(Entry(entry.key, value, entry.position) if entry.key == _CHANNELS else entry)
    return dataclasses.replace(node, value=tuple(entries))
