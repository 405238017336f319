"""The pool of workers on Ray: embedded and small, or on the cluster of `RAY_ADDRESS`.

The only module that imports ray. Ray starts processes and tells of their death, no more:
it restarts no worker and repeats no call, because only the queue may decide on that.
"""

import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import ray
from ray._private.services import canonicalize_bootstrap_address

from experiments.errors import StoreError
from experiments.records import Assignment, Resources
from orchestrator.machine import capacity
from orchestrator.pool import Message, WorkerLost
from orchestrator.ray_worker import PackWorker
from orchestrator.settings import Settings

_OBJECT_STORE_BYTES: Final = 100 * 2**20
"""Only events and assignments pass through Ray; its default is a third of the memory."""

_ACTOR: Final = {
    "max_restarts": 0,
    "max_task_retries": 0,
    # Threads: one trains, one waits for news to give, one takes requests to stop.
    "concurrency_groups": {"work": 1, "talk": 2},
}

_LOCAL_HOSTS: Final = frozenset({"auto", "local", "localhost", "127.0.0.1", "[::1]"})


_LOOK_SECONDS: Final = 3.0
"""How often the cluster is asked for its machines; trials wait so long for a new one."""


@dataclass(slots=True)
class _Worker:
    handle: Any  # Ray's actor handle has no static type
    resources: Resources
    listening: Any  # the one outstanding call of `listen`


class RayPool:
    """Workers as long-lived Ray actors; implements `orchestrator.pool.Pool`.

    Ray starts with `open`, or with the first worker. All methods belong to the main
    thread: Ray's processes end with the thread that started them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        num_workers: int | None = None,
        data_root: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember what to start; nothing is started yet.

        Args:
            settings: Where Ray is (`ray_address`; None for an embedded one).
            num_workers: The most workers at a time; None for as many as there is room for.
            data_root: Where workers find data sets; by default the settings' own place.
            clock: Gives seconds that only ever rise.
        """
        self._address = settings.ray_address
        self._data_root = settings.data if data_root is None else data_root
        self._num_workers = num_workers
        self._workers: dict[str, _Worker] = {}
        self._numbers = count(1)
        self._clock = clock
        self._seen_nodes: list[Resources] = []
        self._look_at = -math.inf  # when to look at the nodes again
        self._is_open = False

    def open(self) -> None:
        """Start Ray, or join the cluster, unless that is done.

        Raises:
            StoreError: The cluster cannot be reached, or is open to anyone.
        """
        if self._is_open:
            return
        if self._address is None:
            _start_embedded(self._num_workers)
        else:
            _join(self._address)
        self._is_open = True

    def room_for(self, resources: Resources) -> bool:
        """Say whether one more worker of that size fits beside those hired."""
        if self._num_workers is not None and len(self._workers) >= self._num_workers:
            return False
        hired = [worker.resources for worker in self._workers.values()]
        return fits([*hired, resources], nodes=self._nodes())

    def could_hold(self, resources: Resources, *, num_workers: int) -> bool:
        """Say whether so many workers of that size would fit if no others were hired."""
        return fits([resources] * num_workers, nodes=self._nodes())

    def hire(self, resources: Resources) -> str:
        """Start a worker and give its name at once; `WorkerReady` follows."""
        self.open()
        name = f"worker-{next(self._numbers)}"
        options: Any = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, **_ACTOR}
        actor = ray.remote(**options)(PackWorker)
        handle = actor.remote(name, resources=resources, data_root=self._data_root)
        self._workers[name] = _Worker(handle, resources, _talk(handle.listen))
        return name

    def dismiss(self, worker: str) -> None:
        """Send an idle worker home and free its resources; one that is gone is at home."""
        if worker in self._workers:
            ray.kill(self._workers.pop(worker).handle)

    def start(self, worker: str, pack: Sequence[Assignment]) -> None:
        """Hand a pack to an idle worker; returns at once.

        Nothing is to be said of a worker that is gone: `poll` has given its `WorkerLost`.
        """
        if worker in self._workers:
            run = self._workers[worker].handle.run
            run.options(concurrency_group="work").remote(tuple(pack))

    def stop(self, worker: str, trial_ids: Collection[str]) -> None:
        """Ask a worker to end these trials; each answers with an event unless the worker died."""
        if worker in self._workers:
            _talk(self._workers[worker].handle.stop, tuple(trial_ids))

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Give what came in, waiting up to the timeout for the first message.

        A worker that died is forgotten here, with one `WorkerLost`.
        """
        if not self._workers:
            time.sleep(timeout_seconds)
            return []
        calls = {worker.listening: name for name, worker in self._workers.items()}
        ready, waiting = ray.wait([*calls], timeout=timeout_seconds)
        if ready and waiting:  # Ray stops at the first; the others may be there too
            ready += ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
        return [message for call in ready for message in self._hear(calls[call])]

    def close(self) -> None:
        """End all workers at once; nothing they say later is heard."""
        while self._workers:
            ray.kill(self._workers.popitem()[1].handle)
        if self._is_open:
            ray.shutdown()
        self._is_open = False

    def _hear(self, name: str) -> list[Message]:
        worker = self._workers[name]
        try:
            messages: list[Message] = ray.get(worker.listening)
        except ray.exceptions.RayError as error:
            del self._workers[name]
            self._look_at = -math.inf  # perhaps its whole machine is gone
            ray.kill(worker.handle)  # in case it lives, but cannot be heard
            return [WorkerLost(name, _reason(error))]
        worker.listening = _talk(worker.handle.listen)
        return messages

    def _nodes(self) -> list[Resources]:
        """Give the cluster's machines as they were a few seconds ago: this is asked every turn."""
        if self._clock() >= self._look_at:
            self._seen_nodes = self._look()
            self._look_at = self._clock() + _LOOK_SECONDS
        return self._seen_nodes

    def _look(self) -> list[Resources]:
        if self._address is None:
            return [_embedded(self._num_workers)]
        self.open()
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        return [_node_resources(node["Resources"]) for node in nodes if node["Alive"]]


def fits(workers: Sequence[Resources], *, nodes: Sequence[Resources]) -> bool:
    """Say whether the workers fit on the nodes, each worker on one node (largest first)."""
    free = [[node.cpus, node.gpus] for node in nodes]
    for worker in sorted(workers, key=lambda each: (each.gpus, each.cpus), reverse=True):
        for node in free:
            # Ray counts in ten-thousandths; a third of a GPU must fit three times.
            if node[0] >= worker.cpus and node[1] >= worker.gpus - 1e-4:
                node[0] -= worker.cpus
                node[1] -= worker.gpus
                break
        else:
            return False
    return True


def check_address(address: str, environ: Mapping[str, str]) -> None:
    """Refuse a cluster that anyone on its network could join.

    Raises:
        StoreError: The cluster is on other machines and does not ask for a token, or the
            address is of a kind that trainyard cannot use.
    """
    if address.startswith("ray://"):
        raise StoreError(
            f"RAY_ADDRESS={address}: Ray's client protocol is not supported; run trainyard "
            "on a machine of the cluster with RAY_ADDRESS=auto, or give HOST:PORT"
        )
    if address.rpartition(":")[0] in _LOCAL_HOSTS or address in _LOCAL_HOSTS:
        return
    if environ.get("RAY_AUTH_MODE") != "token":
        raise StoreError(
            f"RAY_ADDRESS={address}: a cluster on other machines must ask for a token: export "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE (mode 0600), here and where "
            "`ray start` is called"
        )


def _start_embedded(num_workers: int | None) -> None:
    resources = _embedded(num_workers)
    try:
        _init(
            address="local",
            num_cpus=resources.cpus,
            num_gpus=int(resources.gpus),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            # Worker processes import torch while Ray is still starting.
            _system_config={"preload_python_modules": ["torch"]},
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise StoreError(
            f"the embedded Ray does not start: {_first_line(error)}; its logs are in "
            "/tmp/ray/session_latest/logs"
        ) from error


def _embedded(num_workers: int | None) -> Resources:
    """Give what an embedded Ray offers: this machine, or more cores if a person wants more."""
    machine = capacity()
    return Resources(cpus=max(machine.cpus, num_workers or 1), gpus=machine.gpus)


def _join(address: str) -> None:
    check_address(address, os.environ)
    try:
        _knock(address)
        _init(address=address)
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(
            f"RAY_ADDRESS={address}: no Ray cluster lets us in ({_first_line(error)}); start one "
            "with `ray start --head`, export RAY_AUTH_MODE=token if it asks for a token, or "
            "unset RAY_ADDRESS to use an embedded one"
        ) from error


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray itself tries for minutes."""
    if address == "auto":  # the cluster of this machine, which a file tells, perhaps no more
        address = canonicalize_bootstrap_address(address) or ""
    host, _, port = address.rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()


def _init(**options: Any) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    assert threading.current_thread() is threading.main_thread(), "Ray ends with its thread"
    logging.getLogger("ray").setLevel(logging.ERROR)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init(log_to_driver=False, configure_logging=False, **options)
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray put its own in place


def _talk(method: Any, *arguments: Any) -> Any:
    return method.options(concurrency_group="talk").remote(*arguments)


def _node_resources(counts: Mapping[str, float]) -> Resources:
    return Resources(cpus=int(counts.get("CPU", 0)), gpus=counts.get("GPU", 0.0))


def _reason(error: Exception) -> str:
    """Make one line of Ray's account of a death, without its own bookkeeping."""
    lines = (line.strip() for line in str(error).splitlines())
    skipped = ("class_name:", "actor_id:", "namespace:", "name:")
    return " ".join(line for line in lines if line and not line.startswith(skipped))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
