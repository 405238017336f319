"""What the database refused: an outage, a refusal for good, or a mistake of ours."""

import sqlite3

import psycopg
import pytest
from sqlalchemy import exc

from experiments.errors import StoreError, StoreUnavailableError
from orchestrator.store.outages import (
    StoreOutageError,
    explained,
    mend_of,
    reason_of,
    when_given_up,
    while_working,
)


def from_postgresql(
    wrapper: type[exc.DBAPIError], state: str | None, message: str, *, cut: bool = False
) -> exc.DBAPIError:
    kind = psycopg.OperationalError if state is None else psycopg.errors.lookup(state)
    return wrapper("SELECT 1", {}, kind(message), connection_invalidated=cut)


def from_sqlite(code: int, message: str) -> exc.DBAPIError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code
    return exc.OperationalError("SELECT 1", {}, error)


def refused_by_server(message: str) -> exc.DBAPIError:
    text = f'connection failed: connection to server at "db", port 5432 failed: {message}'
    return from_postgresql(exc.OperationalError, None, text)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (from_sqlite(sqlite3.SQLITE_BUSY, "database is locked"), "other process"),
        (from_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT, "database is locked"), "other process"),
        (from_sqlite(sqlite3.SQLITE_FULL, "database or disk is full"), "make room on its disk"),
        (from_sqlite(sqlite3.SQLITE_IOERR_SHMSIZE, "disk I/O error"), "make room"),
        (refused_by_server("Connection refused\n\tIs the server running?"), "start the server"),
        (refused_by_server("FATAL:  the database system is starting up"), "start the server"),
        (refused_by_server("FATAL:  sorry, too many clients already"), "start the server"),
        (from_postgresql(exc.OperationalError, "57P01", "terminating", cut=True), "start the"),
        (from_postgresql(exc.OperationalError, "57P03", "shutting down"), "start the server"),
        (from_postgresql(exc.OperationalError, "08006", "failure"), "start the server"),
        (from_postgresql(exc.InterfaceError, None, "is closed", cut=True), "start the server"),
        (from_postgresql(exc.OperationalError, "53100", "could not extend file"), "make room"),
        (from_postgresql(exc.OperationalError, "53300", "too many clients"), "max_connections"),
        (from_postgresql(exc.OperationalError, "58030", "could not write"), "disk fails"),
        (from_postgresql(exc.OperationalError, "40P01", "deadlock"), "now: deadlock"),
        (from_postgresql(exc.OperationalError, "40001", "could not serialize"), "could not"),
        (from_postgresql(exc.InternalError, "25006", "read-only transaction"), "standby"),
    ],
)
def test_outage_says_in_one_line_what_to_do(error: exc.DBAPIError, advice: str) -> None:
    told = explained(error, store="yard.db")

    assert isinstance(told, StoreUnavailableError)
    assert advice in str(told)
    assert str(told).startswith("yard.db: the store cannot be used now: ")
    assert "\n" not in str(told)


@pytest.mark.parametrize(
    "error",
    [
        from_sqlite(sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
        from_sqlite(sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
        from_sqlite(sqlite3.SQLITE_ERROR, "no such table: trial"),
        exc.DatabaseError("SELECT 1", {}, sqlite3.DatabaseError("file is not a database")),
        refused_by_server('FATAL:  password authentication failed for user "me"'),
        refused_by_server('FATAL:  database "yard" does not exist'),
        refused_by_server("FATAL:  no pg_hba.conf entry for host"),
        from_postgresql(exc.OperationalError, "57P04", "database was dropped"),
    ],
)
def test_what_stays_as_it_is_is_no_outage(error: exc.DBAPIError) -> None:
    assert type(explained(error, store="yard.db")) is StoreError


@pytest.mark.parametrize(
    "error",
    [
        exc.IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE failed")),
        from_postgresql(exc.ProgrammingError, "42P01", "no such table"),
        from_postgresql(exc.DataError, "22003", "out of range"),
    ],
)
def test_our_own_mistakes_are_left_to_be_seen(error: exc.DBAPIError) -> None:
    assert explained(error, store="yard.db") is None


def outage(error: exc.DBAPIError) -> StoreOutageError:
    told = explained(error, store="yard.db", server="the server at db:5432")
    assert isinstance(told, StoreOutageError)
    return told


def test_what_follows_an_outage_is_told_by_whom_it_befell() -> None:
    refused = outage(refused_by_server("Connection refused"))

    assert mend_of(refused) == "start the server at db:5432, or see its log"
    assert str(refused).endswith(f"Connection refused; {mend_of(refused)}")
    assert reason_of(refused).endswith("Connection refused")
    assert while_working(refused) == f"{refused}; work goes on by itself then"
    assert when_given_up(refused) == f"{refused}, then give the same command again"


@pytest.mark.parametrize(
    "passing",
    [
        outage(from_postgresql(exc.OperationalError, "40P01", "deadlock detected")),
        StoreUnavailableError("yard.db: the store cannot be created: No space left on device"),
    ],
)
def test_outage_without_advice_is_told_by_its_reason(passing: StoreUnavailableError) -> None:
    assert (mend_of(passing), reason_of(passing), while_working(passing)) == (
        "",
        *2 * [str(passing)],
    )
    assert when_given_up(passing) == f"{passing}; give the same command again when that is over"
