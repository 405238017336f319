"""Each contract test runs on SQLite and on a real PostgreSQL, which is started here."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete

from orchestrator.measurements.results import Results
from orchestrator.queueing.outbox import Outbox
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store, writing
from orchestrator.store.tables import metadata
from tests.samples import SettableClock

_DEBIAN = Path("/usr/lib/postgresql")

# Nothing here needs to outlive a crash.
_OPTIONS = "-F -c full_page_writes=off -c synchronous_commit=off -c listen_addresses=''"


BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'trainyard.db'}"
    make: Callable[[], str] = request.getfixturevalue("new_postgres_url")
    return make()


@pytest.fixture(scope="session")
def postgres_engine(new_postgres_url: Callable[[], str]) -> Iterator[Engine]:
    """One store for the session: a new database for every test would take most of the time."""
    engine = open_store(new_postgres_url(), create=True)
    yield engine
    engine.dispose()


@pytest.fixture(params=BOTH)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty store."""
    if request.param == "postgresql":
        shared: Engine = request.getfixturevalue("postgres_engine")
        yield shared
        with writing(shared) as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(delete(table))
        return
    own = open_store(f"sqlite:///{tmp_path / 'trainyard.db'}", create=True)
    yield own
    own.dispose()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def queue(engine: Engine, clock: SettableClock) -> Queue:
    return Queue(engine, now=clock)


@pytest.fixture
def results(engine: Engine, clock: SettableClock) -> Results:
    return Results(engine, now=clock)


@pytest.fixture
def outbox(engine: Engine, clock: SettableClock) -> Outbox:
    return Outbox(engine, now=clock)


@pytest.fixture
def utc_seconds() -> Callable[[], float]:
    return time.time
