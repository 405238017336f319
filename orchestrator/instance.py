"""Which process is which; and of orchestrators, one at a time on a SQLite store.

The lock of a SQLite store vanishes with its process. PostgreSQL needs none: any number of
orchestrators may share it, and each looks whether the others' processes still run.
"""

import fcntl
import json
import os
import secrets
import socket
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

from experiments.errors import StoreBusyError, StoreError
from orchestrator.settings import sqlite_path

GONE_SECONDS: Final = 60.0
"""An orchestrator that has given no sign of life for so long is taken for dead."""


def new_orchestrator() -> str:
    """Give an id for an orchestrator, short enough for people to read."""
    return secrets.token_hex(4)


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
    with suppress(OSError):  # a full disk: the lock counts, the signature is a courtesy
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), json.dumps(signature).encode(), 0)  # all of it in one write


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
    return holder["host"] == socket.gethostname() and not _exists(holder["pid"])


def own_process() -> str:
    """Name this process by its number and start: a later one of that number is another."""
    return f"{os.getpid()}:{_started_at(os.getpid()) or ''}"


def is_running(process: str) -> bool:
    """Say whether a process of this place, as `own_process` named it, still runs.

    It does where there is one of its number whose start none can tell, as under `hidepid`.
    """
    number, _, started_at = process.partition(":")
    if not _exists(int(number)):
        return False
    found = _started_at(int(number))
    return found is None or found == started_at


def place_on(host: str) -> str:
    """Name the place on a host, this machine, where this process and others see each other.

    Two machines, or containers, may have one hostname, and each its own process of a number.
    """
    return f"{host}/{_boot()}/{_namespace()}"


def host_of(place: str) -> str:
    """Give the host of a place, which is what people know it by."""
    return place.partition("/")[0]


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def _started_at(pid: int) -> str | None:
    """Give a process's start in clock ticks since boot: empty where it ended, None if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    # Fields 3 (state) and 22 (starttime) of proc_pid_stat(5); the name before may hold spaces.
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and is another user's
    return True
