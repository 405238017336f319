"""The `data:` of a spec: a data set's name, its own options, and how it is split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from experiments.compound_kinds import Nullable
from experiments.datasets import DATASETS
from experiments.fields import Field, Record, fields_of, read_fields
from experiments.kinds import INVALID, Faults, Integer, Kind, Number, Schema, Text, nearest
from experiments.source import Node, join

MAX_SEED: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Which data set, and how it is split. `node` is where it was given."""

    name: str
    options: Mapping[str, Any]
    val_fraction: float
    split_seed: int
    limit: int | None
    node: Node | None


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
    """A data set by name, with its own options and the split."""

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
        split = fields_of(_Split)
        if name is INVALID:  # its options are unknown too: check the split alone
            known = {key: entry for key, entry in entries.items() if key in split}
            node = Node("mapping", tuple(known.values()), node.position)
        fields = {"name": Field(Text(), "the data set"), **own, **split}
        if name is INVALID:
            fields.pop("name")
        values = read_fields(node, path, faults, fields)
        if values is None or name is INVALID:
            return INVALID
        return self.build(name, values, node)

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
        options = {
            key: values.get(key, field.default)
            for key, field in fields_of(DATASETS[name].options).items()
        }
        split = _Split(**{key: values[key] for key in fields_of(_Split) if key in values})
        return DataSpec(name, options, split.val_fraction, split.split_seed, split.limit, node)

    def schema(self) -> Schema:
        """Give the schema of names, and of each data set with its options."""
        split = Record(_Split).schema()["properties"]
        forms: list[Schema] = []
        for name, kind in DATASETS.items():
            own = Record(kind.options).schema()
            required = ["name", *own.get("required", [])]
            properties = {"name": {"const": name}, **own["properties"], **split}
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
