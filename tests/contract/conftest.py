"""Each contract test runs on SQLite and on a real PostgreSQL, which is started here."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, delete

from orchestrator.database import open_store, writing
from orchestrator.outbox import Outbox
from orchestrator.queue import Queue
from orchestrator.results import Results
from orchestrator.tables import metadata
from tests.samples import SettableClock

_DEBIAN = Path("/usr/lib/postgresql")

# Nothing here needs to outlive a crash.
_OPTIONS = "-F -c full_page_writes=off -c synchronous_commit=off -c listen_addresses=''"


@pytest.fixture(scope="session")
def postgres_folder() -> Iterator[Path]:
    """Run a PostgreSQL server for the session; its socket lies in the folder."""
    programs = sorted(_DEBIAN.glob("*/bin/initdb"))
    if not programs:
        reason = f"no PostgreSQL in {_DEBIAN}: install Debian's package `postgresql`"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    binaries = programs[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # short: a socket's path is limited
    data = folder / "data"
    as_owner: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    if os.geteuid() == 0:  # which PostgreSQL refuses
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        as_owner |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    initialise: list[str | Path] = [binaries / "initdb", "-D", data, "--no-sync"]
    initialise += ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
    subprocess.run(initialise, **as_owner)
    control: list[str | Path] = [binaries / "pg_ctl", "-D", data, "-l", folder / "log", "-w"]
    subprocess.run([*control, "-o", f"{_OPTIONS} -k {folder}", "start"], **as_owner)
    yield folder
    subprocess.run([*control, "-m", "immediate", "stop"], **as_owner)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def new_postgres_url(postgres_folder: Path) -> Callable[[], str]:
    """Give a function that makes an empty database and gives its URL."""
    numbers = itertools.count(1)

    def make() -> str:
        name = f"store{next(numbers)}"
        with psycopg.connect(
            host=str(postgres_folder), user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://postgres@/{name}?host={postgres_folder}"

    return make


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
