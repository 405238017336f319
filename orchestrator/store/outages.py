"""What a database's refusals mean: which may pass by themselves, and what a person can do.

An outage (no connection, no room, another transaction's turn) is worth another try; a wrong
password or a broken file is not; and our own mistakes are no refusals at all.

What a person can do is told with the error, and who tells it adds what follows: `up` goes on by
itself (`while_working`), a command is to be given again (`when_given_up`).
"""

import sqlite3
from collections.abc import Mapping
from typing import Final

from sqlalchemy import exc

from experiments.errors import StoreError, StoreUnavailableError

_AGAIN: Final = ""  # nothing is to be done but the same once more
_UNREACHABLE: Final = "start {server}, or see its log"

_SQLITE_ADVICE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_BUSY: "see with `fuser` which other process keeps it locked",
    sqlite3.SQLITE_LOCKED: _AGAIN,
    sqlite3.SQLITE_PROTOCOL: _AGAIN,
    sqlite3.SQLITE_NOMEM: "free some memory",
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "make room on its disk, or see in the system's log why it fails",
}
"""By SQLite's primary result code."""

_POSTGRESQL_ADVICE: Final[Mapping[str, str]] = {
    "25006": "wait until the server takes writes (is it a standby?)",
    "25P03": _AGAIN,  # an idle transaction was ended: this process stood still for long
    "40001": _AGAIN,  # serialization failure
    "40P01": _AGAIN,  # deadlock
    "53100": "make room on the server's disk",
    "53200": "free some of the server's memory",
    "53300": "end other connections, or raise the server's max_connections",
    "55P03": _AGAIN,  # a lock was not to be had in time
    "57014": _AGAIN,  # cancelled, as by a statement_timeout
    "57P01": _UNREACHABLE,
    "57P02": _UNREACHABLE,
    "57P03": _UNREACHABLE,
    "58030": "see in the server's log why its disk fails",
}
"""By SQLSTATE; see PostgreSQL's manual, appendix A. `{server}` is which one, and where."""

# A connection that was not to be had comes without an SQLSTATE. Said in these words (of an
# English server; of another one they are taken for an outage), waiting would not help.
_REFUSALS: Final = (
    "authentication failed",
    "certificate",
    "does not exist",
    "does not support SSL",
    "no password supplied",
    "not permitted",
    "permission denied",
    "pg_hba.conf",
)


class StoreOutageError(StoreUnavailableError):
    """An outage: its reason, and what a person can do about it (empty where it passes so)."""

    def __init__(self, reason: str, *, mend: str) -> None:
        """Say both in one line."""
        super().__init__(f"{reason}; {mend}" if mend else reason)
        self.reason = reason
        self.mend = mend


def explained(
    error: exc.DBAPIError, *, store: str, server: str = "the server"
) -> StoreError | None:
    """Say in one line what the database refused; None for what is our own mistake.

    `store` names it for a person, `server` what serves it. A `StoreUnavailableError` may pass.
    """
    advice = _advice(error)
    reason = " ".join(str(error.orig).split())
    if advice is not None:
        return StoreOutageError(
            f"{store}: the store cannot be used now: {reason}", mend=advice.format(server=server)
        )
    foreign = isinstance(error, exc.OperationalError | exc.InterfaceError)
    if not foreign and type(error) is not exc.DatabaseError:
        return None
    return StoreError(f"{store}: the store cannot be used: {reason}")


def reason_of(error: StoreUnavailableError) -> str:
    """Give why, without what can be done about it: for when it is over."""
    return error.reason if isinstance(error, StoreOutageError) else str(error)


def mend_of(error: Exception) -> str:
    """Give what can be done about an outage; empty where it passes by itself, or is none."""
    return error.mend if isinstance(error, StoreOutageError) else ""


def while_working(error: StoreUnavailableError) -> str:
    """Say it where the work is taken up again without anybody's doing."""
    return f"{error}; work goes on by itself then" if mend_of(error) else str(error)


def when_given_up(error: StoreUnavailableError) -> str:
    """Say it where a command ends because of it."""
    if mend_of(error):
        return f"{error}, then give the same command again"
    return f"{error}; give the same command again when that is over"


def _advice(error: exc.DBAPIError) -> str | None:
    """Give what to do about an outage; None where it is none."""
    if isinstance(error.orig, sqlite3.Error):
        # A code's lower byte is the primary one; the driver's own errors have no code.
        return _SQLITE_ADVICE.get(getattr(error.orig, "sqlite_errorcode", 0) & 0xFF)
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        known = _POSTGRESQL_ADVICE.get(state)
        is_connection = state.startswith("08") or error.connection_invalidated
        return _UNREACHABLE if known is None and is_connection else known
    if error.connection_invalidated:
        return _UNREACHABLE
    if not isinstance(error, exc.OperationalError):
        return None
    return None if any(word in str(error.orig) for word in _REFUSALS) else _UNREACHABLE
