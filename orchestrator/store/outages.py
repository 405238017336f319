"""What a database's refusals mean: which may pass by themselves, and what a person can do.

An outage (no connection, no room, another transaction's turn) is worth another try; a wrong
password or a broken file is not; and our own mistakes are no refusals at all.
"""

import sqlite3
from collections.abc import Mapping
from typing import Final

from sqlalchemy import exc

from experiments.errors import StoreError, StoreUnavailableError

_AGAIN: Final = "it can be done again"
_GOES_ON: Final = "work goes on by itself then"
_UNREACHABLE: Final = f"start the server, or see its log; {_GOES_ON}"

_SQLITE_ADVICE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_BUSY: "another process kept it locked; see which with `fuser`",
    sqlite3.SQLITE_LOCKED: _AGAIN,
    sqlite3.SQLITE_PROTOCOL: _AGAIN,
    sqlite3.SQLITE_NOMEM: f"free some memory; {_GOES_ON}",
    sqlite3.SQLITE_FULL: f"make room on its disk; {_GOES_ON}",
    sqlite3.SQLITE_IOERR: f"its disk fails, or is full: see the system's log; {_GOES_ON}",
}
"""By SQLite's primary result code."""

_POSTGRESQL_ADVICE: Final[Mapping[str, str]] = {
    "25006": f"the server only reads at present (a standby?); {_GOES_ON}",
    "25P03": _AGAIN,  # an idle transaction was ended: this process stood still for long
    "40001": _AGAIN,  # serialization failure
    "40P01": _AGAIN,  # deadlock
    "53100": f"make room on the server's disk; {_GOES_ON}",
    "53200": f"the server is out of memory; {_GOES_ON}",
    "53300": f"end other connections, or raise the server's max_connections; {_GOES_ON}",
    "55P03": _AGAIN,  # a lock was not to be had in time
    "57014": _AGAIN,  # cancelled, as by a statement_timeout
    "57P01": _UNREACHABLE,
    "57P02": _UNREACHABLE,
    "57P03": _UNREACHABLE,
    "58030": f"the server's disk fails: see its log; {_GOES_ON}",
}
"""By SQLSTATE; see PostgreSQL's manual, appendix A."""

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


def explained(error: exc.DBAPIError, *, store: str) -> StoreError | None:
    """Say in one line what the database refused; None for what is our own mistake.

    `store` names it for a person. A `StoreUnavailableError` may pass.
    """
    advice = _advice(error)
    reason = " ".join(str(error.orig).split())
    if advice is not None:
        return StoreUnavailableError(f"{store}: the store cannot be used now: {reason}; {advice}")
    foreign = isinstance(error, exc.OperationalError | exc.InterfaceError)
    if not foreign and type(error) is not exc.DatabaseError:
        return None
    return StoreError(f"{store}: the store cannot be used: {reason}")


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
