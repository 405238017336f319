"""Of the mirrors of one SQLite store, one tells MLflow; the others wait until it has ended.

There are several where one goes on by itself after its orchestrator. On PostgreSQL, which
mirrors of several machines share, the database has the lock (`mlflow_drain.py`).
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from orchestrator.settings import sqlite_path


class MirrorLock:
    """The right to tell MLflow of a store; it vanishes with the process that holds it."""

    def __init__(self, url: str) -> None:
        """Remember which store; nothing is held yet."""
        self._path = _path(url)
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Take the lock unless another process holds it; True where this one does.

        Raises:
            OSError: Its file cannot be opened.
        """
        if self._path is None or self._file is not None:
            return True
        number = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        file = os.fdopen(number, "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        with suppress(OSError):  # a full disk: the lock counts, the number is a courtesy
            os.ftruncate(number, 0)
            os.pwrite(number, str(os.getpid()).encode(), 0)
        self._file = file
        return True

    def close(self) -> None:
        """Let go of it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def teller(url: str) -> int | None:
    """Give the process that tells MLflow of a SQLite store now; None where none does."""
    path = _path(url)
    if path is None:
        return None
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read())
    except (OSError, ValueError):  # there was never one, or it has not signed yet
        pass
    return None


def _path(url: str) -> Path | None:
    """Name the lock's file: beside the database's, links resolved, so that two homes meet."""
    if (path := sqlite_path(url)) is None:
        return None
    database = path.resolve()
    return database.with_name(f"{database.name}.mirror.lock")
