"""One orchestrator at a time on a SQLite store: a lock that vanishes with its process.

PostgreSQL needs none of this: any number of orchestrators may share it.
"""

import fcntl
import json
import os
import socket
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from experiments.errors import StoreBusyError, StoreError
from orchestrator.settings import sqlite_path


@contextmanager
def sole_orchestrator(url: str) -> Generator[None]:
    """Hold the store for this process while the block runs; nothing to hold on PostgreSQL.

    The lock lies beside the database file, links resolved, so that two homes that point
    at one file meet. The file stays; what counts is the kernel's lock on it.

    Raises:
        StoreBusyError: Another process holds it; the message says which, since when.
        StoreError: The lock's file cannot be opened, as when it is another user's.
    """
    path = sqlite_path(url)
    if path is None:
        yield
        return
    database = path.resolve()
    lock = database.with_name(f"{database.name}.lock")
    with _opened(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreBusyError(f"{database}: {_holder(file)}") from error
        _sign(file)
        try:
            yield
        finally:
            file.truncate(0)  # or the next holder would pass for us until it has signed


def _opened(lock: Path) -> IO[str]:
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except PermissionError as error:
        raise StoreError(
            f"{lock}: cannot be opened: {error.strerror}; the store is another user's: let "
            "them work on it, set TRAINYARD_HOME to a folder of your own, or share a "
            "PostgreSQL database"
        ) from error
    except OSError as error:
        raise StoreError(f"{lock}: cannot be opened: {error.strerror}") from error


def _sign(file: IO[str]) -> None:
    signature = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    file.truncate(0)
    file.write(json.dumps(signature))
    file.flush()  # all of it in one write


def _holder(file: IO[str]) -> str:
    try:
        holder = json.load(file)
    except ValueError:
        holder = None
    if holder is None or _is_gone(holder):  # who holds the lock has not signed yet
        return "another orchestrator has just started to work on this store; wait for it"
    return (
        "another orchestrator works on this store: process {pid} on {host}, since {since} "
        "(`{command}`); wait for it, or stop it with `kill {pid}`. It also takes up what "
        "`trainyard submit` adds".format(**holder)
    )


def _is_gone(holder: Mapping[str, Any]) -> bool:
    """Say whether a signature is that of a process which was killed before it could erase it."""
    if holder["host"] != socket.gethostname():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, and is another user's
    return False
