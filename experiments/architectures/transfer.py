"""Transfer learning: a trained network's first layers as the beginning of another network.

`init:` of a spec names the trained network (`from`), where it is cut (`layers`), and which
of its layers are not trained again (`freeze`); `model:` is what stands on top of it. Source:
Yosinski et al., "How transferable are features in deep neural networks?", 2014.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape, ShapeError, shape_text
from experiments.architectures.joins import Tap, rename_taps
from experiments.architectures.layers import Layer
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.language.compound_kinds import Either
from experiments.language.fields import Field, read_fields
from experiments.language.kinds import INVALID, Choice, Faults, Integer, Kind, Schema, Text
from experiments.language.source import Node
from experiments.records import InitConfig

LAST: Final = "last"
SECOND_TO_LAST: Final = "second_to_last"
FEATURES: Final = "features"
NOTHING: Final = "none"


@dataclass(frozen=True, slots=True)
class InitChoice:
    """What a spec's `init:` asks for.

    `source` is an experiment (its best trial is meant) or a trial. `layers` says which
    layer's outputs the new network gets. `freeze` is "features" (all that was taken over),
    "none", or the last layer that is not trained: its place in the plan's table, or the
    name of a tap.
    """

    source: str
    freeze: str = FEATURES
    layers: str = SECOND_TO_LAST

    @property
    def label(self) -> str:
        """Give a short name that tells the options: `pretrain`, `pretrain freeze=none`."""
        label = self.source
        if self.freeze != FEATURES:
            label += f" freeze={self.freeze}"
        return label if self.layers == SECOND_TO_LAST else f"{label} layers={self.layers}"

    def to_data(self) -> dict[str, Any]:
        """Write the choice as a spec would, in full; equal choices give equal data."""
        return {"from": self.source, "freeze": self.freeze, "layers": self.layers}


@dataclass(frozen=True, slots=True)
class SourceNetwork:
    """A trained network: the trial that learned it, and where its weights lie."""

    trial_id: str
    architecture: Architecture
    sha256: str
    path: str


_FIELDS: Final = {
    "from": Field(
        Text(max_length=200),
        "the experiment (its best trial) or the trial that learned the weights",
    ),
    "layers": Field(
        Choice((LAST, SECOND_TO_LAST)),
        "which layer of the trained network feeds the model: its last one (the scores), or the "
        "one before it (the features)",
        SECOND_TO_LAST,
    ),
    "freeze": Field(
        Either((Text(max_length=100), Integer(0, 100_000))),
        "which layers keep their weights: features (all that are taken over), none, or the "
        "last one: its number in plan --layers, or the name of a tap",
        FEATURES,
    ),
}


class InitKind(Kind):
    """Weights by chance (`none`, given as None), or from a trained network (`InitChoice`)."""

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "none, or {from: an experiment or a trial, layers, freeze}"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read None or an `InitChoice`."""
        if node.kind == "scalar" and node.value in (None, NOTHING):
            return None
        if node.kind != "mapping":
            return self._refuse(node, path, faults)
        values = read_fields(node, path, faults, _FIELDS)
        if values is None:
            return INVALID
        freeze, layers = values.get("freeze", FEATURES), values.get("layers", SECOND_TO_LAST)
        return InitChoice(values["from"], str(freeze), layers)

    def schema(self) -> Schema:
        """Give the schema of both forms."""
        properties = {
            name: field.kind.schema() | {"description": field.doc}
            for name, field in _FIELDS.items()
        }
        form = {
            "type": "object",
            "properties": properties,
            "required": ["from"],
            "additionalProperties": False,
        }
        return {"anyOf": [{"enum": [NOTHING, None]}, form]}


def extend(
    choice: InitChoice,
    source: SourceNetwork,
    *,
    build_head: Callable[[Shape], Architecture],
    name: str,
) -> tuple[Architecture, InitConfig]:
    """Put a network on top of the first layers of a trained one.

    Args:
        choice: Where the trained network is cut, and what is frozen.
        source: The trained network.
        build_head: Makes the network on top for the shape that it is given.
        name: What the whole is called.

    Raises:
        ShapeError: Nothing is left to take over, the frozen layer is none of those taken
            over, or the network on top does not fit their outputs.
    """
    taken = _taken_over(choice, source)
    features = Architecture(source.architecture.name, source.architecture.input_shape, taken)
    head = build_head(features.output_shape)
    names = _new_names(taken, head.layers)
    whole = Architecture(name, features.input_shape, rename_taps(taken, names) + head.layers)
    frozen = _num_frozen(choice, source, taken)
    init = InitConfig(source.trial_id, source.sha256, source.path, len(taken), frozen)
    return whole, init


def input_fault(source: SourceNetwork, input_shape: Shape) -> str | None:
    """Say why a trained network cannot take the inputs of this data; None where it can."""
    wanted = source.architecture.input_shape
    if wanted == input_shape:
        return None
    return (
        f"{source.trial_id} learned on inputs of {shape_text(wanted)}, this data has "
        f"{shape_text(input_shape)}; bring it to that size with data.resize"
    )


def _taken_over(choice: InitChoice, source: SourceNetwork) -> tuple[Layer, ...]:
    """Give the layers up to the cut: all of them, or those before the last with weights."""
    layers = source.architecture.layers
    if choice.layers == LAST:
        return layers
    weighted = sorted(
        {
            int(row.path.partition(".")[0])
            for row in source.architecture.trace()
            if row.parameters or row.fixed_numbers
        }
    )
    if len(weighted) < 2:
        lone = layers[weighted[0]] if weighted else None
        what = (
            f"is {lone.text}, which is one layer and cannot be cut"
            if isinstance(lone, TorchvisionNetwork)
            else "has one layer with weights, so nothing stands before its last one"
        )
        raise ShapeError(f"{source.trial_id} ({source.architecture.name}) {what}; use layers: last")
    return layers[: weighted[-1]]


def _new_names(taken: Sequence[Layer], own: Sequence[Layer]) -> dict[str, str]:
    """Give the taps that are taken over other names where the network on top has the same."""
    used = {layer.name for layer in (*taken, *own) if isinstance(layer, Tap)}
    free = (name for number in count(1) if (name := f"taken{number}") not in used)
    theirs = {layer.name for layer in own if isinstance(layer, Tap)}
    return {
        layer.name: next(free) for layer in taken if isinstance(layer, Tap) and layer.name in theirs
    }


def _num_frozen(choice: InitChoice, source: SourceNetwork, taken: Sequence[Layer]) -> int:
    taps = {layer.name: index for index, layer in enumerate(taken) if isinstance(layer, Tap)}
    last = taps | {str(index): index for index in range(len(taken))}
    last |= {NOTHING: -1, FEATURES: len(taken) - 1}
    if choice.freeze in last:
        return last[choice.freeze] + 1
    named = f"its taps ({', '.join(taps)}), " if taps else ""
    raise ShapeError(
        f"freeze: {choice.freeze} names no layer that is taken over from {source.trial_id}; "
        f"allowed are features, none, {named}and the layers 0 to {len(taken) - 1} of its table "
        "(trainyard plan --layers shows them)"
    )
