"""The pool when what it stands on dies: each fault for real, and then a worker that trains.

One pool for all tests of this file.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments.architectures.architecture import Architecture
from experiments.events import TrialSucceeded
from experiments.records import Assignment, Resources, TrialConfig
from orchestrator.pools.pool import PackDone, PoolLost, Reported, WorkerLost, WorkerReady
from orchestrator.pools.pool_process import PoolProcess
from orchestrator.pools.reaper import MARK, marked
from orchestrator.settings import from_environment
from tests.pools import events, hear, ray_processes

ORCHESTRATOR = "fa017500"
HOG_BYTES = 3 * 2**30
MakeConfig = Callable[..., TrialConfig]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    home = tmp_path_factory.mktemp("faults")
    pool = PoolProcess(from_environment({"TRAINYARD_HOME": str(home)}), orchestrator=ORCHESTRATOR)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def idle() -> list[str]:
    """The worker that a test left ready, if any: Ray takes seconds to start another."""
    return []


@pytest.mark.parametrize(
    "victim",
    [
        "raylet",
        pytest.param("gcs_server", marks=pytest.mark.chaos),
        pytest.param("ray_host", marks=pytest.mark.chaos),
    ],
)
def test_pool_is_lost_once_and_the_next_worker_trains(
    pool: PoolProcess, idle: list[str], digits_config: MakeConfig, victim: str
) -> None:
    worker = idle.pop() if idle else ready(pool)
    pool.start(worker, [Assignment("a", 1, digits_config(epochs=100_000))])
    hear(pool, until=Reported)

    os.kill(ray_processes(ORCHESTRATOR)[victim], signal.SIGKILL)
    killed = time.monotonic()
    heard = hear(pool, until=PoolLost)
    print(f"{victim}: lost after {time.monotonic() - killed:.1f} s: {heard[-1]}")

    assert [message for message in heard if not isinstance(message, Reported)] == heard[-1:]
    assert isinstance(heard[-1], PoolLost)
    assert {"ray_host": "ended"}.get(victim, victim) in heard[-1].reason
    assert not marked(f"{MARK}={ORCHESTRATOR}"), "nothing of the old cluster lives"
    pool.start(worker, [Assignment("a", 1, digits_config())])  # says nothing to nobody
    assert pool.poll(0.0) == []

    again = ready(pool)
    assert again != worker
    pool.start(again, [Assignment("a", 2, digits_config())])
    assert isinstance(events(hear(pool, until=PackDone))[-1], TrialSucceeded)
    idle.append(again)
    print(f"{victim}: trained again after {time.monotonic() - killed:.1f} s")


@pytest.mark.chaos
def test_worker_that_takes_all_memory_is_ended_and_that_is_said(
    pool: PoolProcess, digits_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.close()
    total, free = (memory(name) for name in ("MemTotal", "MemAvailable"))
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{(total - free + HOG_BYTES) / total:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    worker = ready(pool)
    # Weights, their gradients and their momentum: 800 bytes a unit.
    huge = ["flatten", {"linear": 2 * HOG_BYTES // 800}, {"linear": 10}]
    hog = Architecture.from_data({"name": "hog", "input_shape": [1, 8, 8], "layers": huge})

    pool.start(worker, [Assignment("a", 1, digits_config(architecture=hog, epochs=1000))])
    lost = hear(pool, until=WorkerLost)[-1]

    assert isinstance(lost, WorkerLost)
    assert lost.worker == worker
    assert lost.out_of_memory
    assert "memory monitor" in lost.reason
    assert "GB" in lost.reason


def ready(pool: PoolProcess) -> str:
    """Hire a worker, and wait until it is ready."""
    name = pool.hire(Resources(cpus=1))
    (message,) = hear(pool, until=WorkerReady)
    assert isinstance(message, WorkerReady)
    assert message.worker == name
    return name


def memory(name: str) -> int:
    """Read a line of /proc/meminfo, in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
