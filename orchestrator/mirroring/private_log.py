"""A log file for a process of ours: its owner's alone, bounded, without secrets or escapes."""

import logging
import os
from collections.abc import Collection, Mapping
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from experiments.language.printable import printable
from experiments.language.redaction import REDACTED

MOST_BYTES: Final = 2**20
"""What a log may hold; as much again lies beside it, in `<name>.1`."""

_VARIABLES: Final = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_LEAST_CHARACTERS: Final = 4  # shorter ones would be found in ordinary words


def secrets_of(urls: Collection[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give what must not be shown: the passwords in these URLs, and MLflow's own of `environ`.

    Longer ones first, so that one within another hides nothing of it.
    """
    found = {environ[name] for name in _VARIABLES if environ.get(name)}
    for url in urls:
        userinfo = urlsplit(url).netloc.rpartition("@")[0]
        user, colon, password = userinfo.partition(":")
        if not colon and url.startswith("http"):
            password = user  # a token
        found |= {f"{userinfo}@", password, unquote(password)} if password else set()
    return tuple(sorted((s for s in found if len(s) >= _LEAST_CHARACTERS), key=len, reverse=True))


def without(secrets: Collection[str], text: str) -> str:
    """Take secrets out of a text."""
    for secret in secrets:
        text = text.replace(secret, f"{REDACTED}@" if secret.endswith("@") else REDACTED)
    return text


def open_private(path: Path) -> TextIOWrapper:
    """Open a file to append to it; only its owner may read it, from now on at least."""
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.fchmod(number, 0o600)
    return os.fdopen(number, "a", encoding="utf-8", errors="backslashreplace")


def log_to(path: Path, *, secrets: Collection[str]) -> None:
    """Send what this process logs to a file, and what it prints on stderr.

    Of us that is all, of the libraries what they warn of.
    """
    handler = _PrivateFile(path, maxBytes=MOST_BYTES, backupCount=1, encoding="utf-8")
    handler.setFormatter(_Cleaned(secrets))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("orchestrator").setLevel(logging.INFO)
    logging.captureWarnings(True)


class _PrivateFile(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        stream = open_private(Path(self.baseFilename))
        os.dup2(stream.fileno(), 2)  # past a rotation, too
        return stream


class _Cleaned(logging.Formatter):
    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return printable(without(self._secrets, super().format(record)), keep="\n")
