"""What a value in a spec may be: kinds that check a node, and that describe themselves.

A kind reads a node into a Python value or notes a fault and gives `INVALID`, so that
every fault of a spec comes in one report. The same kinds give the JSON Schema.
"""

import difflib
import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from experiments.errors import Fault, SpecError
from experiments.language.source import Node

Schema = dict[str, Any]


class _Invalid:
    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = _Invalid()
"""What a kind gives for a node in which it found a fault."""


MAX_FAULTS: Final = 100
"""The most that one report lists."""
_LONGEST_NAME: Final = 200


class Faults:
    """The faults found so far in one spec.

    The one after `limit` ends the reading (by `SpecError`): nobody mends more at a time, and
    looking up what each was meant to be takes long. None is for a reading that may fail.
    """

    def __init__(self, source: str, *, limit: int | None = MAX_FAULTS) -> None:
        self.source = source
        self._limit = limit
        self._found: list[Fault] = []

    def aside(self) -> "Faults":
        """Give a collection of its own for a reading that may fail, as another form may fit."""
        return Faults(self.source, limit=None)

    def add(self, node: Any, path: str, message: str) -> _Invalid:
        """Note a fault at a node (or entry) and give `INVALID` for its value."""
        self._note(Fault(self.source, node.position, path, message))
        return INVALID

    def add_once(self, node: Any | None, path: str, message: str) -> None:
        """Note a fault unless the same one stands already; `node` None is the spec's start."""
        position = None if node is None else node.position
        fault = Fault(self.source, position, path, message)
        if fault not in self._found:
            self._note(fault)

    def _note(self, fault: Fault) -> None:
        self._found.append(fault)
        if len(self._found) == self._limit:
            message = f"only the first {self._limit} faults are listed; there may be more"
            raise SpecError([*self._found, Fault(self.source, fault.position, "", message)])

    def __bool__(self) -> bool:
        """Say whether any fault was found."""
        return bool(self._found)

    def raise_any(self) -> None:
        """Raise `SpecError` with all faults, if there are any."""
        if self._found:
            raise SpecError(self._found)


def show(node: Node) -> str:
    """Show a node's value in a message, shortened."""
    value = node.plain()
    if isinstance(value, str):
        text = repr(value)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif value is None:
        text = "nothing"
    elif isinstance(value, float) and not math.isfinite(value):
        text = str(value).replace("inf", ".inf").replace("nan", ".nan")
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, however its case (empty when none comes close)."""
    if len(name) > _LONGEST_NAME:
        return ""  # comparing takes long, and this was none
    lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[close[0]]!r}?" if close else ""


class Kind(ABC):
    """What a value may be."""

    @property
    @abstractmethod
    def what(self) -> str:
        """Name the allowed values, to follow "must be"."""

    @abstractmethod
    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Give the value, or note what is wrong and give `INVALID`."""

    @abstractmethod
    def schema(self) -> Schema:
        """Give the JSON Schema of the allowed values."""

    def _refuse(self, node: Node, path: str, faults: Faults) -> _Invalid:
        return faults.add(node, path, f"must be {self.what}, got {show(node)}")


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    """A whole number; `true` and `1.0` are none."""

    minimum: int = -(2**63)
    maximum: int = 2**63 - 1

    @property
    def what(self) -> str:
        """Name the allowed values."""
        if self.minimum == -(2**63):
            return "an integer"
        if self.maximum == 2**63 - 1:
            return f"an integer of at least {self.minimum}"
        return f"an integer from {self.minimum} to {self.maximum}"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read an integer."""
        value = node.value
        if node.kind != "scalar" or isinstance(value, bool) or not isinstance(value, int):
            return self._refuse(node, path, faults)
        return value if self.minimum <= value <= self.maximum else self._refuse(node, path, faults)

    def schema(self) -> Schema:
        """Give `{"type": "integer", ...}`."""
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """A finite number, given as a float."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    @property
    def what(self) -> str:
        """Name the allowed values."""
        limits = [
            f"{word} {limit:g}"
            for word, limit in (
                (">", self.above),
                (">=", self.minimum),
                ("<", self.below),
                ("<=", self.maximum),
            )
            if limit is not None
        ]
        return "a finite number" + (f" {' and '.join(limits)}" if limits else "")

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a number as a float."""
        value = node.value
        if node.kind != "scalar" or isinstance(value, bool) or not isinstance(value, int | float):
            return self._refuse(node, path, faults)
        try:
            number = float(value)
        except OverflowError:
            return self._refuse(node, path, faults)
        return number if self._allows(number) else self._refuse(node, path, faults)

    def _allows(self, number: float) -> bool:
        return (
            math.isfinite(number)
            and (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def schema(self) -> Schema:
        """Give `{"type": "number", ...}`."""
        limits = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            "exclusiveMinimum": self.above,
            "exclusiveMaximum": self.below,
        }
        return {"type": "number"} | {k: v for k, v in limits.items() if v is not None}


@dataclass(frozen=True, slots=True)
class Flag(Kind):
    """True or false."""

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "true or false"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a boolean."""
        return node.value if isinstance(node.value, bool) else self._refuse(node, path, faults)

    def schema(self) -> Schema:
        """Give `{"type": "boolean"}`."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """One text without control or direction-changing characters."""

    max_length: int = 200
    multiline: bool = False

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return f"a text of at most {self.max_length} characters, none of them for control"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a text."""
        if not isinstance(node.value, str) or len(node.value) > self.max_length:
            return self._refuse(node, path, faults)
        if bad := _bad_character(node.value, allowed="\n" if self.multiline else ""):
            return faults.add(node, path, f"holds the character {bad}, which is not allowed")
        return node.value

    def schema(self) -> Schema:
        """Give `{"type": "string", ...}`."""
        return {"type": "string", "maxLength": self.max_length}


@dataclass(frozen=True, slots=True)
class Name(Kind):
    """A name that is safe in a path, in a table and in an address."""

    max_length: int = 200

    _PATTERN: ClassVar = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

    @property
    def what(self) -> str:
        """Name the allowed values."""
        allowed = "letters, digits, and . _ + - after the first"
        return f"a name of 1 to {self.max_length} characters: {allowed}"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a name."""
        value = node.value
        fits = isinstance(value, str) and len(value) <= self.max_length
        if not fits or not self._PATTERN.fullmatch(value) or ".." in value:
            return self._refuse(node, path, faults)
        return value

    def schema(self) -> Schema:
        """Give `{"type": "string", "pattern": ...}`."""
        return {
            "type": "string",
            "maxLength": self.max_length,
            "pattern": f"^{self._PATTERN.pattern}$",
        }


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of some names (or numbers). `later` are names that this version has not yet."""

    names: tuple[str | int, ...]
    later: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "one of " + ", ".join(map(str, self.names))

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read one of the names."""
        value = node.value
        if node.kind == "scalar" and isinstance(value, str | int) and not isinstance(value, bool):
            if value in self.names:
                return value
            if value in self.later:
                known = ", ".join(map(str, self.names))
                message = f"{value!r} is not supported by this version yet; it has {known}"
                return faults.add(node, path, message)
        meant = self._meant(value) if isinstance(value, str) else ""
        return faults.add(node, path, f"must be {self.what}, got {show(node)}{meant}")

    def _meant(self, value: str) -> str:
        """Say which of the names was probably meant."""
        return nearest(value, map(str, self.names))

    def schema(self) -> Schema:
        """Give `{"enum": [...]}`."""
        return {"enum": list(self.names)}


@dataclass(frozen=True, slots=True)
class Duration(Kind):
    """A length of time such as `90s`, `20m` or `1.5h`, given in seconds."""

    _PATTERN: ClassVar = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)")
    _SECONDS: ClassVar = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "a positive duration such as 90s, 20m, 1.5h or 2d"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a duration in seconds."""
        match = self._PATTERN.fullmatch(node.value) if isinstance(node.value, str) else None
        seconds = float(match[1]) * self._SECONDS[match[2]] if match else 0.0
        return seconds if 0 < seconds < math.inf else self._refuse(node, path, faults)

    def schema(self) -> Schema:
        """Give `{"type": "string", "pattern": ...}`."""
        return {"type": "string", "pattern": f"^{self._PATTERN.pattern}$"}


def _bad_character(text: str, *, allowed: str) -> str | None:
    for character in text:
        # Cc control, Cf format (direction changes among them), Cs surrogates, Co private use.
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co"} and character not in allowed:
            return f"U+{ord(character):04X}"
    return None
