"""The handle on the pool's process, where that is launched, fails, or is ended twice: no Ray."""

import socket
import subprocess
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from experiments.errors import StoreError
from experiments.records import Resources
from orchestrator.pools import pool_process
from orchestrator.pools.pool import PoolLost
from orchestrator.pools.pool_process import PoolProcess
from orchestrator.pools.reaper import MARK, marked, ray_folder
from orchestrator.settings import from_environment
from tests.pools import is_alive

ONE = Resources(cpus=1)


class Stuck:
    """A process that is killed and does not die."""

    pid = 1

    def kill(self) -> None:
        pass

    def wait(self, timeout: float | None = None) -> int:
        assert timeout is not None
        raise subprocess.TimeoutExpired("ray", timeout)


@pytest.fixture
def pool(home: Path) -> Iterator[PoolProcess]:
    """A pool that has not started anything."""
    settings = from_environment()
    assert settings.home == home
    pool = PoolProcess(settings, orchestrator="5700bb10")
    yield pool
    pool.close()


def folders() -> list[str]:
    start = Path(ray_folder("5700bb10"))
    return [path.name for path in start.parent.glob(f"{start.name}*")]


def connect(pool: PoolProcess) -> Connection:
    """Give the other end of what the pool takes for its process's pipe."""
    ours, its = socket.socketpair()
    pool._process = Stuck()  # type: ignore[assignment]
    pool._connection = Connection(ours.detach())
    pool._mark = "TRAINYARD_POOL=5700bb10/1"
    return Connection(its.detach())


def connect_launched(pool: PoolProcess) -> Connection:
    """The same, as if that process had been launched and told nothing yet."""
    pool._is_launched = True
    return connect(pool)


def cannot_fork(*_: Any, **__: Any) -> None:
    raise OSError("no more processes")


def test_closed_again_while_it_is_being_closed(
    pool: PoolProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sweeps = []

    def sweep(mark: str, **_: float) -> None:
        sweeps.append(mark)
        if len(sweeps) == 1:
            pool.close()  # as the main thread does at the second Ctrl-C

    monkeypatch.setattr(pool_process, "sweep", sweep)
    connect(pool)
    pool.close()
    assert sweeps == ["TRAINYARD_POOL=5700bb10/1"]
    assert "does not die" in caplog.text


def test_launched_process_has_started_nothing_and_goes_with_close(pool: PoolProcess) -> None:
    pool.launch()
    pool.launch()  # once is enough
    assert pool._process is not None
    pid = pool._process.pid
    assert marked(f"{MARK}=5700bb10") == {pid}
    assert not folders()

    pool.close()
    assert not is_alive(pid)
    assert not marked(f"{MARK}=5700bb10")


def test_launched_process_is_told_to_begin_when_it_is_needed(
    pool: PoolProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[Connection] = []
    monkeypatch.setattr(pool, "_launch", lambda: launched.append(connect_launched(pool)))
    pool.launch()
    pool.open()
    pool.hire(ONE)

    (its,) = launched
    asked = [its.recv()[0] for _ in range(3)]
    assert asked == ["begin", "start_embedded", "hire"]
    assert not its.poll(0.0)
    assert len(folders()) == 1


def test_launch_that_fails_is_told_when_the_process_is_needed(
    pool: PoolProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", cannot_fork)
    pool.launch()
    with pytest.raises(StoreError, match="no more processes"):
        pool.open()


def test_first_start_that_fails_is_an_error(
    pool: PoolProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", cannot_fork)
    with pytest.raises(StoreError, match="no more processes"):
        pool.hire(ONE)


def test_restart_that_fails_is_a_pool_that_is_lost(
    pool: PoolProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool._was_up = True
    monkeypatch.setattr(subprocess, "Popen", cannot_fork)
    for _ in range(2):
        worker = pool.hire(ONE)
        pool.start(worker, [])
        (lost,) = pool.poll(0.0)
        assert isinstance(lost, PoolLost)
        assert "no more processes" in lost.reason
        assert not pool.poll(0.0)
    assert not folders()


def test_refusal_after_it_was_up_is_a_pool_that_is_lost(
    pool: PoolProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_process, "sweep", lambda _mark, **_: True)
    for was_up in (True, False):
        pool._was_up = was_up
        with connect(pool) as process:
            process.send(("refused", "no port is free"))
            if was_up:
                (lost,) = pool.poll(1.0)
                assert isinstance(lost, PoolLost)
                assert lost.reason.startswith("no port is free")
            else:
                with pytest.raises(StoreError, match="no port is free"):
                    pool.poll(1.0)
