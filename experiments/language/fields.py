"""Records: mappings with known keys, read into dataclasses.

The keys are the dataclass's fields that are annotated with a kind and a line of
documentation:

    epochs: Annotated[int, Integer(minimum=1), "passes over the training split"] = 5
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from experiments.language.kinds import INVALID, Faults, Kind, Schema, nearest
from experiments.language.source import Node, join


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()
"""The default of a key that must be given."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record."""

    kind: Kind
    doc: str
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Say whether the key must be given."""
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class NoOptions:
    """The record without keys: options of a network or a data set that has none."""


@dataclass(frozen=True, slots=True)
class Record(Kind):
    """A mapping with known keys, given as an instance of a dataclass.

    `short` names the field that a bare value stands for (`max_pool2d: 2`).
    `later` are keys that the language has and this version has not.
    """

    cls: type[Any]
    short: str | None = None
    later: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "a mapping with the keys " + ", ".join(fields_of(self.cls))

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read all keys, and build the dataclass when none is at fault."""
        if node.kind != "mapping":
            return self._read_short(node, path, faults)
        fields = fields_of(self.cls)
        values = read_fields(node, path, faults, fields, later=self.later)
        return INVALID if values is None else self.cls(**values)

    def _read_short(self, node: Node, path: str, faults: Faults) -> Any:
        fields = fields_of(self.cls)
        if self.short is None:
            return self._refuse(node, path, faults)
        if node.kind == "scalar" and node.value is None:  # `- relu` style: no options given
            missing = [name for name, field in fields.items() if field.required]
            if missing:
                return faults.add(node, path, f"needs {', '.join(missing)}")
            return self.cls()
        value = fields[self.short].kind.read(node, path, faults)
        others = [n for n, field in fields.items() if field.required and n != self.short]
        if others:
            return faults.add(node, path, f"needs {', '.join(others)}")
        return INVALID if value is INVALID else self.cls(**{self.short: value})

    def schema(self) -> Schema:
        """Give an object schema; with `short`, also the bare value's."""
        fields = fields_of(self.cls)
        properties = {}
        for name, field in fields.items():
            properties[name] = field.kind.schema() | {"description": field.doc}
        whole: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [name for name, field in fields.items() if field.required]
        if required:
            whole["required"] = required
        if self.short is None:
            return whole
        return {"anyOf": [whole, fields[self.short].kind.schema()]}


def read_fields(
    node: Node,
    path: str,
    faults: Faults,
    fields: Mapping[str, Field],
    *,
    later: tuple[str, ...] = (),
) -> dict[str, Any] | None:
    """Read a mapping's known keys; None when anything is at fault.

    Keys that are not given are left out of the result (a dataclass fills them in).
    """
    entries = node.entries()
    ok = True
    for name, entry in entries.items():
        if name in later:
            faults.add(entry, join(path, name), "is not supported by this version yet")
            ok = False
        elif name not in fields:
            known = ", ".join(fields)
            message = f"unknown key {name!r}{nearest(name, fields)}; known keys: {known}"
            faults.add(entry, path, message)
            ok = False
    for name, field in fields.items():
        if field.required and name not in entries:
            faults.add(node, path, f"the key {name!r} is missing: {field.doc}")
            ok = False
    values = {
        name: field.kind.read(entries[name].value, join(path, name), faults)
        for name, field in fields.items()
        if name in entries
    }
    return None if not ok or any(value is INVALID for value in values.values()) else values


def fields_of(cls: type[Any]) -> Mapping[str, Field]:
    """Give the keys of a record from the dataclass's annotations."""
    if cls not in _known_fields:
        _known_fields[cls] = _read_annotations(cls)
    return _known_fields[cls]


_known_fields: dict[type[Any], Mapping[str, Field]] = {}


def _read_annotations(cls: type[Any]) -> Mapping[str, Field]:
    hints = get_type_hints(cls, include_extras=True)
    fields = {}
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if get_origin(hint) is not Annotated:
            continue
        metadata = get_args(hint)[1:]
        kind = next(item for item in metadata if isinstance(item, Kind))
        doc = next(item for item in metadata if isinstance(item, str))
        default = REQUIRED if field.default is MISSING else field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        fields[field.name] = Field(kind, doc, default)
    return fields
