"""A real PostgreSQL, started from the system's package in a temporary folder.

Most tests share one server, which forgets everything in a crash. Those that crash it have
one of their own (`new_server`), which keeps what it has acknowledged.
"""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

_DEBIAN: Final = Path("/usr/lib/postgresql")

# Nothing of the shared server needs to outlive a crash.
_FORGETFUL: Final = "-F -c full_page_writes=off -c synchronous_commit=off"
_USUAL_PORT: Final = 5432  # of a socket, of which each folder has its own


class NoPostgresError(Exception):
    """The system has no PostgreSQL to start."""


@dataclass(frozen=True)
class PostgresServer:
    """A server of our own; its socket lies in `folder`, which only a short path allows."""

    folder: Path
    port: int
    options: str

    def start(self) -> None:
        """Start it and wait until it answers, after a crash too."""
        options = f"{self.options} -k {self.folder} -p {self.port}"
        self._control("-l", self.folder / "log", "-w", "-o", options, "start")

    def stop(self) -> None:
        """End it at once, as if the power were cut, but for what the system still writes."""
        self._control("-m", "immediate", "stop")

    def kill(self) -> None:
        """Send SIGKILL to the server and every process of it, and wait until they are gone."""
        server = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        doomed = [server, *_children(server)]
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(_is_alive(pid) for pid in doomed):
            time.sleep(0.01)
        # Until somebody has buried it, its successor would take it for alive.
        (self.folder / "data" / "postmaster.pid").unlink()
        (self.folder / f".s.PGSQL.{self.port}.lock").unlink()

    def create_database(self, name: str) -> str:
        """Make an empty database, and give its URL."""
        with psycopg.connect(
            host=str(self.folder),
            port=self.port,
            user="postgres",
            dbname="postgres",
            autocommit=True,
        ) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def url(self, name: str) -> str:
        """Give a database's URL (by the socket)."""
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}&port={self.port}"

    def _control(self, *arguments: str | Path) -> None:
        program = _program("pg_ctl")
        data = self.folder / "data"
        subprocess.run([program, "-D", data, *arguments], **_as_owner(self.folder))


@contextmanager
def new_server(*, durable: bool) -> Generator[PostgresServer]:
    """Run a server; a `durable` one keeps what it has acknowledged, and listens on TCP too.

    Raises:
        NoPostgresError: There is none on this system.
    """
    initdb = _program("initdb")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if os.geteuid() == 0:  # which PostgreSQL refuses
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        initialise: list[str | Path] = [initdb, "-D", folder / "data", "--no-sync"]
        initialise += ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
        subprocess.run(initialise, **_as_owner(folder))
        listening = "-c listen_addresses=" + ("127.0.0.1" if durable else "''")
        options = listening if durable else f"{_FORGETFUL} {listening}"
        server = PostgresServer(folder, _free_port() if durable else _USUAL_PORT, options)
        server.start()
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):  # a test may have left it killed
                server.stop()
    finally:
        shutil.rmtree(folder)


def _program(name: str) -> Path:
    programs = sorted(_DEBIAN.glob(f"*/bin/{name}"))
    if not programs:
        raise NoPostgresError(f"no PostgreSQL in {_DEBIAN}: install Debian's package `postgresql`")
    return programs[-1]


def _as_owner(folder: Path) -> dict[str, Any]:
    as_owner: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        as_owner |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    return as_owner


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@contextmanager
def server_or_skip(*, durable: bool) -> Generator[PostgresServer]:
    """Run a server for tests, which are skipped where there is none (in CI they fail)."""
    try:
        with new_server(durable=durable) as server:
            yield server
    except NoPostgresError as error:
        pytest.fail(str(error)) if os.environ.get("CI") == "true" else pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for the session, fast and forgetful."""
    with server_or_skip(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def new_postgres_url(postgres_server: PostgresServer) -> Callable[[], str]:
    """Give a function that makes an empty database and gives its URL."""
    numbers = itertools.count(1)
    return lambda: postgres_server.create_database(f"store{next(numbers)}")
