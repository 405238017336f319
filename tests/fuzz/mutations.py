"""Mutants of specs: changed bytes, tokens and structure, all drawn from one generator.

A mutant is YAML as bytes, or plain values as `ty.submit({...})` takes them. Most stay close to
a spec, so that they pass the first checks and reach the later ones.
"""

import copy
import math
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import yaml

Mutant = bytes | dict[str, Any]

_TOKEN: Final = re.compile(r"[A-Za-z_][\w/.-]*|[0-9][\w.+-]*|\s+|.", re.DOTALL)
_WILD_TEXTS: Final = (
    "", " ", "~", "null", "true", "no", "0", "-1", "-0", "1.5", "010", "0x1F", "0o7", "1e-3",
    "1e999", "-1e999", "1e-999", ".nan", ".inf", "-.inf", "9" * 40, "9" * 400, "1" + "0" * 18,
    "4294967296", "9223372036854775808", "12:30", "2026-11-22", "classes", "same", "..", "/",
    "../..", "a/../b", "C:\\x", "https://example.org/x.zip", "file:///etc/passwd", "x" * 201,
    "x" * 7000, "\\0", "\x00", "\x1b[2J", "\u202e", "\u2028", "\x85", "\ufeff", "\ud7ff",
    "e\u0301", "\U0001f600", "\u017f", "=cmd()", "!!python/object:os.system", "&a", "*a", "<<",
    "? ", "- ", "---", "...", "%YAML 1.1", "#", "{", "}", "[", "]", "|", ">", "'", '"', "\t",
    "@x", "`x`", "{}", "[]", "[[]]", "{a: {}}", ", ,", ": :",
)  # fmt: skip
_WILD_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 64, 1.5, -0.0, 1e-3, 1e308, math.inf, -math.inf,
    math.nan, 10**12, 10**40, -(2**63) - 1, 2**63, [], {}, [[]], [None], [{}], {"name": None},
    {"values": []}, {"when": {}}, {"values": [1], "when": {"model": []}}, {"min": 1, "max": 0},
    [1, 1], [1, 2, 3], ["a", ["b"]], {"": ""}, {"a": {"b": {"c": {}}}},
)  # fmt: skip
_WILD_BYTES: Final = (
    b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\t", b"\r", b"\n", b"\n\n---\n",
    b"\x85", b"\xe2\x80\xa8", b"\x1b", b": ", b"- ", b"{", b"}", b"[", b"]", b"'", b'"', b"#",
    b"&a ", b"*a", b"!!x ", b"!", b"%", b"@", b"`", b"|", b">", b"?", b",",
)  # fmt: skip
_AS_VALUES: Final = 0.2
_DEEP: Final = 60
_MANY: Final = 3000


class Mutator:
    """Makes mutants of a corpus of specs."""

    def __init__(self, corpus: Sequence[str]) -> None:
        self._texts = tuple(corpus)
        self._trees = tuple(yaml.safe_load(text) for text in corpus)
        tokens = {token for text in corpus for token in _TOKEN.findall(text) if token.strip()}
        self._tokens = (*sorted(tokens), *_WILD_TEXTS)
        self._values = tuple(value for tree in self._trees for _, _, value in _places(tree))

    def mutant(self, rng: Random) -> Mutant:
        """Draw one mutant."""
        level = rng.choices((self._of_bytes, self._of_tokens, self._of_structure), (1, 2, 4))[0]
        return level(rng, rng.choice((1, 1, 1, 2, 3, 6)))

    def _of_bytes(self, rng: Random, times: int) -> bytes:
        data = bytearray(rng.choice(self._texts).encode())
        for _ in range(times):
            at = rng.randrange(len(data) + 1)
            end = min(len(data), at + rng.choice((0, 1, 1, 4, 40)))
            match rng.randrange(5):
                case 0:
                    data[at:end] = b""
                case 1:
                    data[at:at] = data[at:end] * rng.choice((1, 2, 50))
                case 2:
                    data[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
                case 3:
                    del data[at:]
                case _:
                    data[at:at] = rng.choice(_WILD_BYTES)
        return bytes(data)

    def _of_tokens(self, rng: Random, times: int) -> bytes:
        tokens = _TOKEN.findall(rng.choice(self._texts))
        for _ in range(times):
            at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
            match rng.randrange(6):
                case 0:
                    tokens[at] = ""
                case 1:
                    tokens[at] *= 2
                case 2:
                    tokens[at], tokens[other] = tokens[other], tokens[at]
                case _:
                    words = [i for i, token in enumerate(tokens) if token[:1].isalnum()]
                    tokens[rng.choice(words or [at])] = rng.choice(self._tokens)
        return "".join(tokens).encode()

    def _of_structure(self, rng: Random, times: int) -> Mutant:
        tree = copy.deepcopy(rng.choice(self._trees))
        for _ in range(times):
            places = _places(tree)
            if not places:
                break
            container, key, value = rng.choice(places)
            rng.choice(_CHANGES)(self, container, key, value, rng)
        if rng.random() < _AS_VALUES:
            values: dict[str, Any] = tree
            return values
        style: bool | None = rng.choice((None, None, True, False))
        text = yaml.dump(
            tree, Dumper=_Dumper, default_flow_style=style, sort_keys=False, allow_unicode=True
        )
        return text.encode()

    def wild(self, rng: Random) -> Any:
        """Draw a value that may stand anywhere: odd, of another place, or far too large."""
        match rng.randrange(4):
            case 0:
                return copy.deepcopy(rng.choice(_WILD_VALUES))
            case 1:
                return rng.choice(self._tokens)
            case _:
                return copy.deepcopy(rng.choice(self._values))


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes equal values out instead of aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _places(tree: Any) -> list[tuple[Any, Any, Any]]:
    """List every (container, key or index, value) of a tree."""
    found: list[tuple[Any, Any, Any]] = []
    waiting = [tree]
    while waiting:
        container = waiting.pop()
        pairs = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in pairs:
            found.append((container, key, value))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


_Change = Callable[[Mutator, Any, Any, Any, Random], None]


def _replace(mutator: Mutator, container: Any, key: Any, _: Any, rng: Random) -> None:
    container[key] = mutator.wild(rng)


def _drop(_mutator: Mutator, container: Any, key: Any, _value: Any, _rng: Random) -> None:
    del container[key]


def _swap(_mutator: Mutator, container: Any, key: Any, value: Any, rng: Random) -> None:
    other = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
    container[key], container[other] = container[other], value


def _rename(mutator: Mutator, container: Any, key: Any, value: Any, rng: Random) -> None:
    if isinstance(container, dict):
        del container[key]
        container[str(rng.choice(mutator._tokens))] = value
    else:
        container.insert(rng.randrange(len(container) + 1), mutator.wild(rng))


def _repeat(_mutator: Mutator, container: Any, key: Any, value: Any, rng: Random) -> None:
    times = rng.choice((2, 2, 2, 40, _MANY))
    if isinstance(value, list):
        container[key] = value * times
    elif isinstance(value, dict) and value:
        name, item = next(iter(value.items()))
        container[key] = value | {f"{name}{i}": copy.deepcopy(item) for i in range(times)}
    else:
        container[key] = [value] * times


def _deepen(_mutator: Mutator, container: Any, key: Any, value: Any, rng: Random) -> None:
    for _ in range(rng.choice((1, 1, 2, _DEEP))):
        value = rng.choice(([value], {"name": value}, {"residual": {"body": [value]}}))
    container[key] = value


def _spread(_mutator: Mutator, container: Any, key: Any, value: Any, rng: Random) -> None:
    """Make many different numbers of one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        number = rng.choice((2, 30, _MANY))
        container[key] = [value + i * rng.choice((1, 0.5)) for i in range(number)]
    else:
        container[key] = [value]


def _graft(mutator: Mutator, container: Any, key: Any, _: Any, rng: Random) -> None:
    """Put what stands under the same key elsewhere in the corpus."""
    same = [
        found
        for tree in mutator._trees
        for _, other, found in _places(tree)
        if other == key and isinstance(key, str)
    ]
    container[key] = copy.deepcopy(rng.choice(same)) if same else mutator.wild(rng)


_CHANGES: Final[tuple[_Change, ...]] = (
    _replace, _replace, _graft, _graft, _drop, _swap, _rename, _repeat, _deepen, _spread,
)  # fmt: skip
