"""A spec's values, each knowing its line and column: scalars, lists and mappings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from experiments.errors import Fault, Position, SpecError

MAX_DEPTH: Final = 50

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the spec and where it stands.

    `value` is a scalar, a tuple of nodes, or a tuple of `Entry`; `kind` says which:
    "scalar", "list" or "mapping".
    """

    kind: str
    value: Any
    position: Position | None

    def entries(self) -> Mapping[str, "Entry"]:
        """Give a mapping's entries by key."""
        assert self.kind == "mapping"
        return {entry.key: entry for entry in self.value}

    def items(self) -> tuple["Node", ...]:
        """Give a list's items."""
        assert self.kind == "list"
        items: tuple[Node, ...] = self.value
        return items

    def plain(self) -> Any:
        """Give the same value without positions: scalars, lists and dicts."""
        if self.kind == "list":
            return [item.plain() for item in self.value]
        if self.kind == "mapping":
            return {entry.key: entry.value.plain() for entry in self.value}
        return self.value


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key: value` of a mapping; `position` is the key's."""

    key: str
    value: Node
    position: Position | None


def join(path: str, key: str) -> str:
    """Extend a field path by a key."""
    return f"{path}.{key}" if path else key


def from_values(value: Any, *, source: str = "spec") -> Node:
    """Wrap Python values (as `ty.submit({...})` gets them) as nodes without positions.

    Raises:
        SpecError: A value is no scalar, list or mapping with text keys.
    """
    return _wrap(value, source, "", 0)


def _wrap(value: Any, source: str, path: str, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise SpecError([Fault(source, None, path, f"nested deeper than {MAX_DEPTH} levels")])
    if value is None or isinstance(value, bool | int | float | str):
        return Node("scalar", value, None)
    if isinstance(value, Mapping):
        entries = []
        for key, item in value.items():
            if not isinstance(key, str):
                raise SpecError([Fault(source, None, path, f"keys are text, got {key!r}")])
            entries.append(Entry(key, _wrap(item, source, join(path, key), depth + 1), None))
        return Node("mapping", tuple(entries), None)
    if isinstance(value, Sequence):
        items = (_wrap(item, source, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
        return Node("list", tuple(items), None)
    raise SpecError([Fault(source, None, path, f"a spec holds plain data, got {value!r}")])
