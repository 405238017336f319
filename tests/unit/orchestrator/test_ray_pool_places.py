"""Where a pool's workers fit, which clusters it joins, and what it makes of a worker's death."""

import socket
from pathlib import Path
from typing import Any

import pytest
import ray

from experiments.errors import StoreError
from experiments.records import Resources
from orchestrator.pools.pool_process import PoolProcess, fits
from orchestrator.pools.ray_pool import RayPool, memory_death, reason
from orchestrator.settings import from_environment

MEMORY_ACCOUNT = """2 worker(s) were killed due to the node running low on memory.
Considered workers: [
Selected to kill: (Actor(1f): job ID=01, lease ID=01, task name=A.__init__, required resources=\
{CPU: 1}, pid=25232, actual memory used=0.32GB, worker ID=b3)
Selected to kill: (Actor(6b): job ID=01, lease ID=00, task name=A.__init__, required resources=\
{CPU: 1}, pid=25233, actual memory used=3.49GB, worker ID=d1)
]
"""

DEATH_ACCOUNT = """The actor died unexpectedly before finishing this task.
\tclass_name: PackWorker
\tactor_id: bc3b7a359e7773281cd6acaa01000000
\tpid: 24215
\tnamespace: 52228f8d
\tip: 127.0.0.1
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker \
exit detail: connection error code 2. End of file. Some common causes include: (1) the process \
was killed by the OOM killer due to high memory usage."""


@pytest.mark.parametrize(
    ("workers", "nodes", "fit"),
    [
        ([(1, 0)] * 4, [(4, 0)], True),
        ([(1, 0)] * 5, [(4, 0)], False),
        ([(3, 0)], [(2, 0), (2, 0)], False),  # a worker stays on one machine
        ([(1, 0), (1, 0), (2, 0)], [(2, 0), (2, 0)], True),  # the large one goes first
        ([(1, 0.5), (1, 0.5)], [(4, 1)], True),
        ([(1, 0.5), (1, 0.5), (1, 0.5)], [(4, 1)], False),
        ([(1, 1 / 3)] * 3, [(4, 1)], True),
        ([(1, 1 / 3)] * 4, [(4, 1)], False),
        ([(1, 1), (2, 0)], [(2, 0), (1, 1)], True),
        ([], [], True),
        ([(1, 0)], [], False),
    ],
)
def test_workers_fit_when_each_finds_a_machine(
    workers: list[tuple[int, float]], nodes: list[tuple[int, float]], fit: bool
) -> None:
    assert (
        fits([Resources(*size) for size in workers], nodes=[Resources(*size) for size in nodes])
        is fit
    )


def join(address: str) -> None:
    pool = RayPool(data_root=Path(), lease_seconds=60.0, on_news=lambda _: None)
    pool.join(address, 0.0)


def test_cluster_where_nobody_listens_is_refused_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and yet deaf
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StoreError, match=rf"{address}: no Ray cluster lets us in .*refused"):
            join(address)


@pytest.mark.parametrize("address", ["here", "127.0.0.1:port"])
def test_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(StoreError, match=f"RAY_ADDRESS={address}"):
        join(address)


def test_refusal_passes_through_the_pool_process(tmp_path: Path) -> None:
    settings = from_environment({"TRAINYARD_HOME": str(tmp_path), "RAY_ADDRESS": "ray-head:6379"})
    pool = PoolProcess(settings, orchestrator="0a1b2c3d")
    with pytest.raises(StoreError, match=r"ray-head:6379.*export RAY_AUTH_MODE=token"):
        pool.open()
    assert pool.poll(0.0) == []


def test_nodes_are_those_that_are_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def nodes() -> list[dict[str, Any]]:
        return [
            {"NodeID": "a", "Alive": True, "Resources": {"CPU": 2.0}},
            {"NodeID": "b", "Alive": False, "Resources": {"CPU": 64.0}},
        ]

    monkeypatch.setattr(ray, "nodes", nodes)
    monkeypatch.setattr("orchestrator.pools.ray_pool._check_own_node", lambda _: None)
    pool = RayPool(data_root=Path(), lease_seconds=60.0, on_news=lambda _: None)
    assert pool.nodes() == [Resources(cpus=2)]


def test_worker_that_is_gone_can_be_sent_home_and_spoken_to_in_vain(tmp_path: Path) -> None:
    settings = from_environment({"TRAINYARD_HOME": str(tmp_path)})
    pool = PoolProcess(settings, orchestrator="0a1b2c3d")

    pool.stop("worker-1", ["trial"])
    pool.start("worker-1", [])
    pool.renewed(["worker-1"])
    pool.dismiss("worker-1")
    pool.kill("worker-1")
    pool.close()

    assert pool.poll(0.0) == []


@pytest.mark.parametrize(
    ("pid", "to_blame", "said"),
    [
        (25233, True, "this worker held 3.49 GB"),
        (25232, False, "this worker held 0.32 GB, another one far more"),
        (None, True, "ran short of memory"),
    ],
)
def test_memory_monitor_takes_neighbours_along_who_are_not_to_blame(
    pid: int | None, to_blame: bool, said: str
) -> None:
    lost = memory_death("w", MEMORY_ACCOUNT, pid=pid)
    assert lost.out_of_memory is to_blame
    assert lost.reason.endswith(said)


def test_reason_is_one_line_without_ids_and_guesses() -> None:
    assert reason(DEATH_ACCOUNT) == (
        "its process 24215 on 127.0.0.1 ended: connection error code 2. End of file"
    )
