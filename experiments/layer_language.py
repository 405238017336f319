"""The layer language: the `layers:` list of a spec -> layers and placeholders.

An item is a name (`flatten`, `relu`), a name with options (`conv2d: {...}`), or a name
with the one option that matters most (`max_pool2d: 2`). Three items leave something open:
`activation` and `dropout` without options are the trial's, `linear: classes` is sized by
the task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from experiments.activations import ACTIVATIONS, LATER_ACTIVATIONS
from experiments.compound_kinds import Either
from experiments.fields import Record, fields_of
from experiments.kinds import (
    INVALID,
    Choice,
    Faults,
    Flag,
    Integer,
    Kind,
    Number,
    Schema,
    nearest,
    show,
)
from experiments.layers import MAX_UNITS, Activation, BatchNorm, Dropout, Flatten, Linear
from experiments.source import Node, join
from experiments.templates import Head, HiddenActivation, Template, TrialDropout, residual
from experiments.window_layers import AdaptiveAvgPool2d, AvgPool2d, Conv2d, MaxPool2d


@dataclass(frozen=True, slots=True)
class LayerList(Kind):
    """A list of layers, given as a tuple of templates."""

    min_length: int = 1

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "a list of layers"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read all layers; each wrong one is a fault of its own."""
        if node.kind != "list":
            return self._refuse(node, path, faults)
        if len(node.items()) < self.min_length:
            return faults.add(node, path, "needs at least one layer, got an empty list")
        layers = [_read_layer(item, f"{path}[{i}]", faults) for i, item in enumerate(node.items())]
        return INVALID if INVALID in layers else tuple(layers)

    def schema(self) -> Schema:
        """Give an array schema that refers to `layer_definitions`."""
        items = {"$ref": "#/$defs/layer"}
        return {"type": "array", "items": items, "minItems": self.min_length}


@dataclass(frozen=True, slots=True)
class _LinearOptions:
    out_features: Annotated[
        int | str,
        Either((Integer(1, MAX_UNITS), Choice(("classes",)))),
        "number of outputs; classes: as many as the task needs",
    ]
    bias: Annotated[bool, Flag(), "whether each output adds a constant"] = True

    def template(self) -> Template:
        if isinstance(self.out_features, str):
            return Head(bias=self.bias)
        return Linear(self.out_features, bias=self.bias)


@dataclass(frozen=True, slots=True)
class _AlphaOptions:
    alpha: Annotated[float, Number(minimum=0), "slope (leaky_relu) or floor (elu) below zero"]


@dataclass(frozen=True, slots=True)
class _ResidualOptions:
    body: Annotated[tuple[Template, ...], LayerList(), "the layers that learn the residual"]
    shortcut: Annotated[
        tuple[Template, ...], LayerList(min_length=0), "the layers beside it; none: the input"
    ] = ()

    def template(self) -> Template:
        return residual(self.body, self.shortcut)


_KINDS: Final[Mapping[str, Record]] = {
    "conv2d": Record(Conv2d),
    "linear": Record(_LinearOptions, short="out_features"),
    "max_pool2d": Record(MaxPool2d, short="kernel_size"),
    "avg_pool2d": Record(AvgPool2d, short="kernel_size"),
    "adaptive_avg_pool2d": Record(AdaptiveAvgPool2d, short="output_size"),
    "activation": Record(Activation, short="name"),
    "batch_norm": Record(BatchNorm),
    "dropout": Record(Dropout, short="p"),
    "flatten": Record(Flatten),
    "residual": Record(_ResidualOptions),
}
# `linear` as a layer is the fully connected one; `activation: linear` is the function.
_FUNCTIONS: Final = {name: known for name, known in ACTIVATIONS.items() if name not in _KINDS}
_ALPHA: Final = Record(_AlphaOptions, short="alpha")
_OPEN: Final[Mapping[str, Template]] = {
    "activation": HiddenActivation(),
    "dropout": TrialDropout(),
}
_LATER: Final = (
    *LATER_ACTIVATIONS,
    "locally_connected2d",
    "upsample",
    "conv_transpose2d",
)
"""Layers that the language names and this version cannot build yet."""


def layer_names() -> tuple[str, ...]:
    """Give every name that an item of a layer list may start with."""
    return (*_KINDS, *_FUNCTIONS)


def read_layers(node: Node, path: str, faults: Faults) -> Any:
    """Read a `layers:` list into a tuple of templates; `INVALID` if anything is at fault."""
    return LayerList().read(node, path, faults)


def layers_schema() -> Schema:
    """Give the JSON Schema of a `layers:` list; needs `layer_definitions` as `$defs`."""
    return LayerList().schema()


def layer_definitions() -> dict[str, Schema]:
    """Give what `layers_schema` refers to, to be put under `$defs` of the whole schema."""
    bare = [name for name in layer_names() if name in _OPEN or not _required(name)]
    options = {name: kind.schema() for name, kind in _KINDS.items()}
    options |= {name: _ALPHA.schema() for name, known in _FUNCTIONS.items() if known.alpha}
    item = {
        "type": "object",
        "properties": options,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"layer": {"anyOf": [{"enum": bare}, item]}}


def _read_layer(node: Node, path: str, faults: Faults) -> Any:
    """Read one item of a layer list."""
    if node.kind == "scalar" and isinstance(node.value, str):
        return _read_named(node.value, None, node, path, faults)
    if node.kind == "mapping" and len(node.value) == 1:
        entry = node.value[0]
        given = None if entry.value.kind == "scalar" and entry.value.value is None else entry.value
        return _read_named(entry.key, given, entry, path, faults)
    message = f"a layer is a name, or one name with its options, got {show(node)}"
    return faults.add(node, path, message)


def _read_named(name: str, options: Node | None, place: Any, path: str, faults: Faults) -> Any:
    """Read a layer by its name; `options` is None where none are given."""
    if name in _LATER:
        return faults.add(place, path, f"{name!r} is not supported by this version yet")
    if name not in layer_names():
        known = ", ".join(layer_names())
        meant = nearest(name.lower(), layer_names())  # people write ReLU and Conv2d, too
        return faults.add(place, path, f"unknown layer {name!r}{meant}; known layers: {known}")
    if options is None:
        return _without_options(name, place, path, faults)
    path = join(path, name)
    if name in _FUNCTIONS:
        if _FUNCTIONS[name].alpha is None:
            return faults.add(options, path, f"takes no options, got {show(options)}")
        alpha = _ALPHA.read(options, path, faults)
        return INVALID if alpha is INVALID else Activation(name, alpha.alpha)
    if not fields_of(_KINDS[name].cls):
        return faults.add(options, path, f"takes no options, got {show(options)}")
    return _with_options(_KINDS[name], options, path, faults)


def _without_options(name: str, place: Any, path: str, faults: Faults) -> Any:
    if name in _OPEN:
        return _OPEN[name]
    if name in _FUNCTIONS:
        return Activation(name)
    if missing := _required(name):
        return faults.add(place, path, f"{name} needs {' and '.join(missing)}")
    return _KINDS[name].cls()


def _with_options(kind: Record, options: Node, path: str, faults: Faults) -> Any:
    try:
        value = kind.read(options, path, faults)
    except ValueError as error:  # options that contradict each other
        return faults.add(options, path, str(error))
    return value.template() if isinstance(value, _LinearOptions | _ResidualOptions) else value


def _required(name: str) -> list[str]:
    """Give the options without which a layer cannot be built."""
    if name in _FUNCTIONS:
        return []
    fields = fields_of(_KINDS[name].cls)
    return [option for option, field in fields.items() if field.required]
