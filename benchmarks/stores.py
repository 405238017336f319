"""The two databases that trainyard's own sides are measured on, each with an empty store."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.postgres import NoPostgresError, new_server

Measure = Callable[[str, Path], dict[str, Any]]
"""Takes the URL of a store that does not exist yet, and a home; gives what it saw."""


def variables(url: str, home: Path) -> dict[str, str]:
    """Give the settings of trainyard's commands on a store."""
    return {"TRAINYARD_HOME": str(home), "TRAINYARD_DATABASE_URL": url}


@contextmanager
def settings_of(url: str, home: Path) -> Iterator[None]:
    """Have this process's `import trainyard` look at a store, for a while."""
    before = dict(os.environ)
    os.environ.update(variables(url, home))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def on_each_database(measure: Measure, folder: Path) -> dict[str, Any]:
    """Measure on a new store on SQLite, and on one on PostgreSQL, each with a home of its own.

    PostgreSQL is the system's package, with durable commits; where it is not installed, the
    reason stands in the place of its figures.
    """
    found = {}
    with TemporaryDirectory(dir=folder) as home:
        found["sqlite"] = measure(f"sqlite:///{home}/trainyard.db", Path(home))
    try:
        with new_server(durable=True) as server, TemporaryDirectory(dir=folder) as home:
            found["postgresql"] = measure(server.create_database("store"), Path(home))
    except NoPostgresError as error:
        print(f"PostgreSQL is left out: {error}", file=sys.stderr)
        found["postgresql"] = {"left_out": str(error)}
    return found
