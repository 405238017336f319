"""A real PostgreSQL for the session, started from the system's package in a temporary folder."""

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

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
