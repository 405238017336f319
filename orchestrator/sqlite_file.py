"""What a SQLite store needs that PostgreSQL brings along: durability, modes, a safe birth.

Write-ahead logging, so that readers and the one writer do not wait for each other; every
commit synced to disk; transactions that write take the lock at their start, so that none
of them fails half-way.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, create_engine, event

from experiments.errors import StoreError

BUSY_TIMEOUT_SECONDS: Final = 30.0
READS_ONLY: Final = "trainyard_reads_only"
"""The execution option of a connection that will not write."""

_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    }
)


def prepare(engine: Engine) -> None:
    """Make the engine's connections durable, and let its transactions begin as they should."""

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing; we do, below
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        reads_only = connection.get_execution_options().get(READS_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def create(path: Path, create_tables: Callable[[Connection], None]) -> None:
    """Make the store's file, for its owner only, unless there is one.

    It is built under another name and linked into place whole, so that of many processes
    that create it at once one wins, and none ever sees half a store.

    Raises:
        StoreError: The folder cannot be written, or lies on a network file system.
    """
    if path.exists():
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_network(path.parent)
        with tempfile.TemporaryDirectory(prefix=".new-store-", dir=path.parent) as folder:
            unborn = Path(folder, path.name)
            unborn.touch(mode=0o600)
            _fill(unborn, create_tables)
            with suppress(FileExistsError):
                os.link(unborn, path)
    except OSError as error:
        raise StoreError(f"{path}: the store cannot be created: {error.strerror}") from error


def _fill(path: Path, create_tables: Callable[[Connection], None]) -> None:
    engine = create_engine(f"sqlite:///{path}")
    prepare(engine)
    raw = engine.raw_connection()
    raw.cursor().execute("PRAGMA journal_mode = WAL")  # written into the file, for good
    raw.close()
    with engine.begin() as connection:
        create_tables(connection)
    engine.dispose()


def _refuse_network(folder: Path) -> None:
    kind = file_system(folder)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{folder}: lies on a network file system ({kind}), where SQLite cannot keep its "
            "promises; set TRAINYARD_HOME to a local folder, or TRAINYARD_DATABASE_URL to "
            "a PostgreSQL database"
        )


def file_system(folder: Path, *, mounts: str | None = None) -> str:
    """Name the type of the file system that holds a folder; empty where that is unknown.

    `mounts` is the text of Linux's mount table (`/proc/self/mounts` unless given).
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text(errors="surrogateescape")
        except OSError:
            return ""
    folder = folder.resolve()
    found = {
        # Spaces in a mount point are written as \040.
        Path(fields[1].replace("\\040", " ")): fields[2]
        for fields in map(str.split, mounts.splitlines())
    }
    nearest = next((place for place in (folder, *folder.parents) if place in found), None)
    return found[nearest] if nearest is not None else ""
