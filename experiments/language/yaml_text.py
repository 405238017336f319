"""YAML 1.2 text -> nodes.

PyYAML gives the events; the meaning of scalars is ours, because PyYAML speaks YAML 1.1
(`no` is False, `010` is 8, `1e-3` is text, the last of two equal keys wins). What a spec
has no use for is refused: aliases, tags, duplicate keys, several documents.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from experiments.errors import Fault, Position, SpecError
from experiments.language.source import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_VALUES,
    Entry,
    Node,
    Scalar,
    join,
    key_fault,
)

MAX_BYTES: Final = 1024 * 1024

# YAML 1.2.2, section 10.3.2: the core schema.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_PREFIXED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})
# Section 5.1: what a YAML text cannot hold, control characters and halves of characters.
_NO_CHARACTER = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parse(text: str | bytes, *, source: str) -> Node:
    """Read a spec's text.

    `source` names the text in messages (usually the file's name).

    Raises:
        SpecError: The text is not one YAML document of plain data.
    """
    decoded = _decode(text, source)
    try:
        # The C scanner and the Python one give the same events; the first is 20 times faster.
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return _Reader(source, yaml.parse(decoded, Loader=loader)).document()
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax_fault(error, source, decoded)]) from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise SpecError([Fault(source, None, "", f"not YAML: {problem}")]) from error


def _decode(text: str | bytes, source: str) -> str:
    size = len(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        message = f"a spec is at most {MAX_BYTES} bytes, got {size}"
        raise SpecError([Fault(source, Position(1, 1), "", message)])
    decoded = text if isinstance(text, str) else _from_utf8(text, source)
    if wrong := _NO_CHARACTER.search(decoded):
        message = f"not YAML: the character U+{ord(wrong[0]):04X} is not allowed"
        raise SpecError([Fault(source, _end_of(decoded[: wrong.start()]), "", message)])
    return decoded


def _from_utf8(text: bytes, source: str) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()  # the codec has taken a byte order mark off
        message = f"not UTF-8: byte 0x{error.object[error.start]:02x}"
        raise SpecError([Fault(source, _end_of(before), "", message)]) from error


def _end_of(text: str) -> Position:
    """Give the place where the next character would stand."""
    return Position(text.count("\n") + 1, len(text) - text.rfind("\n"))


def _syntax_fault(error: yaml.MarkedYAMLError, source: str, text: str) -> Fault:
    mark = error.problem_mark or error.context_mark
    problem = str(error.problem or error.context or "not YAML")
    if mark is None:
        return Fault(source, None, "", f"not YAML: {problem}")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    indentation = line[: len(line) - len(line.lstrip())]
    if "\t" in (*indentation, line[mark.column : mark.column + 1]):
        problem = "a tab cannot indent YAML; use spaces"
    return Fault(source, Position(mark.line + 1, mark.column + 1), "", f"not YAML: {problem}")


class _Reader:
    """Builds nodes from PyYAML's events and collects what a spec may not contain."""

    def __init__(self, source: str, events: Iterator[Any]) -> None:
        self._source = source
        self._events = events
        self._faults: list[Fault] = []
        self._num_values = 0

    def document(self) -> Node:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise SpecError([Fault(self._source, Position(1, 1), "", "the spec is empty")])
        root = self._node(next(self._events), path="", depth=0)
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._fault(after, "", "one document a spec: a second one starts here")
        if self._faults:
            raise SpecError(self._faults)
        return root

    def _node(self, event: Any, *, path: str, depth: int) -> Node:
        position = _position(event)
        self._refuse_size(event, path, depth)
        if isinstance(event, yaml.AliasEvent):
            self._fault(
                event, path, f"aliases are not allowed, got *{event.anchor}; write the value out"
            )
            return Node("scalar", None, position)
        if event.anchor is not None:
            self._fault(
                event, path, f"anchors are not allowed, got &{event.anchor}; write the value out"
            )
        if event.tag is not None and event.tag != "!":
            self._fault(event, path, f"tags are not allowed, got {_short_tag(event.tag)}")
        if isinstance(event, yaml.ScalarEvent):
            quoted = bool(event.style) or event.tag == "!"  # the C scanner gives '' for plain
            return Node("scalar", event.value if quoted else scalar(event.value), position)
        if isinstance(event, yaml.SequenceStartEvent):
            return Node("list", tuple(self._list(path, depth)), position)
        return Node("mapping", tuple(self._mapping(path, depth)), position)

    def _refuse_size(self, event: Any, path: str, depth: int) -> None:
        """End the reading of what is too deep for the stack, or takes too long."""
        self._num_values += 1
        if depth > MAX_DEPTH:
            self._fault(event, path, f"nested deeper than {MAX_DEPTH} levels")
        elif self._num_values > MAX_VALUES:
            self._fault(event, path, f"a spec holds at most {MAX_VALUES} keys and values")
        else:
            return
        raise SpecError(self._faults)

    def _list(self, path: str, depth: int) -> Iterator[Node]:
        index = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, path=f"{path}[{index}]", depth=depth + 1)
            index += 1

    def _mapping(self, path: str, depth: int) -> Iterator[Entry]:
        seen: dict[str, Position] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path, depth)
            value = self._node(next(self._events), path=join(path, key), depth=depth + 1)
            position = _position(event)
            if key in seen:
                first = seen[key]
                message = f"duplicate key: first given at {first.line}:{first.column}"
                self._faults.append(Fault(self._source, position, join(path, key), message))
                continue
            seen[key] = position
            yield Entry(key, value, position)

    def _key(self, event: Any, path: str, depth: int) -> str:
        node = self._node(event, path=path, depth=depth + 1)
        if node.kind != "scalar":
            self._fault(event, path, f"keys are text, got a {node.kind}")
            return "?"
        # A key is its text: `on:` and `1:` are the names "on" and "1".
        key = str(event.value) if isinstance(event, yaml.ScalarEvent) else "?"
        if message := key_fault(key):
            self._fault(event, path, message)
            return f"{key[:20]}..."
        return key

    def _fault(self, event: Any, path: str, message: str) -> None:
        self._faults.append(Fault(self._source, _position(event), path, message))


def scalar(text: str) -> Scalar:
    """Resolve a plain (unquoted) scalar by YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if len(text) <= MAX_DIGITS:
        if _DECIMAL.fullmatch(text):
            return int(text)
        if _PREFIXED.fullmatch(text):
            return int(text[2:], {"o": 8, "x": 16}[text[1]])
        if _FLOAT.fullmatch(text):
            return float(text)
    if match := _INFINITE.fullmatch(text):
        return -math.inf if match[1] == "-" else math.inf
    return math.nan if text in _NAN else text


def _position(event: Any) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
