"""The `data:` of a spec: a data set's name, its options, what is made of it, and its split."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from experiments.data.data_changes import (
    ChangeError,
    ChangeFault,
    DataChanges,
    change_faults,
    plain_changes,
    read_changes,
)
from experiments.data.dataset_facts import MAX_SEED
from experiments.data.datasets import DATASETS, read_options
from experiments.errors import DatasetError
from experiments.language.compound_kinds import Nullable
from experiments.language.fields import Field, Record, fields_of, read_fields
from experiments.language.kinds import INVALID, Faults, Integer, Kind, Number, Schema, Text, nearest
from experiments.language.source import Node, join


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Which data set, how it is split, and what is made of it.

    `changes` are the keys of `DataChanges` that differ from their defaults, as plain data.
    `node` is where all that was given.
    """

    name: str
    options: Mapping[str, Any]
    val_fraction: float
    split_seed: int
    limit: int | None
    node: Node | None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def place(self, error: DatasetError) -> tuple[Node | None, str]:
        """Give the node and the path of what an error of this data set is about."""
        if isinstance(error, ChangeError) and self.node is not None:
            return _place(self.node, "data", error.fault)
        return self.node, "data"


@dataclass(frozen=True, slots=True)
class _Split:
    val_fraction: Annotated[
        float, Number(above=0, below=1), "share of the training images held out for validation"
    ] = 0.1
    split_seed: Annotated[
        int, Integer(0, MAX_SEED), "decides which images are held out; the same for all trials"
    ] = 0
    limit: Annotated[int | None, Nullable(Integer(2)), "use only the first n training images"] = (
        None
    )


class Data(Kind):
    """A data set by name, with its own options, what is made of it, and the split."""

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "a data set's name, or a mapping with `name`"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a `DataSpec`."""
        if node.kind == "scalar":
            name = self._name(node, path, faults)
            return INVALID if name is INVALID else self._bare(name, node, path, faults)
        if node.kind != "mapping":
            return self._refuse(node, path, faults)
        entries = node.entries()
        if "name" not in entries:
            return faults.add(node, path, f"the key 'name' is missing: {self.what}")
        name = self._name(entries["name"].value, join(path, "name"), faults)
        own = fields_of(DATASETS[name].options) if name is not INVALID else {}
        common = {**fields_of(DataChanges), **fields_of(_Split)}
        if name is INVALID:  # its options are unknown too: check what all sets have
            known = {key: entry for key, entry in entries.items() if key in common}
            read_fields(Node("mapping", tuple(known.values()), node.position), path, faults, common)
            return INVALID
        fields = {"name": Field(Text(), "the data set"), **common, **own}
        values = read_fields(node, path, faults, fields)
        if values is None:
            return INVALID
        return self._checked(self.build(name, values, node), path, faults)

    def _checked(self, spec: DataSpec, path: str, faults: Faults) -> Any:
        """Check the changes, where no file is needed to tell what they are made to."""
        kind = DATASETS[spec.name]
        if kind.reads_files or not spec.changes or spec.node is None:
            return spec
        base = kind.describe(read_options(spec.name, spec.options), Path())
        found = tuple(change_faults(base, read_changes(spec.changes)))
        for fault in found:
            place, path_of_fault = _place(spec.node, path, fault)
            faults.add(place, path_of_fault, fault.message)
        return INVALID if found else spec

    def _bare(self, name: str, node: Node, path: str, faults: Faults) -> Any:
        missing = [n for n, f in fields_of(DATASETS[name].options).items() if f.required]
        if missing:
            return faults.add(node, path, f"{name} needs {', '.join(missing)}")
        return self.build(name, {}, node)

    def _name(self, node: Node, path: str, faults: Faults) -> Any:
        if isinstance(node.value, str) and node.value in DATASETS:
            return node.value
        meant = nearest(node.value, DATASETS) if isinstance(node.value, str) else ""
        known = ", ".join(DATASETS)
        return faults.add(
            node, path, f"unknown data set {node.plain()!r}{meant}; known data sets: {known}"
        )

    def build(self, name: str, values: Mapping[str, Any], node: Node) -> DataSpec:
        """Give the `DataSpec` of checked values, defaults filled in."""
        own = fields_of(DATASETS[name].options)
        options = {key: values.get(key, field.default) for key, field in own.items()}
        split = _Split(**{key: values[key] for key in fields_of(_Split) if key in values})
        given = {key: values[key] for key in _changes_of(name) if key in values}
        return DataSpec(
            name,
            options,
            split.val_fraction,
            split.split_seed,
            split.limit,
            node,
            plain_changes(DataChanges(**given)),
        )

    def schema(self) -> Schema:
        """Give the schema of names, and of each data set with its options."""
        common = Record(DataChanges).schema()["properties"] | Record(_Split).schema()["properties"]
        forms: list[Schema] = []
        for name, kind in DATASETS.items():
            own = Record(kind.options).schema()
            required = ["name", *own.get("required", [])]
            properties = {"name": {"const": name}, **common, **own["properties"]}
            forms.append(
                {
                    "type": "object",
                    "description": kind.doc,
                    "properties": properties,
                    "required": required,
                    "additionalProperties": False,
                }
            )
        return {"anyOf": [{"enum": list(DATASETS)}, *forms]}


def _changes_of(name: str) -> tuple[str, ...]:
    """Name the changes of a data set; an option of its own hides a change of that name."""
    own = fields_of(DATASETS[name].options)
    return tuple(key for key in fields_of(DataChanges) if key not in own)


def _place(node: Node, path: str, fault: ChangeFault) -> tuple[Node, str]:
    """Give the node and the path of a change at fault, below those of `data`."""
    place, path = node.entries()[fault.key].value, join(path, fault.key)
    if fault.item is None:
        return place, path
    return place.items()[fault.item], f"{path}[{fault.item}]"
