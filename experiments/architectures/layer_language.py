"""The layer language: the `layers:` list of a spec -> layers and placeholders.

An item is a name (`flatten`, `relu`), a name with options (`conv2d: {...}`), or a name
with the one option that matters most (`max_pool2d: 2`). Some items leave something open:
`activation` and `dropout` without options are the trial's, and what has `classes` outputs
is sized by the task. `tap`, `from`, `add` and `concat` make a graph of the list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from experiments.architectures.activations import ACTIVATIONS
from experiments.architectures.geometry import Size
from experiments.architectures.joins import Add, Concat, From, Join, Tap, graph_faults, unused_taps
from experiments.architectures.layer_options import AlphaOptions, ConvolutionRecord, LinearOptions
from experiments.architectures.layers import Activation, BatchNorm, Dropout, Flatten, Reshape
from experiments.architectures.templates import (
    HiddenActivation,
    Template,
    TrialDropout,
    patches,
    residual,
)
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.architectures.unit_layers import AssociativeUnits, Maxout
from experiments.architectures.upsampling_layers import ConvTranspose2d, Upsample
from experiments.architectures.window_layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    LocallyConnected2d,
    MaxPool2d,
)
from experiments.language.compound_kinds import Pair
from experiments.language.fields import Record, fields_of
from experiments.language.kinds import INVALID, Faults, Kind, Schema, nearest, show
from experiments.language.source import Node, join

MAX_LAYERS: Final = 2000
"""The most that a spec's list holds: more take longer to plan than anybody waits."""


@dataclass(frozen=True, slots=True)
class LayerList(Kind):
    """A list of layers, given as a tuple of templates.

    `outermost` is the network's own list, where taps and joins may stand. `recorded` is
    what a store holds: there are layers in it that no spec can write, and a network that
    was cut may have taps that nothing reads.
    """

    min_length: int = 1
    outermost: bool = False
    recorded: bool = False

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "a list of layers"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read all layers; each wrong one is a fault of its own."""
        if node.kind != "list":
            return self._refuse(node, path, faults)
        items = node.items()
        if len(items) < self.min_length:
            return faults.add(node, path, "needs at least one layer, got an empty list")
        if len(items) > MAX_LAYERS and not self.recorded:
            message = f"takes at most {MAX_LAYERS} layers, got {len(items)}"
            return faults.add(node, path, message)
        kinds = {**_KINDS, **_RECORDED} if self.recorded else _KINDS
        layers = [_read_layer(item, f"{path}[{i}]", faults, kinds) for i, item in enumerate(items)]
        if any(layer is INVALID for layer in layers):
            return INVALID
        wrong = list(graph_faults(layers) if self.outermost else _misplaced(layers))
        if self.outermost and not self.recorded:
            wrong += unused_taps(layers)
        for index, message in wrong:
            faults.add(items[index], f"{path}[{index}]", message)
        return INVALID if wrong else tuple(layers)

    def schema(self) -> Schema:
        """Give an array schema that refers to `layer_definitions`."""
        items = {"$ref": "#/$defs/layer"}
        return {
            "type": "array",
            "items": items,
            "minItems": self.min_length,
            "maxItems": MAX_LAYERS,
        }


@dataclass(frozen=True, slots=True)
class _ResidualOptions:
    body: Annotated[tuple[Template, ...], LayerList(), "the layers that learn the residual"]
    shortcut: Annotated[
        tuple[Template, ...], LayerList(min_length=0), "the layers beside it; none: the input"
    ] = ()

    def template(self) -> Template:
        return residual(self.body, self.shortcut)


@dataclass(frozen=True, slots=True)
class _PatchesOptions:
    size: Annotated[Size, Pair(), "height and width of a patch, in pixels"]
    layers: Annotated[
        tuple[Template, ...], LayerList(), "the network that makes a pixel's scores of a patch"
    ]
    stride: Annotated[Size, Pair(), "pixels from one patch to the next"] = (1, 1)

    def template(self) -> Template:
        return patches(self.size, self.stride, self.layers)


_KINDS: Final[Mapping[str, Record]] = {
    "conv2d": ConvolutionRecord(Conv2d),
    "locally_connected2d": Record(LocallyConnected2d),
    "linear": Record(LinearOptions, short="out_features"),
    "maxout": Record(Maxout, short="out_features"),
    "associative_units": Record(AssociativeUnits, short="out_features"),
    "max_pool2d": Record(MaxPool2d, short="kernel_size"),
    "avg_pool2d": Record(AvgPool2d, short="kernel_size"),
    "adaptive_avg_pool2d": Record(AdaptiveAvgPool2d, short="output_size"),
    "upsample": Record(Upsample, short="scale"),
    "conv_transpose2d": ConvolutionRecord(ConvTranspose2d),
    "activation": Record(Activation, short="name"),
    "batch_norm": Record(BatchNorm),
    "dropout": Record(Dropout, short="p"),
    "flatten": Record(Flatten),
    "reshape": Record(Reshape, short="shape"),
    "residual": Record(_ResidualOptions),
    "patches": Record(_PatchesOptions),
    "tap": Record(Tap, short="name"),
    "from": Record(From, short="name"),
    "add": Record(Add, short="taps"),
    "concat": Record(Concat, short="taps"),
}
# Its parameters are measured, so they are not for a person to write: that is `model:`.
_RECORDED: Final[Mapping[str, Record]] = {"torchvision": Record(TorchvisionNetwork)}
# `linear` as a layer is the fully connected one; `activation: linear` is the function.
_FUNCTIONS: Final = {name: known for name, known in ACTIVATIONS.items() if name not in _KINDS}
_ALPHA: Final = Record(AlphaOptions, short="alpha")
_OPEN: Final[Mapping[str, Template]] = {
    "activation": HiddenActivation(),
    "dropout": TrialDropout(),
}


def layer_names() -> tuple[str, ...]:
    """Give every name that an item of a layer list may start with."""
    return (*_KINDS, *_FUNCTIONS)


def read_layers(node: Node, path: str, faults: Faults, *, recorded: bool = False) -> Any:
    """Read a network's list into a tuple of templates; `INVALID` if anything is at fault.

    `recorded` allows what only a plan or a store writes: layers whose figures are measured.
    """
    return LayerList(outermost=True, recorded=recorded).read(node, path, faults)


def layers_schema() -> Schema:
    """Give the JSON Schema of a `layers:` list; needs `layer_definitions` as `$defs`."""
    return LayerList(outermost=True).schema()


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


def _misplaced(layers: list[Any]) -> list[tuple[int, str]]:
    """Find taps and joins in a block's list."""
    message = "taps and joins work at the top level of a network only, not inside a block"
    return [
        (index, message)
        for index, layer in enumerate(layers)
        if isinstance(layer, Tap | From | Join)
    ]


def _read_layer(node: Node, path: str, faults: Faults, kinds: Mapping[str, Record]) -> Any:
    """Read one item of a layer list."""
    if node.kind == "scalar" and isinstance(node.value, str):
        return _read_named(node.value, None, node, path, faults, kinds)
    if node.kind == "mapping" and len(node.value) == 1:
        entry = node.value[0]
        given = None if entry.value.kind == "scalar" and entry.value.value is None else entry.value
        return _read_named(entry.key, given, entry, path, faults, kinds)
    message = f"a layer is a name, or one name with its options, got {show(node)}"
    return faults.add(node, path, message)


def _read_named(
    name: str,
    options: Node | None,
    place: Any,
    path: str,
    faults: Faults,
    kinds: Mapping[str, Record],
) -> Any:
    """Read a layer by its name; `options` is None where none are given."""
    if name not in kinds and name not in _FUNCTIONS:
        known = ", ".join(layer_names())
        meant = nearest(name, layer_names())
        return faults.add(place, path, f"unknown layer {name!r}{meant}; known layers: {known}")
    if options is None:
        return _without_options(name, place, path, faults)
    path = join(path, name)
    if name in _FUNCTIONS:
        return _read_function(name, options, path, faults)
    if not fields_of(kinds[name].cls):
        return faults.add(options, path, f"takes no options, got {show(options)}")
    return _with_options(kinds[name], options, path, faults)


def _read_function(name: str, options: Node, path: str, faults: Faults) -> Any:
    if _FUNCTIONS[name].alpha is None:
        return faults.add(options, path, f"takes no options, got {show(options)}")
    alpha = _ALPHA.read(options, path, faults)
    return INVALID if alpha is INVALID else Activation(name, alpha.alpha)


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
    return value.template() if isinstance(value, _TEMPLATED) else value


_TEMPLATED: Final = (LinearOptions, _ResidualOptions, _PatchesOptions)
"""Options that may leave something open."""


def _required(name: str) -> list[str]:
    """Give the options without which a layer cannot be built."""
    if name in _FUNCTIONS:
        return []
    fields = fields_of(_KINDS[name].cls)
    return [option for option, field in fields.items() if field.required]
