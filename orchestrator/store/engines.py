"""The engines of the two kinds of store: what a URL must be, and how connections behave."""

import json
from typing import Any, Final

from sqlalchemy import Connection, Engine, FromClause, create_engine, event, exc, make_url
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from experiments.errors import StoreError
from orchestrator.settings import redacted, sqlite_path
from orchestrator.store import sqlite_file
from orchestrator.store.sqlite_file import READS_ONLY

# A server that is gone without a word (a cable, a frozen host) is given up after 30 s.
_POSTGRESQL_ARGUMENTS: Final = {
    "application_name": "trainyard",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_MOST_IDLE_MILLISECONDS: Final = 60_000


def connect(url: str) -> Engine:
    """Give the engine of a store's URL; nothing is connected yet.

    Raises:
        StoreError: It is no URL of a store.
    """
    dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
    try:
        _check_url(url)
        if (path := sqlite_path(url)) is not None:
            engine = create_engine(
                sqlite_file.url_of(path),
                json_serializer=dumps,
                connect_args={"timeout": sqlite_file.BUSY_TIMEOUT_SECONDS},
            )
            engine.dialect.statement_compiler = _HintingCompiler
            sqlite_file.prepare(engine)
            return engine
        engine = create_engine(
            url, json_serializer=dumps, pool_pre_ping=True, connect_args=_POSTGRESQL_ARGUMENTS
        )
        event.listen(engine, "connect", _compile_nothing)
        event.listen(engine, "begin", _on_begin)
        return engine
    except (exc.ArgumentError, ModuleNotFoundError, ValueError) as error:
        raise StoreError(
            f"{redacted(url)}: not a database that trainyard knows ({error}); expected "
            "sqlite:///FILE, or postgresql://USER@HOST/NAME with trainyard[postgres] installed"
        ) from error


class _HintingCompiler(SQLiteCompiler):
    """Writes `Select.with_hint`'s text behind a table, as `INDEXED BY name`; SQLAlchemy drops it.

    SQLite keeps no statistics of a store, so of two indexes that look alike it takes the smaller.
    """

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        del table
        return text


def _compile_nothing(connection: Any, _record: object) -> None:
    # PostgreSQL takes a quarter of a second to compile a query that then runs for a hundredth.
    connection.execute("SET jit = off")
    connection.commit()


def _on_begin(connection: Connection) -> None:
    if connection.get_execution_options().get(READS_ONLY, False):
        # Each statement would see the store at another moment.
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    else:
        # A frozen process must not hold the rows that it has locked away from all others.
        connection.exec_driver_sql(
            f"SET LOCAL idle_in_transaction_session_timeout = {_MOST_IDLE_MILLISECONDS}"
        )


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
