"""A process that dies at any durable write leaves a store from which the job goes on."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.faults.failpoints import SQLITE
from tests.postgres import PostgresServer, server_or_skip
from tests.simulation.yard import fast_folder

pytestmark = pytest.mark.slow

Walk = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def walk(tmp_path: Path, repository: Path) -> Iterator[Walk]:
    """Walk the failpoints in a process of their own, which loads torch and forks."""

    def walk(url: str, *, every: int) -> list[dict[str, Any]]:
        module = [sys.executable, "-m", "tests.faults.failpoints"]
        done = subprocess.run(
            [*module, folder, url, "--every", str(every)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=repository,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    # In memory: a process that is killed loses nothing there, and syncing takes no time.
    with TemporaryDirectory(dir=fast_folder(tmp_path)) as folder:
        yield walk


def assert_died_and_recovered(outcomes: list[dict[str, Any]], *, at_least: int) -> None:
    """The walk itself has compared the results; here: that it was a walk at all."""
    assert [outcome["died"] for outcome in outcomes] == [True] * (len(outcomes) - 1) + [False]
    assert len(outcomes) > at_least
    assert any(outcome["num_attempts"] > 2 for outcome in outcomes), "nothing was under way"


def test_death_at_any_write_loses_and_doubles_nothing(walk: Walk) -> None:
    assert_died_and_recovered(walk(SQLITE, every=7), at_least=8)


@pytest.mark.chaos
@pytest.mark.timeout(1200)
def test_death_at_every_single_write_loses_and_doubles_nothing(walk: Walk) -> None:
    assert_died_and_recovered(walk(SQLITE, every=1), at_least=40)


@pytest.fixture
def durable_server() -> Iterator[PostgresServer]:
    with server_or_skip(durable=True) as server:
        yield server


@pytest.mark.chaos
@pytest.mark.postgres
@pytest.mark.timeout(1200)
def test_death_at_every_write_loses_and_doubles_nothing_on_postgresql(
    walk: Walk, durable_server: PostgresServer
) -> None:
    url = durable_server.url("point{n}")
    assert_died_and_recovered(walk(url, every=1), at_least=40)
