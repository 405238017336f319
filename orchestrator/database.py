"""Opening the store: SQLite in the home by default, PostgreSQL by URL.

    engine = open_store(url, create=True)
    with writing(engine) as connection: ...    # one transaction, committed at the end
    with reading(engine) as connection: ...    # a snapshot that waits for no writer

A new store is made by `metadata.create_all`; Alembic (a second to import) is needed only
to upgrade an old one.
"""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Double,
    Engine,
    MetaData,
    Table,
    Text,
    create_engine,
    exc,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from experiments.errors import NotFoundError, StoreError, StoreVersionError
from orchestrator import sqlite_file
from orchestrator.settings import redacted, sqlite_path
from orchestrator.tables import SCHEMA_VERSION, VERSION_TABLE, metadata

Clock = Callable[[], ColumnElement[float]]
"""Gives the present time as an SQL expression, in seconds since the Unix epoch."""

_CONNECT_TIMEOUT_SECONDS: Final = 10
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
    engine = _connect(url)
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
        StoreError: The database cannot be reached, or is not a store.
    """
    from orchestrator.migrations import migrate

    engine = _connect(url)
    try:
        _require_file(engine)
        with writing(engine) as connection:
            _lock_schema(connection)
            version = _stored_version(connection)
            if version is None or _is_newer(version):
                _check_version(engine, version)
            migrate(connection)
    finally:
        engine.dispose()


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """Give a connection inside one transaction, committed unless the block raises."""
    with translated(engine), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """Give a connection that only reads, and therefore never waits for a writer."""
    with translated(engine), engine.connect() as connection:
        yield connection.execution_options(**{sqlite_file.READS_ONLY: True})


@contextmanager
def translated(engine: Engine) -> Generator[None]:
    """Turn the database's refusals into `StoreError`; our own mistakes stay what they are."""
    try:
        yield
    except exc.DBAPIError as error:
        foreign = isinstance(error, exc.OperationalError | exc.InterfaceError)
        if not foreign and type(error) is not exc.DatabaseError:
            raise
        reason = " ".join(str(error.orig).split())
        raise StoreError(f"{shown(engine)}: the store cannot be used: {reason}") from error


def shown(engine: Engine) -> str:
    """Name the store for a person, without its password."""
    return redacted(engine.url.render_as_string(hide_password=True))


def _connect(url: str) -> Engine:
    dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
    try:
        _check_url(url)
        if sqlite_path(url) is not None:
            engine = create_engine(
                url,
                json_serializer=dumps,
                connect_args={"timeout": sqlite_file.BUSY_TIMEOUT_SECONDS},
            )
            sqlite_file.prepare(engine)
            return engine
        return create_engine(
            url,
            json_serializer=dumps,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
                "application_name": "trainyard",
            },
        )
    except (exc.ArgumentError, ModuleNotFoundError, ValueError) as error:
        raise StoreError(
            f"{redacted(url)}: not a database that trainyard knows ({error}); expected "
            "sqlite:///FILE, or postgresql://USER@HOST/NAME with trainyard[postgres] installed"
        ) from error


def _check_url(url: str) -> None:
    """Refuse what SQLAlchemy would take, and then stumble over or forget.

    Raises:
        ValueError: The URL names no file, a port that is none, or another kind of database.
        ArgumentError: It is no URL.
    """
    path = sqlite_path(url)
    if path is not None and path.name in ("", ":memory:"):
        raise ValueError("a store is kept in a file")
    if path is not None:
        return
    try:
        driver = make_url(url).drivername
    except ValueError as error:
        raise ValueError("its port is not a number") from error
    if driver != "postgresql+psycopg":
        raise ValueError("no such kind of store")


def _create(engine: Engine) -> None:
    if (path := sqlite_path(str(engine.url))) is not None:
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


def _stored_version(connection: Connection) -> str | None:
    """Read the store's version; None where there is no store."""
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        if connection.dialect.name == "sqlite":
            raise StoreError(
                f"{shown(connection.engine)}: not a trainyard store; move it away, or name "
                "another with TRAINYARD_DATABASE_URL"
            )
        return None
    return connection.scalar(select(_version.c.version_num))


def _require_file(engine: Engine) -> None:
    # Asked before connecting, which would make an empty file.
    path = sqlite_path(str(engine.url))
    if path is not None and not path.exists():
        _check_version(engine, None)


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
