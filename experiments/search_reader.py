"""The search space as the spec writes it: `defaults parameters zip exclude include` -> axes.

Names, values, doubled values, conditions and circles are checked here, each fault at its
own line; `search_space.py` then expands what is left.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from experiments.architectures.model_patterns import read_model_pattern
from experiments.hyperparameters import HYPERPARAMETERS
from experiments.language.kinds import INVALID, Faults, Schema, Text, nearest, show
from experiments.language.printable import printable
from experiments.language.source import Entry, Node, join
from experiments.search_space import (
    Axis,
    Condition,
    Exclusion,
    Inclusion,
    SearchSpace,
    Setting,
    read_by,
    value_key,
)

_RANGE_KEYS: Final = ("min", "max", "scale")
_FORM_KEYS: Final = ("values", "when")
_LONGEST_LABEL: Final = 6000
"""Characters of a parameter's value that MLflow takes; no value but a model's is that long."""
_NO_GRID: Final = Axis((), ())
"""An axis without points: its product with anything is empty."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """An axis and where it was written; `when` is its condition, not yet read."""

    axis: Axis
    entry: Entry
    path: str
    when: Node | None = None


def read_search_space(entries: Mapping[str, Entry], faults: Faults) -> SearchSpace:
    """Read the search space from a spec's entries; what is at fault is noted and left out."""
    reader = _Reader(faults)
    defaults = reader.settings(entries.get("defaults"))
    placed = [*reader.parameters(entries.get("parameters")), *reader.zips(entries.get("zip"))]
    include = reader.inclusions(entries.get("include"))
    placed = [reader.conditioned(item) for item in placed]  # all models are known by now
    reader.refuse_doubled_keys(placed)
    reader.refuse_circles(placed)
    axes = tuple(item.axis for item in placed)
    if include and not axes:
        axes = (_NO_GRID,)
    exclude = reader.exclusions(entries.get("exclude"))
    return SearchSpace(defaults=defaults, axes=axes, exclude=exclude, include=include)


class _Reader:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._models: dict[str, Any] = {}
        self._written_out: set[str] = set()

    def settings(self, entry: Entry | None) -> dict[str, Setting]:
        """Read `defaults`: one value for each hyperparameter."""
        if entry is None or not self._is_mapping(entry.value, entry.key):
            return {}
        return dict(self._settings(entry.value, entry.key))

    def parameters(self, entry: Entry | None) -> Iterator[_Placed]:
        """Read `parameters`: each entry is an axis."""
        if entry is None or not self._is_mapping(entry.value, entry.key):
            return
        for parameter in entry.value.value:
            path = join(entry.key, parameter.key)
            if not self._is_hyperparameter(parameter, path):
                continue
            values, when = self._form(parameter.value, path)
            settings = self._values(parameter.key, values, path) if values is not None else ()
            points = tuple({parameter.key: setting} for setting in settings)
            yield _Placed(Axis((parameter.key,), points), parameter, path, when)

    def zips(self, entry: Entry | None) -> Iterator[_Placed]:
        """Read `zip`: each item is an axis of several hyperparameters."""
        for index, group in enumerate(self._list(entry)):
            path = f"zip[{index}]"
            if not self._is_mapping(group, path):
                continue
            columns: dict[str, list[Setting]] = {}
            lengths: dict[str, int] = {}
            for item in group.value:
                where = join(path, item.key)
                if self._is_hyperparameter(item, where):
                    columns[item.key] = list(
                        self._values(item.key, item.value, where, distinct=False)
                    )
                    lengths[item.key] = len(_listed(item.value))
            if len(set(lengths.values())) > 1:
                said = ", ".join(f"{key} has {length}" for key, length in lengths.items())
                self._faults.add(group, path, f"lists that vary together are equally long: {said}")
                continue
            # Where a value was at fault, the columns fall short; the spec is refused anyway.
            points = tuple(
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=False)
            )
            if group.value and columns:
                yield _Placed(Axis(tuple(columns), points), group.value[0], path)

    def exclusions(self, entry: Entry | None) -> tuple[Exclusion, ...]:
        """Read `exclude`: conditions on variants."""
        found = []
        for index, item in enumerate(self._list(entry)):
            path = f"exclude[{index}]"
            if not self._is_mapping(item, path):
                continue
            if not item.value:
                self._faults.add(item, path, "an empty entry would exclude every variant")
                continue
            found.append(Exclusion(self._condition(item, path), _condition_text(item)))
        return tuple(found)

    def inclusions(self, entry: Entry | None) -> tuple[Inclusion, ...]:
        """Read `include`: complete points, each perhaps with a label."""
        found = []
        labels: dict[str, str] = {}
        for index, item in enumerate(self._list(entry)):
            path = f"include[{index}]"
            if not self._is_mapping(item, path):
                continue
            own = tuple(e for e in item.value if e.key != "label")
            label = None
            if "label" in item.entries():
                place = item.entries()["label"].value
                label = Text().read(place, f"{path}.label", self._faults)
                if label is INVALID:
                    label = None
                elif label in labels:
                    message = f"the label {label!r} is taken by {labels[label]}"
                    self._faults.add(place, f"{path}.label", message)
                else:
                    labels[label] = path
            point = dict(self._settings(Node("mapping", own, item.position), path))
            found.append(Inclusion(point, label, item, path))
        return tuple(found)

    def conditioned(self, placed: _Placed) -> _Placed:
        """Read an axis's condition; the models that it may name must be known."""
        when, path = placed.when, f"{placed.path}.when"
        if when is None or not self._is_mapping(when, path):
            return placed
        axis = replace(placed.axis, when=self._condition(when, path), text=_condition_text(when))
        return replace(placed, axis=axis)

    def refuse_doubled_keys(self, placed: Sequence[_Placed]) -> None:
        """Refuse a hyperparameter that varies in two places."""
        first: dict[str, str] = {}
        for item in placed:
            for key in item.axis.keys:
                if key in first:
                    message = f"{key!r} varies already in {first[key]}"
                    self._faults.add(item.entry, item.path, message)
                first.setdefault(key, item.path)

    def refuse_circles(self, placed: Sequence[_Placed]) -> None:
        """Refuse conditions that wait for each other."""
        waiting = list(placed)
        while waiting:
            unplaced = {key for item in waiting for key in item.axis.keys}
            ready = [item for item in waiting if not read_by(item.axis.when) & unplaced]
            if not ready:
                for item in waiting:
                    message = "the conditions of " + ", ".join(sorted(unplaced)) + " go in a circle"
                    self._faults.add(item.entry, f"{item.path}.when", message)
                return
            waiting = [item for item in waiting if item not in ready]

    def _form(self, node: Node, path: str) -> tuple[Node | None, Node | None]:
        """Split `{values: [...], when: {...}}`; a bare value or list is `values`."""
        keys = node.entries().keys() if node.kind == "mapping" else ()
        ranges = [key for key in _RANGE_KEYS if key in keys]
        if ranges:
            entry = node.entries()[ranges[0]]
            message = "ranges need search.method random or tpe, which this version has not yet"
            self._faults.add(entry, join(path, entry.key), message)
            return None, None
        if not any(key in keys for key in _FORM_KEYS):
            return node, None
        entries = node.entries()
        for key, entry in entries.items():
            if key not in _FORM_KEYS:
                known = ", ".join(_FORM_KEYS)
                message = f"unknown key {key!r}{nearest(key, _FORM_KEYS)}; known keys: {known}"
                self._faults.add(entry, join(path, key), message)
        if "values" not in entries:
            self._faults.add(node, path, "the key 'values' is missing")
        values, when = (entries[key].value if key in entries else None for key in _FORM_KEYS)
        return values, when

    def _values(
        self, key: str, node: Node, path: str, *, distinct: bool = True
    ) -> Iterator[Setting]:
        if node.kind == "list" and not node.items():
            self._faults.add(node, path, "an empty list: give at least one value")
        seen: dict[Any, int] = {}
        for index, item in enumerate(_listed(node)):
            place = f"{path}[{index}]" if node.kind == "list" else path
            value = self._value(key, item, place)
            if value is INVALID:
                continue
            known = value_key(value)
            if distinct and known in seen:
                message = f"the value {_shown(item)} is given twice (first as item {seen[known]})"
                self._faults.add(item, place, message)
                continue
            seen[known] = index
            yield Setting(value, item, place)

    def _settings(self, node: Node, path: str) -> Iterator[tuple[str, Setting]]:
        for entry in node.value:
            where = join(path, entry.key)
            if not self._is_hyperparameter(entry, where):
                continue
            value = self._value(entry.key, entry.value, where)
            if value is not INVALID:
                yield entry.key, Setting(value, entry.value, where)

    def _value(self, key: str, node: Node, path: str) -> Any:
        """Read one value; two different networks must not go by one name."""
        value = HYPERPARAMETERS[key].kind.read(node, path, self._faults)
        if key != "model":
            return value
        self._written_out |= _written_out(node)
        if value is INVALID:
            return INVALID
        if self._models.setdefault(value.label, value_key(value)) != value_key(value):
            message = f"another network is called {value.label!r} already; name this one otherwise"
            return self._faults.add(node, path, message)
        if len(value.label) > _LONGEST_LABEL:
            message = (
                f"its name in tables, {value.label[:40]}..., has {len(value.label)} characters, "
                f"and MLflow keeps {_LONGEST_LABEL}; write it out under layers, with a short name"
            )
            return self._faults.add(node, path, message)
        return value

    def _condition(self, node: Node, path: str) -> Condition:
        """Read `key: value` or `key: [values]`; a model may be meant by name or options."""
        condition: dict[str, tuple[Any, ...]] = {}
        for entry in node.value:
            where = join(path, entry.key)
            if not self._is_hyperparameter(entry, where):
                continue
            condition[entry.key] = tuple(
                self._condition_value(entry.key, item, where) for item in _listed(entry.value)
            )
        return condition

    def _condition_value(self, key: str, node: Node, path: str) -> Any:
        if key != "model":
            return HYPERPARAMETERS[key].kind.read(node, path, self._faults)
        own = self._written_out.union(self._models)
        return read_model_pattern(node, path, self._faults, own=own)

    def _list(self, entry: Entry | None) -> tuple[Node, ...]:
        if entry is None:
            return ()
        if entry.value.kind == "list":
            return entry.value.items()
        self._faults.add(
            entry.value, entry.key, f"must be a list of mappings, got {show(entry.value)}"
        )
        return ()

    def _is_mapping(self, node: Node, path: str) -> bool:
        if node.kind == "mapping":
            return True
        self._faults.add(node, path, f"must be a mapping of hyperparameters, got {show(node)}")
        return False

    def _is_hyperparameter(self, entry: Entry, path: str) -> bool:
        if entry.key in HYPERPARAMETERS:
            return True
        known = ", ".join(HYPERPARAMETERS)
        meant = nearest(entry.key, HYPERPARAMETERS)
        message = f"unknown hyperparameter {entry.key!r}{meant}; known: {known}"
        self._faults.add(entry, path, message)
        return False


def _listed(node: Node) -> tuple[Node, ...]:
    """Give a list's items; a single value stands for a list of one."""
    return node.items() if node.kind == "list" else (node,)


def _written_out(node: Node) -> set[str]:
    """Give the name of a network written out in the spec, even where its layers are at fault."""
    entries = node.entries() if node.kind == "mapping" else {}
    name = entries["name"].value.value if "name" in entries else None
    return {name} if "layers" in entries and isinstance(name, str) else set()


def _condition_text(node: Node) -> str:
    """Say a condition to people."""
    return printable(
        ", ".join(f"{key}={_shown(entry.value)}" for key, entry in node.entries().items())
    )


def _shown(node: Node) -> str:
    return str(node.value) if isinstance(node.value, str) else show(node)


def hyperparameter_definitions() -> dict[str, Schema]:
    """Give the JSON Schema of one value of each hyperparameter, for `$defs`."""
    return {
        name: parameter.kind.schema() | {"description": parameter.doc}
        for name, parameter in HYPERPARAMETERS.items()
    }


def search_space_schema() -> dict[str, Schema]:
    """Give the JSON Schemas of the five keys; needs `hyperparameter_definitions` as `$defs`."""
    one: dict[str, Schema] = {name: {"$ref": f"#/$defs/{name}"} for name in HYPERPARAMETERS}

    def mapping(properties: Mapping[str, Schema], description: str) -> Schema:
        return {
            "type": "object",
            "properties": dict(properties),
            "additionalProperties": False,
            "description": description,
        }

    def some(schema: Schema) -> Schema:
        return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}

    anything: Schema = {"type": ["string", "number", "boolean", "array", "object", "null"]}
    condition = mapping(dict.fromkeys(one, anything), "hyperparameters and the values they match")
    axes = {
        name: {
            "anyOf": [
                some(schema),
                {
                    "type": "object",
                    "properties": {"values": some(schema), "when": condition},
                    "required": ["values"],
                    "additionalProperties": False,
                },
            ]
        }
        for name, schema in one.items()
    }
    columns = {name: some(schema) for name, schema in one.items()}
    point = {**one, "label": {**Text().schema(), "description": "names the variant"}}

    def list_of(item: Schema, description: str) -> Schema:
        return {"type": "array", "items": item, "description": description}

    return {
        "defaults": mapping(one, "hyperparameters that hold where nothing varies them"),
        "parameters": mapping(axes, "hyperparameters that vary, crossed with each other"),
        "zip": list_of(mapping(columns, "lists that vary together"), "groups that vary together"),
        "exclude": list_of(condition, "variants to leave out: those for which all keys match"),
        "include": list_of(mapping(point, "one variant"), "extra points, laid over `defaults`"),
    }
