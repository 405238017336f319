"""Secrets that got into a spec: known by their key, and kept out of store, MLflow and logs.

Tags are the only keys that a user invents, so they are all there is to look at.
"""

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import yaml

from experiments.language.source import Entry, Node

REDACTED: Final = "(redacted)"

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORDS: Final = frozenset(
    {"apikey", "credential", "credentials", "passphrase", "passwd", "password", "pwd", "secret"}
    | {"secrets", "token"}
)
_KEYS: Final = frozenset({"access", "api", "private", "secret"})
"""What a `key` is called that opens something."""


def looks_secret(key: str) -> bool:
    """Say whether a key such as `api_key`, `wandbToken` or `password` stands for a secret."""
    words = [word.lower() for word in _WORD.findall(key)]
    opens = any(a in _KEYS and b == "key" for a, b in pairwise(words))
    return opens or bool(_WORDS & set(words))


def redact(root: Node, text: str) -> tuple[Node, str, tuple[str, ...]]:
    """Take the values of secret-looking tags out of a spec and of its text.

    `text` is the YAML that `root` was read from, or empty. Gives both without the values, and
    a warning for each.
    """
    tags = root.entries().get("tags") if root.kind == "mapping" else None
    found = tags.value.value if tags is not None and tags.value.kind == "mapping" else ()
    secret = [entry.key for entry in found if looks_secret(entry.key)]
    if tags is None or not secret:
        return root, text, ()
    entries = tuple(_without_value(e) if e.key in secret else e for e in found)
    clean = replace(tags, value=replace(tags.value, value=entries))
    root = replace(root, value=tuple(clean if e.key == "tags" else e for e in root.value))
    warnings = tuple(
        f"tags.{key} looks like a secret: its value is not kept; take it out of the spec"
        for key in secret
    )
    return root, _redacted_text(text, set(secret)) if text else text, warnings


def _without_value(entry: Entry) -> Entry:
    return replace(entry, value=Node("scalar", REDACTED, entry.value.position))


def _redacted_text(text: str, secret: set[str]) -> str:
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = text.removeprefix("\ufeff")
    root: Any = yaml.compose(text, Loader=loader)
    tags = next(value for key, value in root.value if key.value == "tags")
    for key, value in reversed(tags.value):
        if key.value in secret:
            start, end = value.start_mark.index, value.end_mark.index
            line_end = "\n" if text[start:end].endswith("\n") else ""
            text = text[:start] + REDACTED + line_end + text[end:]
    return text
