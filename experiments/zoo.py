"""The named architectures, and how a spec's `model:` becomes an architecture.

`read_model` reads what the spec says into a `ModelChoice`; `build` makes an `Architecture`
of it for one trial. The networks themselves are in `networks.py`.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from experiments import networks, templates
from experiments.architecture import Architecture
from experiments.fields import NoOptions, Record, fields_of
from experiments.geometry import Shape, ShapeError, shape_text
from experiments.kinds import INVALID, Choice, Faults, Name, Schema, nearest, show
from experiments.layer_language import layers_schema, read_layers
from experiments.layers import Activation
from experiments.printable import number_text
from experiments.source import Entry, Node, join
from experiments.templates import HiddenActivation, Template, TrialDropout


@dataclass(frozen=True, slots=True)
class NamedArchitecture:
    """A network that a spec can ask for by name.

    `network` gives the layer templates for its options and an input shape.
    """

    name: str
    doc: str
    paper: str
    options: type[Any]
    network: Callable[[Any, Shape], list[Template]]
    uses_activation: bool = True
    uses_dropout: bool = False

    @property
    def depths(self) -> tuple[int, ...]:
        """Give the depths that short names such as `vgg16` may end in."""
        field = fields_of(self.options).get("depth")
        kind = field.kind if field else None
        return tuple(int(name) for name in kind.names) if isinstance(kind, Choice) else ()


_ALL: Final = (
    NamedArchitecture(
        "softmax_regression",
        "one linear layer: multinomial logistic regression",
        "Cox, The Regression Analysis of Binary Sequences, 1958",
        NoOptions,
        networks.softmax_regression,
        uses_activation=False,
    ),
    NamedArchitecture(
        "mlp",
        "fully connected layers",
        "Rumelhart, Hinton and Williams, Learning Representations by Back-Propagating Errors, 1986",
        networks.MlpOptions,
        networks.mlp,
    ),
    NamedArchitecture(
        "keras_convnet",
        "two convolutions and two fully connected layers",
        "Chollet, Deep Learning with Python, 2017, chapter 5",
        NoOptions,
        networks.keras_convnet,
    ),
    NamedArchitecture(
        "lenet5",
        "two convolutions with average pooling, for 28x28 and 32x32 pixels",
        "LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998",
        NoOptions,
        networks.lenet5,
    ),
    NamedArchitecture(
        "vgg",
        "stacked 3x3 convolutions; dropout in the head",
        "Simonyan and Zisserman, Very Deep Convolutional Networks, 2015",
        networks.VggOptions,
        networks.vgg,
        uses_dropout=True,
    ),
    NamedArchitecture(
        "resnet",
        "residual blocks with batch norm",
        "He et al., Deep Residual Learning for Image Recognition, 2016",
        networks.ResnetOptions,
        networks.resnet,
    ),
)
_NAMED: Final[Mapping[str, NamedArchitecture]] = {named.name: named for named in _ALL}


def models() -> Mapping[str, NamedArchitecture]:
    """Give the named architectures by name."""
    return _NAMED


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What a spec's `model:` asks for.

    `options` are plain values, defaults filled in. `layers` are the templates of a
    network written out in the spec, None for a named architecture.
    """

    name: str
    options: Mapping[str, Any]
    layers: tuple[Template, ...] | None = None

    @property
    def label(self) -> str:
        """Give a short name that tells the options: `vgg11`, `vgg11 width=0.25`."""
        if self.layers is not None:
            return self.name
        label = f"{self.name}{self.options.get('depth', '')}"
        for key, field in fields_of(_NAMED[self.name].options).items():
            value = self.options[key]
            if key != "depth" and value != _plain(field.default):
                label += f" {key}={_label(value)}"
        return label

    @property
    def uses_activation(self) -> bool:
        """Say whether the trial's hidden activation makes a difference."""
        if self.layers is None:
            return _NAMED[self.name].uses_activation
        return templates.contains(self.layers, HiddenActivation)

    @property
    def uses_dropout(self) -> bool:
        """Say whether the trial's dropout makes a difference."""
        if self.layers is None:
            return _NAMED[self.name].uses_dropout
        return templates.contains(self.layers, TrialDropout)

    def to_data(self) -> dict[str, Any]:
        """Write the choice as a spec would, in full; equal choices give equal data."""
        if self.layers is not None:
            return {"name": self.name, "layers": templates.to_data(self.layers)}
        return {"name": self.name, **self.options}


def build(
    choice: ModelChoice,
    *,
    input_shape: Shape,
    outputs: int,
    activation: Activation | str = "relu",
    dropout: float = 0.0,
) -> Architecture:
    """Make the network of a choice for one trial.

    `activation` and `dropout` are the trial's; `outputs` is the number that its task needs.

    Raises:
        ShapeError: The input is too small, or the network does not end in `outputs`
            numbers; the message names the layer and the shapes.
    """
    if isinstance(activation, str):
        activation = Activation(activation)
    layers = templates.fill(
        _templates(choice, input_shape), activation=activation, dropout=dropout, outputs=outputs
    )
    architecture = Architecture(choice.label, input_shape, layers)
    if architecture.output_shape != (outputs,):
        raise ShapeError(
            f"{choice.label} ends in {shape_text(architecture.output_shape)} "
            f"where the task needs {outputs} outputs; end it with flatten and linear: classes"
        )
    return architecture


def _templates(choice: ModelChoice, input_shape: Shape) -> tuple[Template, ...]:
    if choice.layers is not None:
        return choice.layers
    named = _NAMED[choice.name]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in choice.options.items()}
    return tuple(named.network(named.options(**values), input_shape))


def read_model(node: Node, path: str, faults: Faults) -> Any:
    """Read a value of `model:` into a `ModelChoice`; `INVALID` if anything is at fault."""
    if node.kind == "scalar" and isinstance(node.value, str):
        return _read_named(node, Node("mapping", (), node.position), path, faults)
    if node.kind != "mapping":
        message = f"must be a model's name, or a mapping with the key name, got {show(node)}"
        return faults.add(node, path, message)
    entries = node.entries()
    if "name" not in entries:
        return faults.add(node, path, "the key 'name' is missing: which model this is")
    rest = Node("mapping", tuple(e for e in node.value if e.key != "name"), node.position)
    name = entries["name"].value
    if "layers" in entries:
        return _read_written_out(name, rest, path, faults)
    return _read_named(name, rest, path, faults)


def _read_written_out(name: Node, rest: Node, path: str, faults: Faults) -> Any:
    """Read a network given by its layers."""
    text = Name().read(name, join(path, "name"), faults)
    if text is not INVALID and is_named(text):
        message = f"{text!r} is a named architecture; give a network of your own another name"
        text = faults.add(name, join(path, "name"), message)
    for entry in rest.value:
        if entry.key != "layers":
            message = f"unknown key {entry.key!r}; a network with layers has name and layers only"
            text = faults.add(entry, path, message)
    layers = read_layers(rest.entries()["layers"].value, join(path, "layers"), faults)
    return INVALID if text is INVALID or layers is INVALID else ModelChoice(text, {}, layers)


def _read_named(name: Node, options: Node, path: str, faults: Faults) -> Any:
    """Read a named architecture and its options."""
    if not isinstance(name.value, str) or not is_named(name.value):
        return _unknown(name, path, faults)
    resolved = resolve_name(name, options, path, faults)
    if resolved is INVALID:
        return INVALID
    named, options = resolved
    if not fields_of(named.options) and options.value:
        return faults.add(options.value[0], path, f"{named.name} takes no options")
    values = Record(named.options).read(options, path, faults)
    if values is INVALID:
        return INVALID
    plain = {key: _plain(getattr(values, key)) for key in fields_of(named.options)}
    return ModelChoice(named.name, plain)


def is_named(text: str) -> bool:
    """Say whether a text names an architecture, alone or with a depth (`vgg`, `vgg16`)."""
    return _split(text) is not None


def known_names() -> tuple[str, ...]:
    """Give the names of all architectures, the short ones among them."""
    return (*_NAMED, *_short_names())


def resolve_name(name: Node, options: Node, path: str, faults: Faults) -> Any:
    """Give an architecture, and the options with the depth that its name may say.

    `INVALID` where there is no such depth, or where the options say it as well.
    """
    split = _split(name.value)
    assert split is not None, name.value
    named, depth = split
    if depth is None:
        return named, options
    if depth not in named.depths:
        known = ", ".join(str(known) for known in named.depths)
        return faults.add(name, path, f"{named.name} has the depths {known}, got {depth}")
    if "depth" in options.entries():
        message = f"{name.value!r} already says the depth"
        return faults.add(options.entries()["depth"], join(path, "depth"), message)
    given = Entry("depth", Node("scalar", depth, name.position), name.position)
    return named, dataclasses.replace(options, value=(*options.value, given))


def _unknown(name: Node, path: str, faults: Faults) -> Any:
    if not isinstance(name.value, str):
        return faults.add(name, join(path, "name"), f"must be a text, got {show(name)}")
    meant = nearest(name.value, known_names())
    message = (
        f"unknown model {name.value!r}{meant}; known models: {', '.join(_NAMED)}; "
        "or write it out under layers"
    )
    return faults.add(name, path, message)


def _split(text: str) -> tuple[NamedArchitecture, int | None] | None:
    """Take a name such as `vgg16` apart; None where it names no architecture."""
    if text in _NAMED:
        return _NAMED[text], None
    match = re.fullmatch(r"([a-z_]+)([0-9]{1,9})", text)
    named = _NAMED.get(match[1]) if match else None
    return (named, int(match[2])) if match and named and named.depths else None


def _short_names() -> tuple[str, ...]:
    return tuple(f"{named.name}{depth}" for named in _ALL for depth in named.depths)


def model_schema() -> Schema:
    """Give the JSON Schema of a value of `model:`; needs `layer_definitions` as `$defs`."""
    known = {"enum": list(known_names())}
    forms = [_form(named) for named in _ALL]
    written_out = {
        "type": "object",
        "properties": {"name": Name().schema(), "layers": layers_schema()},
        "required": ["name", "layers"],
        "additionalProperties": False,
    }
    return {"anyOf": [known, *forms, written_out]}


def _form(named: NamedArchitecture) -> Schema:
    """Give the schema of `{name: ..., options}` of one named architecture."""
    form = Record(named.options).schema()
    names = [named.name, *(f"{named.name}{depth}" for depth in named.depths)]
    properties = {"name": {"enum": names}} | form["properties"]
    return form | {"properties": properties, "required": ["name"], "description": named.doc}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _label(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(str(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value) if isinstance(value, int | float) else str(value)
