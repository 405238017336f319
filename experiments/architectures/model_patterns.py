"""Which models `when` and `exclude` mean: by a name, by a short name, or by some options."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.architectures import named_architectures, zoo
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.zoo import ModelChoice
from experiments.language.compound_kinds import Either
from experiments.language.fields import fields_of
from experiments.language.kinds import INVALID, Faults, nearest, show
from experiments.language.source import Entry, Node, join


@dataclass(frozen=True, slots=True)
class ModelPattern:
    """The models of a name (None: of any) that have these options, whatever else they have.

    `name` is an architecture's, that of a network written out in the spec, or a label.
    """

    name: str | None
    options: Mapping[str, Any]

    def matches(self, choice: ModelChoice) -> bool:
        """Say whether a model is among those that are meant."""
        named = self.name in (None, choice.name, choice.label)
        return named and all(
            key in choice.options and choice.options[key] == value
            for key, value in self.options.items()
        )


def read_model_pattern(node: Node, path: str, faults: Faults, *, own: Collection[str]) -> Any:
    """Read `vgg`, `vgg16`, `{name: vgg, width: 0.25}` or `{depth: 16}`; `INVALID` at a fault.

    A short name means what it says and no more: `vgg16` is `{name: vgg, depth: 16}`.

    Args:
        node: One value of `model` in a condition.
        path: The field's path in the spec.
        faults: Where a fault is noted.
        own: Names of the spec's own networks, and labels of its models.
    """
    if node.kind == "scalar" and isinstance(node.value, str):
        return _read_named(node, Node("mapping", (), node.position), path, faults, own)
    if node.kind != "mapping" or not node.value:
        message = f"must be a model's name, or a mapping of its options, got {show(node)}"
        return faults.add(node, path, message)
    options = Node("mapping", tuple(e for e in node.value if e.key != "name"), node.position)
    if "name" not in node.entries():
        known = (*zoo.models().values(), named_architectures.any_of_torchvision())
        return _with_options(None, options.value, known, path, faults)
    name = node.entries()["name"].value
    return _read_named(name, options, path, faults, own)


def _read_named(name: Node, options: Node, path: str, faults: Faults, own: Collection[str]) -> Any:
    if not isinstance(name.value, str):
        return faults.add(name, path, f"must be a text, got {show(name)}")
    resolved = zoo.resolve_name(name, options, path, faults)
    if resolved is INVALID:
        return INVALID
    if resolved is not None:
        named, options = resolved
        return _with_options(named.name, options.value, (named,), path, faults)
    if name.value in own:
        return _with_options(name.value, options.value, (), path, faults)
    names = named_architectures.known_names()
    meant = nearest(name.value, (*names, *own))
    known = ", ".join((*zoo.models(), "torchvision/<name>", *sorted(set(own) - set(names))))
    return faults.add(name, path, f"unknown model {name.value!r}{meant}; known models: {known}")


def _with_options(
    name: str | None,
    entries: Sequence[Entry],
    among: Sequence[NamedArchitecture],
    path: str,
    faults: Faults,
) -> Any:
    """Read options that any of the architectures has."""
    options: dict[str, Any] = {}
    for entry in entries:
        fields = [fields_of(named.options) for named in among]
        kinds = tuple(dict.fromkeys(f[entry.key].kind for f in fields if entry.key in f))
        if not kinds:
            known = list(dict.fromkeys(key for keys in fields for key in keys))
            meant = nearest(entry.key, known)
            message = f"unknown option {entry.key!r}{meant}; "
            message += f"known options: {', '.join(known)}" if known else f"{name} has none"
            options[entry.key] = faults.add(entry, path, message)
            continue
        value = Either(kinds).read(entry.value, join(path, entry.key), faults)
        options[entry.key] = list(value) if isinstance(value, tuple) else value
    return INVALID if INVALID in options.values() else ModelPattern(name, options)
