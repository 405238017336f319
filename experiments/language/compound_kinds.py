"""Kinds made of kinds: pairs, alternatives, lists, mappings, and what may be left empty."""

from dataclasses import dataclass
from typing import Any

from experiments.language.kinds import INVALID, Faults, Integer, Kind, Name, Schema
from experiments.language.source import Node, join


@dataclass(frozen=True, slots=True)
class Pair(Kind):
    """An integer for both directions, or `[height, width]`; given as a pair."""

    minimum: int = 1
    maximum: int = 100_000

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return f"{Integer(self.minimum, self.maximum).what}, or [height, width] of two"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read `(height, width)`."""
        items = node.items() if node.kind == "list" else (node, node)
        integer = Integer(self.minimum, self.maximum)
        trial = faults.aside()
        values = tuple(integer.read(item, path, trial) for item in items)
        return values if len(values) == 2 and not trial else self._refuse(node, path, faults)

    def schema(self) -> Schema:
        """Give an integer or an array of two."""
        integer = Integer(self.minimum, self.maximum).schema()
        return {
            "anyOf": [integer, {"type": "array", "items": integer, "minItems": 2, "maxItems": 2}]
        }


@dataclass(frozen=True, slots=True)
class Either(Kind):
    """One of several kinds that differ at first sight (a word or a number, say)."""

    kinds: tuple[Kind, ...]

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return ", or ".join(kind.what for kind in self.kinds)

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read by the first kind that takes the node."""
        for kind in self.kinds:
            value = kind.read(node, path, faults.aside())
            if value is not INVALID:
                return value
        return self._refuse(node, path, faults)

    def schema(self) -> Schema:
        """Give `{"anyOf": [...]}`."""
        return {"anyOf": [kind.schema() for kind in self.kinds]}


@dataclass(frozen=True, slots=True)
class Nullable(Kind):
    """A value, or nothing (`null`)."""

    kind: Kind

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return f"{self.kind.what}, or null"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a value or None."""
        if node.kind == "scalar" and node.value is None:
            return None
        return self.kind.read(node, path, faults)

    def schema(self) -> Schema:
        """Give the kind's schema or null."""
        return {"anyOf": [self.kind.schema(), {"type": "null"}]}


@dataclass(frozen=True, slots=True)
class ListOf(Kind):
    """A list of one kind, given as a tuple. A single value stands for a list of one."""

    kind: Kind
    min_length: int = 0
    max_length: int | None = None

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return f"a list, each item {self.kind.what}"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read all items; each wrong one is a fault of its own."""
        items = node.items() if node.kind == "list" else (node,)
        if len(items) < self.min_length:
            return faults.add(
                node, path, f"needs at least {self.min_length} item, got an empty list"
            )
        if self.max_length is not None and len(items) > self.max_length:
            message = f"takes at most {self.max_length} items, got {len(items)}"
            return faults.add(node, path, message)
        values = [self.kind.read(item, f"{path}[{i}]", faults) for i, item in enumerate(items)]
        return INVALID if any(value is INVALID for value in values) else tuple(values)

    def schema(self) -> Schema:
        """Give the item's schema or an array of it."""
        item = self.kind.schema()
        items: Schema = {"type": "array", "items": item, "minItems": self.min_length}
        if self.max_length is not None:
            items["maxItems"] = self.max_length
        return {"anyOf": [item, items]}


@dataclass(frozen=True, slots=True)
class MapOf(Kind):
    """Names to values of one kind, given as a dict in the order of the text."""

    kind: Kind

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return f"a mapping, each value {self.kind.what}"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read all entries."""
        if node.kind != "mapping":
            return self._refuse(node, path, faults)
        result = {}
        for entry in node.value:
            name = Node("scalar", entry.key, entry.position)
            key = Name().read(name, join(path, entry.key), faults)
            value = self.kind.read(entry.value, join(path, entry.key), faults)
            result[key] = value
        return INVALID if INVALID in result or INVALID in result.values() else result

    def schema(self) -> Schema:
        """Give `{"type": "object", "additionalProperties": ...}`."""
        return {"type": "object", "additionalProperties": self.kind.schema()}
