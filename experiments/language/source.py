"""A spec's values, each knowing its line and column: scalars, lists and mappings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from experiments.errors import Fault, Position, SpecError

MAX_DEPTH: Final = 50
MAX_VALUES: Final = 50_000
MAX_KEY_LENGTH: Final = 200
MAX_DIGITS: Final = 300
"""Of an integer; longer ones are no numbers that anybody means."""
_TOO_LARGE: Final = 10**MAX_DIGITS

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
    return _Wrapper(source).wrap(value, "", depth=0)


class _Wrapper:
    """Makes nodes of values; the first one that a spec may not contain ends it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._num_values = 0

    def wrap(self, value: Any, path: str, *, depth: int) -> Node:
        self._num_values += 1
        if depth > MAX_DEPTH:
            raise self._error(path, f"nested deeper than {MAX_DEPTH} levels")
        if self._num_values > MAX_VALUES:
            raise self._error(path, f"a spec holds at most {MAX_VALUES} values")
        if isinstance(value, int) and not -_TOO_LARGE < value < _TOO_LARGE:
            raise self._error(path, f"an integer has at most {MAX_DIGITS} digits")
        if value is None or isinstance(value, bool | int | float | str):
            return Node("scalar", value, None)
        if isinstance(value, Mapping):
            return Node("mapping", tuple(self._entries(value, path, depth)), None)
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
            items = (self.wrap(v, f"{path}[{i}]", depth=depth + 1) for i, v in enumerate(value))
            return Node("list", tuple(items), None)
        raise self._error(path, f"a spec holds plain data, got {value!r}")

    def _entries(self, values: Mapping[Any, Any], path: str, depth: int) -> Iterator[Entry]:
        for key, item in values.items():
            if not isinstance(key, str):
                raise self._error(path, f"keys are text, got {key!r}")
            if (message := key_fault(key)) is not None:
                raise self._error(path, message)
            yield Entry(key, self.wrap(item, join(path, key), depth=depth + 1), None)

    def _error(self, path: str, message: str) -> SpecError:
        return SpecError([Fault(self._source, None, path, message)])


def key_fault(key: str) -> str | None:
    """Say what is wrong with a key as such, None where nothing is."""
    if len(key) <= MAX_KEY_LENGTH:
        return None
    return f"a key has at most {MAX_KEY_LENGTH} characters, got {len(key)}"
