"""A copy of a store that is in use: one whole file, as the store was at one moment.

Of SQLite's files alone; PostgreSQL brings a program for it, which a refusal names.
"""

import os
import shlex
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from experiments.errors import NotFoundError, StoreError
from orchestrator.settings import sqlite_path
from orchestrator.store.sqlite_file import BUSY_TIMEOUT_SECONDS, refuse_leftover
from workers.files import put_in_place

_ALL_PAGES: Final = -1  # at once: a copy in pieces begins anew whenever another process writes


def back_up(url: str, target: Path) -> None:
    """Copy a store of any version, for its owner only, to a file that is not there yet.

    Nobody who works on the store has to wait. The file is a store itself.

    Raises:
        NotFoundError: There is no store.
        StoreError: The store is damaged, or is PostgreSQL's; or the target is there already, or
            cannot be written.
    """
    store = sqlite_path(url)
    if store is None:
        raise StoreError(_advice(url, target))
    if not store.exists():
        raise NotFoundError(f"{store}: no store yet, so there is nothing to back up")
    _refuse_existing(target)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-backup-", dir=target.parent) as folder:
            aside = Path(folder, target.name)
            aside.touch(mode=0o600)
            _copy(store, aside)
            _refuse_existing(target)
            put_in_place(aside, target)
    except OSError as error:
        raise StoreError(
            f"{target}: the backup cannot be written: {error.strerror}; name a file in a folder "
            "that is there, with room for it"
        ) from error


def _copy(store: Path, copy: Path) -> None:
    try:
        with (
            # To open for reading alone would leave the log, which holds the newest commits.
            closing(_opened(store)) as source,
            closing(_opened(copy)) as sink,
        ):
            source.backup(sink, pages=_ALL_PAGES)
            (found,) = sink.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{store}: cannot be backed up: {error}") from error
    if found != "ok":
        raise StoreError(
            f"{store}: is damaged ({found}): restore an older backup; `sqlite3 {store} .recover` "
            "may save what came after it"
        )


def _opened(path: Path) -> sqlite3.Connection:
    # Of a URI alone can be said that no file is to be made.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", BUSY_TIMEOUT_SECONDS, uri=True)


def _refuse_existing(target: Path) -> None:
    refuse_leftover(target)
    if os.path.lexists(target):
        raise StoreError(f"{target}: is there already, and is not overwritten; name another file")


def _advice(url: str, target: Path) -> str:
    address = make_url(url).difference_update_query(["password"])
    # What `set` is told to be None it leaves as it is.
    shown = address.set(drivername="postgresql")._replace(password=None).render_as_string()
    command = shlex.join(["pg_dump", "--format=custom", f"--file={target}", shown])
    return (
        f"a PostgreSQL store is backed up by PostgreSQL's own program: {command} (which asks for "
        "the password, or finds it in ~/.pgpass)"
    )
