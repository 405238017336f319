"""How a spec's `model:` becomes an architecture.

`read_model` reads what the spec says into a `ModelChoice`; `build` makes an `Architecture`
of it for one trial. The networks themselves are in `networks/`, their names in
`named_architectures.py`.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.architectures import architecture_plugins, named_architectures, templates
from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape, ShapeError, shape_text
from experiments.architectures.layer_language import layers_schema, read_layers
from experiments.architectures.layers import Activation, Layer
from experiments.architectures.networks import BUILT_IN
from experiments.architectures.networks.named import VECTOR_TASKS, NamedArchitecture
from experiments.architectures.templates import HiddenActivation, Template, TrialDropout
from experiments.architectures.torchvision_networks import (
    PREFIX,
    WEIGHTS,
    TorchvisionMeasurer,
    TorchvisionNetwork,
    TorchvisionOptions,
    check_image,
)
from experiments.language.fields import Record, fields_of
from experiments.language.kinds import INVALID, Faults, Name, Schema, nearest, show
from experiments.language.printable import number_text
from experiments.language.source import Entry, Node, join


def models() -> Mapping[str, NamedArchitecture]:
    """Give the named architectures by name, those of installed packages last.

    torchvision's, which go by `torchvision/<name>`, are in `torchvision_networks.WEIGHTS`.
    """
    return named_architectures.models()


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
        named = named_architectures.get(self.name)
        label = named.short_name(self.options[named.short_option]) if named.depths else self.name
        for key, field in fields_of(named.options).items():
            told = key == named.short_option and named.depths
            value = self.options[key]
            if not told and value != _plain(field.default):
                label += f" {key}={_label(value)}"
        return label

    @property
    def uses_activation(self) -> bool:
        """Say whether the trial's hidden activation makes a difference."""
        if self.layers is None:
            return named_architectures.get(self.name).uses_activation
        return templates.contains(self.layers, HiddenActivation)

    @property
    def uses_dropout(self) -> bool:
        """Say whether the trial's dropout makes a difference."""
        if self.layers is None:
            return named_architectures.get(self.name).uses_dropout
        return templates.contains(self.layers, TrialDropout)

    def to_data(self) -> dict[str, Any]:
        """Write the choice as a spec would, in full; equal choices give equal data."""
        if self.layers is not None:
            return {"name": self.name, "layers": templates.to_data(self.layers)}
        return {"name": self.name, **self.options}


def task_fault(choice: ModelChoice, task: str) -> str | None:
    """Say why a model is not made for a task, and which are; None if nothing speaks against it.

    A network that is written out may do anything that its last layer has the shape for.
    """
    if choice.layers is not None:
        return None
    named = named_architectures.get(choice.name)
    if task in named.tasks:
        return None
    return (
        f"{choice.name} does {' and '.join(named.tasks)}, not {task}; "
        f"models for {task}: {_models_for(task)}"
    )


def build(
    choice: ModelChoice,
    *,
    input_shape: Shape,
    output_shape: Shape,
    activation: Activation | str = "relu",
    dropout: float = 0.0,
    measure_torchvision: TorchvisionMeasurer | None = None,
) -> Architecture:
    """Make the network of a choice for one trial.

    `activation` and `dropout` are the trial's; `output_shape` is what its task needs.
    `measure_torchvision` may be left out where no network of torchvision's is chosen.

    Raises:
        ShapeError: The input does not fit, or the network does not end in `output_shape`;
            the message names the layer and the shapes.
    """
    if choice.name.startswith(PREFIX):
        assert measure_torchvision is not None, "torchvision's networks need to be measured"
        layers: tuple[Layer, ...] = (
            _of_torchvision(choice, input_shape, output_shape, measure_torchvision),
        )
    else:
        layers = templates.fill(
            _templates(choice, input_shape),
            activation=Activation(activation) if isinstance(activation, str) else activation,
            dropout=dropout,
            output_shape=output_shape,
        )
    architecture = Architecture(choice.label, input_shape, layers)
    if architecture.output_shape != output_shape:
        raise ShapeError(
            f"{choice.label} ends in {shape_text(architecture.output_shape)} "
            f"where the task needs {shape_text(output_shape)}; {_mend(choice, output_shape)}",
            path=str(len(layers) - 1),
        )
    return architecture


def _templates(choice: ModelChoice, input_shape: Shape) -> tuple[Template, ...]:
    if choice.layers is not None:
        return choice.layers
    named = named_architectures.get(choice.name)
    assert named.network is not None, choice.name
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in choice.options.items()}
    options = named.options(**values)
    if choice.name in BUILT_IN:
        return tuple(named.network(options, input_shape))
    return architecture_plugins.layers_of(named, options, input_shape)


def _of_torchvision(
    choice: ModelChoice, input_shape: Shape, output_shape: Shape, measure: TorchvisionMeasurer
) -> TorchvisionNetwork:
    name = choice.name.removeprefix(PREFIX)
    check_image(name, input_shape)
    outputs = math.prod(output_shape)
    found = measure(name, input_shape, outputs)
    return TorchvisionNetwork(
        name,
        outputs,
        found.parameters,
        found.multiply_adds,
        found.num_activations,
        norms_single_values=found.norms_single_values,
        **choice.options,
    )


def _mend(choice: ModelChoice, output_shape: Shape) -> str:
    """Say how to get the output that the task needs."""
    vector = len(output_shape) == 1
    if choice.layers is None:
        tasks = VECTOR_TASKS if vector else ("segmentation", "reconstruction")
        return "; ".join(f"models for {task}: {_models_for(task)}" for task in tasks)
    if vector:
        return "end it with flatten and linear: classes"
    return (
        "end it with conv2d: {out_channels: classes, kernel_size: 1} on a map of the image's size"
    )


def _models_for(task: str) -> str:
    return ", ".join(name for name, named in models().items() if task in named.tasks)


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
    if text is not INVALID and named_architectures.find_built_in(text):
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
    if not isinstance(name.value, str):
        return faults.add(name, join(path, "name"), f"must be a text, got {show(name)}")
    resolved = resolve_name(name, options, path, faults)
    if resolved is None:
        return faults.add(name, path, _unknown(name.value))
    if resolved is INVALID:
        return INVALID
    named, options = resolved
    if not fields_of(named.options) and options.value:
        return faults.add(options.value[0], path, f"{named.name} takes no options")
    try:
        values = Record(named.options).read(options, path, faults)
    except ValueError as error:  # options that contradict each other
        return faults.add(name, path, str(error))
    if values is INVALID:
        return INVALID
    plain = {key: _plain(getattr(values, key)) for key in fields_of(named.options)}
    if message := _weights_fault(named.name, plain):
        weights = options.entries()["weights"].value
        return faults.add(weights, join(path, "weights"), message)
    return ModelChoice(named.name, plain)


def resolve_name(name: Node, options: Node, path: str, faults: Faults) -> Any:
    """Give the architecture of a name, and the options with the number that it may tell.

    Returns:
        None where the name means nothing; `INVALID`, with a fault noted, where there is no
        such number, the options say it as well, or the package cannot be used.
    """
    found = named_architectures.find(name.value)
    if found is None:
        return None
    if isinstance(found, str):
        return faults.add(name, path, found)
    named, number = found
    option = named.short_option
    if number is None:
        return named, options
    if number not in named.depths:
        known = ", ".join(str(known) for known in named.depths)
        return faults.add(name, path, f"{named.name} has the {option}s {known}, got {number}")
    if option in options.entries():
        message = f"{name.value!r} already says the {option}"
        return faults.add(options.entries()[option], join(path, option), message)
    given = Entry(option, Node("scalar", number, name.position), name.position)
    return named, dataclasses.replace(options, value=(*options.value, given))


def _weights_fault(name: str, options: Mapping[str, Any]) -> str | None:
    weights = options.get("weights") if name.startswith(PREFIX) else None
    known = WEIGHTS.get(name.removeprefix(PREFIX), ())
    if weights is None or weights in known:
        return None
    return f"{name} has the weights {', '.join(known)}, got {weights}"


def _unknown(name: str) -> str:
    """Say that a name means no architecture, and which ones do."""
    meant = nearest(name, named_architectures.known_names())
    if name.startswith(PREFIX):
        return f"unknown model {name!r}{meant}; torchvision has {', '.join(WEIGHTS)}"
    return (
        f"unknown model {name!r}{meant}; known models: {', '.join(models())}; torchvision/<name>; "
        "or write it out under layers"
    )


def model_schema() -> Schema:
    """Give the JSON Schema of a value of `model:`; needs `layer_definitions` as `$defs`."""
    known = {"enum": list(named_architectures.known_names())}
    forms = [
        _form(named.options, (named.name, *named.short_names)) | {"description": named.doc}
        for named in models().values()
    ]
    forms.append(_form(TorchvisionOptions, [PREFIX + name for name in WEIGHTS]))
    written_out = {
        "type": "object",
        "properties": {"name": Name().schema(), "layers": layers_schema()},
        "required": ["name", "layers"],
        "additionalProperties": False,
    }
    return {"anyOf": [known, *forms, written_out]}


def _form(options: type[Any], names: Iterable[str]) -> Schema:
    """Give the schema of `{name: ..., options}` of architectures with these options."""
    form = Record(options).schema()
    properties = {"name": {"enum": list(names)}} | form["properties"]
    return form | {"properties": properties, "required": ["name"]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _label(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(str(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value) if isinstance(value, int | float) else str(value)
