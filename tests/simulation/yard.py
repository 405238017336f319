"""Where the simulation reaches the real store, and where replies get lost on the way back."""

import secrets
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, Row, delete, event, select

from experiments.errors import StoreUnavailableError
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.outbox import Outbox
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store, reading, writing
from orchestrator.store.tables import metadata, trial
from tests.samples import SettableClock
from tests.simulation.snapshot import Snapshot, read_snapshot

_T = TypeVar("_T")


class Fault(Enum):
    """What becomes of a transaction at its end, as its caller sees it."""

    NONE = "none"
    REPLY_LOST = "committed, but the reply is lost"
    NOT_COMMITTED = "rolled back"


@dataclass
class Desk:
    """An orchestrator as the store sees it, with the leases that it knows of."""

    engine: Engine
    clock: SettableClock
    known: set[Lease] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Be another process from now on, which knows of nothing."""
        self.id = secrets.token_hex(4)
        self.process = f"{secrets.randbelow(2**22)}:{secrets.randbelow(2**40)}"
        self.queue = Queue(self.engine, now=self.clock, orchestrator=self.id)
        self.results = Results(self.engine, now=self.clock)
        self.known = set()


class Yard:
    """A store, two orchestrators' desks, and a person who submits and intervenes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = SettableClock()
        self.person = Queue(engine, now=self.clock)
        self.outbox = Outbox(engine, now=self.clock)
        self.desks = [Desk(engine, self.clock), Desk(engine, self.clock)]
        self._commit = engine.dialect.do_commit
        self._fault = Fault.NONE
        engine.dialect.do_commit = self._do_commit  # type: ignore[method-assign, assignment]

    def heal(self) -> None:
        """Let every transaction end well from here on."""
        self._fault = Fault.NONE

    def empty(self) -> None:
        """Forget everything: a new schedule begins."""
        with writing(self.engine) as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
        self.clock.seconds = 1_000_000.0
        for desk in self.desks:
            desk.restart()

    def ask(self, action: Callable[[], _T], fault: Fault) -> tuple[_T, bool]:
        """Do it; again if its outcome is unknown. The flag says whether once was enough."""
        self._fault = fault
        try:
            return action(), True
        except StoreUnavailableError:
            return action(), False
        finally:
            self._fault = Fault.NONE

    def _do_commit(self, connection: Any) -> None:
        fault, self._fault = self._fault, Fault.NONE
        if fault is not Fault.NOT_COMMITTED:
            self._commit(connection)
        if fault is not Fault.NONE:
            if self.engine.dialect.name == "sqlite":
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            raise psycopg.errors.AdminShutdown("the server goes down")

    def trial_row(self, trial_id: str) -> Row[Any]:
        with reading(self.engine) as connection:
            return connection.execute(select(trial).where(trial.c.id == trial_id)).one()

    def snapshot(self, *, with_counts: bool) -> Snapshot:
        return read_snapshot(self.engine, with_counts=with_counts)


@contextmanager
def a_yard(url: str) -> Generator[Yard]:
    """Make a store and a yard on it. SQLite's file need not outlive a power cut here."""
    engine = open_store(url, create=True)
    if engine.dialect.name == "sqlite":
        engine.dispose()

        @event.listens_for(engine, "connect")
        def _on_connect(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA synchronous = OFF")

    try:
        yield Yard(engine)
    finally:
        engine.dispose()


def fast_folder(otherwise: Path) -> Path:
    """Name a folder in memory, where there is one."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else otherwise
