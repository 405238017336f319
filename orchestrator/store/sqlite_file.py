"""What a SQLite store needs that PostgreSQL brings along: durability, modes, a safe birth.

Write-ahead logging, so that readers and the one writer do not wait for each other; every
commit synced to disk; transactions that write take the lock at their start, so that none
of them fails half-way.
"""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event

from experiments.errors import StoreError, StoreUnavailableError

BUSY_TIMEOUT_SECONDS: Final = 30.0
READS_ONLY: Final = "trainyard_reads_only"
"""The execution option of a connection that will not write; to be set before it is used."""

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


def url_of(path: Path) -> URL:
    """Give the URL of a store's file, whatever characters are in its name."""
    return URL.create("sqlite", database=str(path))


def prepare(engine: Engine) -> None:
    """Make the engine's connections durable, and let its transactions begin as they should.

    Once a connection is open, a file that was deleted or replaced is refused (`StoreError`):
    SQLite would go on writing into the one that nobody can open any more.
    """
    path = Path(str(engine.url.database)).absolute()
    opened: tuple[int, int] | None = None

    @event.listens_for(engine, "do_connect")
    def _on_open(*_: object) -> None:
        _require_same(path, opened)  # here too: to connect is to make a file where none is

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        nonlocal opened
        opened = opened or _identity(path)
        connection.isolation_level = None  # the driver begins nothing; we do, below
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        _require_same(path, opened)
        reads_only = connection.get_execution_options().get(READS_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def let_tables_be_remade(engine: Engine) -> None:
    """Let a migration drop tables that others refer to, and make them again.

    To be called before the engine connects: within a transaction SQLite ignores the switch.
    """

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys = OFF")

    @event.listens_for(engine, "commit")
    def _on_commit(connection: Connection) -> None:
        astray = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        assert not astray, f"the migration left rows that refer to nothing: {astray[:5]}"


def create(path: Path, create_tables: Callable[[Connection], None]) -> None:
    """Make the store's file, for its owner only, unless there is one.

    It is built under another name and linked into place whole, so that of many processes
    that create it at once one wins, and none ever sees half a store.

    Raises:
        StoreError: The folder cannot be written, or lies on a network file system; or a
            log is there of a store that is not.
    """
    if path.exists():
        return
    refuse_leftover(path)
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
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = StoreUnavailableError if full else StoreError
        raise kind(f"{path}: the store cannot be created: {error.strerror}") from error


def refuse_leftover(path: Path) -> None:
    """Refuse the log of a store that is gone: SQLite would write it into another one.

    Raises:
        StoreError: There is such a log.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and not path.exists():  # asked in this order: a new store comes before its log
        raise StoreError(
            f"{log}: is left of a store that is not there: put {path.name} back beside it, or "
            f"remove it and {path.name}-shm"
        )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _require_same(path: Path, opened: tuple[int, int] | None) -> None:
    if opened is not None and _identity(path) != opened:
        raise StoreError(
            f"{path}: the store was deleted, moved or replaced while it was in use, and nothing "
            "is written any more: put the file back as it was, or restore a backup of it, and "
            "start again"
        )


def _fill(path: Path, create_tables: Callable[[Connection], None]) -> None:
    engine = create_engine(url_of(path))
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
