"""The workers on Ray: embedded and small, or on the cluster of `RAY_ADDRESS`.

The only module that imports ray, and it lives in the process of `pool_process.py`. Ray starts
processes and tells of their death, no more: it restarts no worker and repeats no call,
because only the queue may decide on that.
"""

import logging
import math
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
from ray._private import node as ray_node
from ray._private import services
from ray._raylet import (  # type: ignore[attr-defined]
    DASHBOARD_AGENT_LISTEN_PORT_NAME,
    METRICS_AGENT_PORT_NAME,
    METRICS_EXPORT_PORT_NAME,
    RUNTIME_ENV_AGENT_PORT_NAME,
    persist_port,
)

from experiments.errors import StoreError
from experiments.records import Assignment, Resources
from orchestrator.instance import is_running
from orchestrator.pools.pool import Message, WorkerLost
from orchestrator.pools.ray_worker import PackWorker, Whereabouts
from orchestrator.ray_address import check_address

_OBJECT_STORE_BYTES: Final = 100 * 2**20
"""Only events and assignments pass through Ray; its default is a third of the memory."""

_ACTOR: Final = {
    "max_restarts": 0,
    "max_task_retries": 0,
    # Threads: one trains, one takes packs in their order, one waits for news to give, one takes
    # requests to stop.
    "concurrency_groups": {"work": 1, "hand": 1, "talk": 2},
}

_VITAL: Final = frozenset({"gcs_server", "raylet"})
"""The processes of Ray without which no worker can be started."""

_AGENTS: Final = ("--dashboard_agent_command=", "--runtime_env_agent_command=")
"""The raylet's options for its agents: the one has metrics and events, the other prepares the
environments of workers that ask for another than their own."""

_AGENT_PORTS: Final = (
    DASHBOARD_AGENT_LISTEN_PORT_NAME,
    METRICS_AGENT_PORT_NAME,
    METRICS_EXPORT_PORT_NAME,
    RUNTIME_ENV_AGENT_PORT_NAME,
)
_NOT_SERVED: Final = -1
"""What Ray's agents themselves say of a port that they cannot serve."""

_KNOCK_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 1.0

_DEATH: Final = re.compile(
    r"The actor died .* pid: (\d+) ip: (\S+) .* Worker exit detail: (.*?)\.?"
)
_KILLED: Final = re.compile(r"Selected to kill: .*?pid=(\d+), actual memory used=([\d.]+)GB")
"""How Ray's memory monitor names a process that it ended."""

UNANSWERED: Final = (ray.exceptions.RayError, OSError, RuntimeError, ValueError)
"""What a question to a cluster raises that may be answered a moment later."""


class ClusterLostError(Exception):
    """Ray, or its part on this machine, is dead; the message says what of it."""


@dataclass(slots=True)
class _Worker:
    handle: Any  # Ray's actor handle has no static type
    listening: "Future[list[Message]]"  # the one outstanding call of `listen`
    whereabouts: "Future[Whereabouts]"


class RayPool:
    """Workers as long-lived Ray actors, by the names they are given.

    All methods but `nodes` belong to the main thread: Ray's processes end with the thread
    that started them. `on_news` is called with a worker's name, on a thread of Ray's, when
    `hear` would give something.
    """

    def __init__(
        self, *, data_root: Path, lease_seconds: float, on_news: Callable[[str], None]
    ) -> None:
        """Remember what workers need; nothing is started yet."""
        self._data_root = data_root
        self._lease_seconds = lease_seconds
        self._on_news = on_news
        self._workers: dict[str, _Worker] = {}
        self._is_embedded = False

    def start_embedded(self, capacity: Resources, folder: Path) -> None:
        """Start a Ray of our own, with what this machine offers and its files in a folder.

        Raises:
            StoreError: It does not start.
        """
        try:
            with _small_ray():
                _init(
                    address="local",
                    num_cpus=capacity.cpus,
                    num_gpus=int(capacity.gpus),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    _temp_dir=str(folder),
                    # Worker processes import torch while Ray is still starting.
                    _system_config={"preload_python_modules": ["torch"]},
                )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise StoreError(
                f"the embedded Ray does not start: {_first_line(error)}; its logs are in "
                f"{folder}/session_latest/logs"
            ) from error
        self._is_embedded = True

    def join(self, address: str, patience_seconds: float) -> None:
        """Join a cluster; one that cannot be reached is tried again while patience lasts.

        Raises:
            StoreError: The cluster cannot be reached, or is open to anyone.
        """
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                check_address(address, os.environ)
                _knock(address)
                _init(address=address)
                break
            except (OSError, ValueError, RuntimeError) as error:
                if time.monotonic() < deadline:
                    time.sleep(_PAUSE_SECONDS)
                    continue
                raise StoreError(
                    f"RAY_ADDRESS={address}: no Ray cluster lets us in ({_first_line(error)}); "
                    "start one with `ray start --head`, export RAY_AUTH_MODE=token if it asks "
                    "for a token, or unset RAY_ADDRESS to use an embedded one"
                ) from error
        self._is_embedded = False

    def hire(self, name: str, resources: Resources) -> None:
        """Start a worker; `WorkerReady` follows."""
        options: Any = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, **_ACTOR}
        handle: Any = ray.remote(**options)(PackWorker).remote(
            name,
            resources=resources,
            data_root=self._data_root,
            lease_seconds=self._lease_seconds,
        )
        handle.work.options(concurrency_group="work").remote()
        whereabouts = _talk(handle.whereabouts).future()
        self._workers[name] = _Worker(handle, self._listen(name, handle), whereabouts)

    def dismiss(self, worker: str) -> None:
        """Send an idle worker home and free its resources; one that is gone is at home."""
        if worker in self._workers:
            ray.kill(self._workers.pop(worker).handle)

    def kill(self, worker: str) -> None:
        """End a worker at once, even one that is frozen, and free its resources."""
        if worker in self._workers:
            self._end(self._workers.pop(worker))

    def start(self, worker: str, pack: Sequence[Assignment]) -> None:
        """Hand a pack to a worker; nothing is to be said of one that is gone."""
        if worker in self._workers:
            receive = self._workers[worker].handle.receive
            receive.options(concurrency_group="hand").remote(tuple(pack))

    def stop(self, worker: str, trial_ids: Collection[str]) -> None:
        """Ask a worker to end these trials; each answers with an event unless the worker died."""
        if worker in self._workers:
            _talk(self._workers[worker].handle.stop, tuple(trial_ids))

    def renewed(self, workers: Collection[str]) -> None:
        """Tell workers that their leases were prolonged just now."""
        for worker in workers:
            if worker in self._workers:
                _talk(self._workers[worker].handle.renewed)

    def hear(self, name: str) -> list[Message]:
        """Give what a worker said; one that died is forgotten here, with one `WorkerLost`.

        Raises:
            ClusterLostError: It died because Ray did.
        """
        worker = self._workers.get(name)
        if worker is None or not worker.listening.done():
            return []
        try:
            messages = worker.listening.result()
        except ray.exceptions.RayError as error:
            if self._is_embedded:
                self.nodes()
            del self._workers[name]
            self._end(worker)  # in case it lives, but cannot be heard
            return [_lost(name, error, worker.whereabouts)]
        worker.listening = self._listen(name, worker.handle)
        return messages

    def nodes(self) -> list[Resources]:
        """Look whether Ray is alive, and give the cluster's machines (none if embedded).

        Raises:
            ClusterLostError: A part of Ray that runs here is dead.
            Exception: One of `UNANSWERED`: the cluster does not answer now.
        """
        if self._is_embedded:
            node: Any = ray._private.worker._global_node
            dead = {kind for kind, _ in node.dead_processes()} & _VITAL
            if dead:
                raise ClusterLostError(f"Ray's {' and '.join(sorted(dead))} died")
            return []
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        _check_own_node(nodes)
        return [_node_resources(node["Resources"]) for node in nodes if node["Alive"]]

    def close(self) -> None:
        """End all workers at once and leave the cluster."""
        while self._workers:
            ray.kill(self._workers.popitem()[1].handle)
        ray.shutdown()

    def _listen(self, name: str, handle: Any) -> "Future[list[Message]]":
        listening: Future[list[Message]] = _talk(handle.listen).future()
        listening.add_done_callback(lambda _: self._on_news(name))
        return listening

    def _end(self, worker: _Worker) -> None:
        # A frozen process does not hear Ray; and Ray must know, too, or it keeps the room.
        where = _result(worker.whereabouts)
        if where is not None and where.host == socket.gethostname() and is_running(where.process):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(where.pid, signal.SIGKILL)
        ray.kill(worker.handle)


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray itself tries for minutes."""
    if address == "auto":  # the cluster of this machine, which a file tells, perhaps no more
        address = services.canonicalize_bootstrap_address(address) or ""
    host, _, port = address.rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def _init(**options: Any) -> None:
    assert threading.current_thread() is threading.main_thread(), "Ray ends with its thread"
    logging.getLogger("ray").setLevel(logging.ERROR)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray.init(log_to_driver=False, configure_logging=False, **options)
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray put its own in place


class _SmallNode(ray_node.Node):
    """A head node of GCS and raylet alone, with nobody to watch logs, metrics or the load.

    Of its other processes Ray waits for most before it starts the first worker: three of four
    seconds on two cores. What they do is done here otherwise, or not asked for.
    """

    def start_monitor(self) -> None:
        """Start no autoscaler."""

    def start_log_monitor(self) -> None:
        """Start nothing that copies workers' logs to the driver."""

    def start_api_server(self, **_: Any) -> None:
        """Start no server, which Ray does even where no dashboard is asked for."""

    def start_raylet(self, *arguments: Any, **options: Any) -> None:
        """Start the raylet, told by way of files that its agents are there and serve nothing."""
        for port in _AGENT_PORTS:
            persist_port(self._session_dir, self._node_id, port, _NOT_SERVED)
        super().start_raylet(*arguments, **options)


@contextmanager
def _small_ray() -> Generator[None]:
    """Have `ray.init` start a `_SmallNode`; Ray has no option for that."""
    start: Any = services.start_ray_process

    def start_small(command: list[str], *arguments: Any, **options: Any) -> Any:
        # The raylet ends when one of its agents does, so it gets some that only wait for its end.
        small = [
            f"{each.partition('=')[0]}=cat" if each.startswith(_AGENTS) else each
            for each in command
        ]
        return start(small, *arguments, **options)

    places = ((ray_node, "Node", _SmallNode), (services, "start_ray_process", start_small))
    whole = [(place, name, getattr(place, name)) for place, name, _ in places]
    try:
        for place, name, small in places:
            setattr(place, name, small)
        yield
    finally:
        for place, name, original in whole:
            setattr(place, name, original)


def _check_own_node(nodes: Sequence[Mapping[str, Any]]) -> None:
    """Look whether the raylet of this machine is there: through it, workers are started."""
    own = ray.get_runtime_context().get_node_id()
    for node in nodes:
        if node["NodeID"] == own:
            place = (node["NodeManagerAddress"], node["NodeManagerPort"])
            try:
                socket.create_connection(place, timeout=_KNOCK_SECONDS).close()
            except ConnectionRefusedError as error:
                raise ClusterLostError("the raylet of this machine died") from error


def _talk(method: Any, *arguments: Any) -> Any:
    return method.options(concurrency_group="talk").remote(*arguments)


def _result(future: "Future[Whereabouts]") -> Whereabouts | None:
    """Give what a worker said of itself, None if it never did."""
    if future.done() and future.exception() is None:
        return future.result()
    return None


def _node_resources(counts: Mapping[str, float]) -> Resources:
    return Resources(cpus=int(counts.get("CPU", 0)), gpus=counts.get("GPU", 0.0))


def _lost(name: str, error: Exception, whereabouts: "Future[Whereabouts]") -> WorkerLost:
    where = _result(whereabouts)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return memory_death(name, str(error), pid=None if where is None else where.pid)
    return WorkerLost(name, reason(str(error)))


def memory_death(name: str, account: str, *, pid: int | None) -> WorkerLost:
    """Make sense of Ray's account of a worker that its memory monitor ended.

    Ray ends the largest together with its neighbours: only one that held at least half as
    much as the largest of them is to blame; one whose share is not told is.
    """
    gigabytes = {int(each): float(used) for each, used in _KILLED.findall(account)}
    held = math.inf if pid is None else gigabytes.get(pid, math.inf)
    to_blame = held >= max(gigabytes.values(), default=0.0) / 2
    share = "" if math.isinf(held) else f"; this worker held {held:g} GB"
    others = "" if to_blame else ", another one far more"
    return WorkerLost(
        name,
        f"Ray's memory monitor ended it, as the machine ran short of memory{share}{others}",
        out_of_memory=to_blame,
    )


def reason(account: str) -> str:
    """Make one line of Ray's account of a death, without its own bookkeeping and guesses."""
    lines = (line.strip() for line in account.splitlines())
    skipped = ("class_name:", "actor_id:", "namespace:", "name:")
    line = " ".join(line for line in lines if line and not line.startswith(skipped))
    line = line.partition(" Some common causes include")[0]
    died = _DEATH.fullmatch(line)
    return line if died is None else "its process {} on {} ended: {}".format(*died.groups())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
