"""Opening the store: SQLite in the home by default, PostgreSQL by URL.

    engine = open_store(url, create=True)
    with writing(engine) as connection: ...    # one transaction, committed at the end
    with reading(engine) as connection: ...    # a snapshot that waits for no writer
    persist(lambda: queue.submit(...), seconds=15)    # again, while there is an outage

A new store is made by `metadata.create_all`; Alembic (a second to import) is needed only
to upgrade an old one.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Double,
    Engine,
    MetaData,
    Table,
    Text,
    exc,
    func,
    insert,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from experiments.errors import (
    NotFoundError,
    StoreBusyError,
    StoreError,
    StoreUnavailableError,
    StoreVersionError,
)
from orchestrator.instance import GONE_SECONDS, host_of, sole_orchestrator
from orchestrator.settings import redacted
from orchestrator.store import outages, sqlite_file
from orchestrator.store.engines import connect
from orchestrator.store.tables import SCHEMA_VERSION, VERSION_TABLE, metadata, orchestrator
from workers import failpoint

_T = TypeVar("_T")

Clock = Callable[[], ColumnElement[float]]
"""Gives the present time as an SQL expression, in seconds since the Unix epoch."""

_SHORTEST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
_ADVISORY_LOCK: Final = 0x747261696E  # "train": held while a PostgreSQL schema changes

# Alembic's own layout of its version table, under our name.
_version = Table(VERSION_TABLE, MetaData(), Column("version_num", Text))


class StoreMissingError(NotFoundError):
    """There is no store yet: nothing has ever been submitted."""


class _DatabaseNow(FunctionElement[float]):
    type = Double()
    inherit_cache = True


def database_now() -> ColumnElement[float]:
    """Give the database's clock as an SQL expression: seconds since the Unix epoch."""
    return _DatabaseNow()


@compiles(_DatabaseNow, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    # Milliseconds; `unixepoch('subsec')` is NULL before SQLite 3.42.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_DatabaseNow, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:
    # Not now(), which stands still during a transaction.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


def open_store(url: str, *, create: bool) -> Engine:
    """Connect to the store, of this version; with `create`, make it first where none is.

    Raises:
        StoreMissingError: There is no store, and `create` is false.
        StoreVersionError: The store is of a newer or an older version.
        StoreError: The database cannot be reached, or is not a store.
    """
    engine = connect(url)
    try:
        if create:
            _create(engine)
        _require_file(engine)
        with reading(engine) as connection:
            _check_version(engine, _stored_version(connection))
    except BaseException:
        engine.dispose()
        raise
    return engine


def upgrade(url: str) -> None:
    """Bring an existing store to this version; an up-to-date one is left as it is.

    Raises:
        StoreMissingError: There is no store.
        StoreVersionError: The store is of a newer version.
        StoreBusyError: An orchestrator works on it, whose next write would not fit.
        StoreError: The database cannot be reached, or is not a store.
    """
    from orchestrator.store.migrations import migrate

    engine = connect(url)
    try:
        _require_file(engine)
        if engine.dialect.name == "sqlite":
            sqlite_file.let_tables_be_remade(engine)
        with reading(engine) as connection:
            version = _stored_version(connection)
        if version == SCHEMA_VERSION:
            return
        if version is None or _is_newer(version):
            _check_version(engine, version)
        with sole_orchestrator(url), writing(engine) as connection:
            _lock_schema(connection)
            if _stored_version(connection) == SCHEMA_VERSION:
                return  # another was faster
            _refuse_beside_an_orchestrator(connection)
            migrate(connection)
    finally:
        engine.dispose()


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """Give a connection inside one transaction, committed unless the block raises."""
    with translated(engine):
        with engine.begin() as connection:
            yield connection
            failpoint.passing("before a commit")
        failpoint.passing("after a commit")


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """Give a connection that only reads, and therefore never waits for a writer.

    All statements see the store as it was at the first of them: on PostgreSQL by "repeatable
    read", on SQLite by a transaction that is deferred, beside the write-ahead log. A write is
    refused by PostgreSQL; SQLite undoes it at the end of the block.
    """
    with translated(engine), engine.connect() as connection:
        yield connection.execution_options(**{sqlite_file.READS_ONLY: True})


@contextmanager
def translated(engine: Engine) -> Generator[None]:
    """Turn the database's refusals into `StoreError`; our own mistakes stay what they are.

    What may pass by itself becomes a `StoreUnavailableError`.
    """
    try:
        yield
    except exc.DBAPIError as error:
        refusal = outages.explained(error, store=shown(engine), server=_server(engine))
        if refusal is None:
            raise
        raise refusal from error


def persist(
    action: Callable[[], _T],
    *,
    seconds: float,
    waiting: Callable[[StoreUnavailableError, float], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> _T:
    """Do what is safe to repeat, again and again while the store is unavailable.

    `seconds` is how long at most; `waiting` hears of every pause: why, and how many seconds
    have gone by.

    Raises:
        StoreUnavailableError: The store is unavailable still.
    """
    start, pause = clock(), _SHORTEST_PAUSE_SECONDS
    while True:
        try:
            return action()
        except StoreUnavailableError as error:
            gone = clock() - start
            if gone >= seconds:
                raise
            if waiting is not None:
                waiting(error, gone)
            sleep(min(pause, seconds - gone))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def shown(engine: Engine) -> str:
    """Name the store for a person, without its password."""
    return redacted(engine.url.render_as_string(hide_password=True))


def _server(engine: Engine) -> str:
    """Name what serves the store, with its address where the URL has one."""
    host, port = engine.url.host, engine.url.port
    return f"the server at {host}:{port or 5432}" if host else "the server"


def _create(engine: Engine) -> None:
    if (path := _file_of(engine)) is not None:
        with translated(engine):
            sqlite_file.create(path, _create_tables)
        return
    with reading(engine) as connection:
        if _stored_version(connection) is not None:
            return
    with writing(engine) as connection:
        _lock_schema(connection)
        if _stored_version(connection) is None:  # nobody was faster
            _create_tables(connection)


def _create_tables(connection: Connection) -> None:
    metadata.create_all(connection)
    # The column's width is Alembic's, whose upgrades will write here.
    connection.exec_driver_sql(
        f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
        f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    connection.execute(insert(_version).values(version_num=SCHEMA_VERSION))


def _lock_schema(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))


def _refuse_beside_an_orchestrator(connection: Connection) -> None:
    """Refuse where an orchestrator was seen of late; on SQLite the lock has told already."""
    if connection.dialect.name == "sqlite" or not connection.dialect.has_table(
        connection, orchestrator.name
    ):
        return
    columns = (orchestrator.c.id, orchestrator.c.host, orchestrator.c.process)
    lately = orchestrator.c.seen_at >= database_now() - GONE_SECONDS
    found = connection.execute(select(*columns).where(lately).limit(1)).first()
    if found is not None:
        number, _, _ = found.process.partition(":")
        raise StoreBusyError(
            f"{shown(connection.engine)}: an orchestrator works on this store: process {number} "
            f"on {host_of(found.host)}; stop all of them first (one that was killed counts as "
            f"gone after {GONE_SECONDS:.0f} s)"
        )


def _stored_version(connection: Connection) -> str | None:
    """Read the store's version; None where there is no store."""
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        if (path := _file_of(connection.engine)) is not None:
            what = (
                "not a trainyard store; move it away, or name another with TRAINYARD_DATABASE_URL"
                if path.stat().st_size
                else "an empty file, no store yet (a creation that was broken off?): remove it, "
                "then give the same command again"
            )
            raise StoreError(f"{shown(connection.engine)}: {what}")
        return None
    return connection.scalar(select(_version.c.version_num))


def _require_file(engine: Engine) -> None:
    # Asked before connecting, which would make an empty file.
    path = _file_of(engine)
    if path is not None and not path.exists():
        _check_version(engine, None)


def _file_of(engine: Engine) -> Path | None:
    is_file = engine.dialect.name == "sqlite"
    return Path(str(engine.url.database)) if is_file else None


def _is_newer(version: str) -> bool:
    # Ours are four digits; what is none of ours came after us.
    return not version.isdigit() or int(version) > int(SCHEMA_VERSION)


def _check_version(engine: Engine, version: str | None) -> None:
    if version is None:
        raise StoreMissingError(
            f"{shown(engine)}: no store yet: nothing has been submitted; "
            "`trainyard submit SPEC` makes one"
        )
    if _is_newer(version):
        raise StoreVersionError(
            f"{shown(engine)}: written by a newer trainyard (schema {version}); this one "
            f"knows up to {SCHEMA_VERSION}: upgrade trainyard"
        )
    if version != SCHEMA_VERSION:
        raise StoreVersionError(
            f"{shown(engine)}: written by an older trainyard (schema {version}); this one "
            f"needs {SCHEMA_VERSION}: run `trainyard db upgrade`"
        )
