"""One orchestrator at a time on a SQLite store: a lock that vanishes with its process.

PostgreSQL needs none of this: any number of orchestrators may share it.
"""

import fcntl
import json
import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from experiments.errors import StoreBusyError
from orchestrator.settings import sqlite_path


@contextmanager
def sole_orchestrator(url: str) -> Generator[None]:
    """Hold the store for this process while the block runs; nothing to hold on PostgreSQL.

    The lock lies beside the database file, links resolved, so that two homes that point
    at one file meet. The file stays; what counts is the kernel's lock on it.

    Raises:
        StoreBusyError: Another process holds it; the message says which, since when.
    """
    path = sqlite_path(url)
    if path is None:
        yield
        return
    database = path.resolve()
    lock = database.with_name(f"{database.name}.lock")
    with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreBusyError(f"{database}: {_holder(file)}") from error
        _sign(file)
        yield


def _sign(file: IO[str]) -> None:
    file.truncate(0)
    json.dump(
        {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        },
        file,
    )
    file.flush()


def _holder(file: IO[str]) -> str:
    try:
        holder = json.load(file)
    except ValueError:  # it holds the lock, but has not signed yet
        return "another orchestrator has just started to work on this store; wait for it"
    return (
        "another orchestrator works on this store: process {pid} on {host}, since {since} "
        "(`{command}`); wait for it, or stop it with `kill {pid}`. It also takes up what "
        "`trainyard submit` adds".format(**holder)
    )
