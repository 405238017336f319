"""The pool as a process beside the orchestrator: the handle on it (its loop is `ray_host.py`).

    pool = PoolProcess(settings, orchestrator="0a1b2c3d")
    pool.launch()                     # if it may be needed: python -m orchestrator.pools.ray_host
    pool.open()                       # it is
    pool.hire(...); pool.poll(...)    # as `orchestrator.pools.pool.Pool` says
    pool.close()

That process is Ray's driver, and may be thrown away: when it dies or falls silent, or says
that a part of Ray is dead, it is killed with all that it started, and the next worker that is
hired starts a new one. Requests are sent and not waited for; a message either way is the name
of what it is about and its arguments, pickled.
"""

import logging
import os
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Final

from experiments.errors import StoreError
from experiments.records import Assignment, Resources
from orchestrator.machine import capacity
from orchestrator.pools.pool import Message, PoolLost, WorkerLost
from orchestrator.pools.reaper import CALM_SECONDS, MARK, POOL_MARK, ray_folder, sweep
from orchestrator.ray_address import EMBEDDED
from orchestrator.settings import Settings

SILENT_SECONDS: Final = 15.0
"""A process that says nothing for so long is taken for lost."""

START_SECONDS: Final = 120.0
"""How long a Ray may take to start, or to be joined."""

_REJOIN_SECONDS: Final = 60.0
"""How long a cluster that was lost is sought again."""

_SWEEP_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 5.0
_DEATH_SECONDS: Final = 5.0
"""What is killed and not dead after so long is in a system call, and is left to that."""

_LARGE_LOG_BYTES: Final = 10 * 2**20

_WORKER_NICENESS: Final = 5
"""Training lets the orchestrator and people go first, and the mirror hardly at all; Ray's own 15
leaves it a fraction of a core where anything else runs."""

_log = logging.getLogger(__name__)


class PoolProcess:
    """The orchestrator's handle on its pool; implements `orchestrator.pools.pool.Pool`."""

    def __init__(
        self,
        settings: Settings,
        *,
        orchestrator: str,
        num_workers: int | None = None,
        data_root: Path | None = None,
    ) -> None:
        """Remember what to start; nothing is started yet.

        Args:
            settings: Where Ray is (`ray_address`; None for an embedded one).
            orchestrator: The id that workers' names begin with.
            num_workers: The most workers at a time; None for as many as there is room for.
            data_root: Where workers find data sets; by default the settings' own place.
        """
        self.orchestrator = orchestrator
        self._settings = settings
        self._num_workers = num_workers
        self._data_root = settings.data if data_root is None else data_root
        self._is_embedded = settings.ray_address in EMBEDDED
        self._nodes = [_embedded(num_workers)] if self._is_embedded else []
        self._hired: dict[str, Resources] = {}
        self._worker_numbers, self._process_numbers = count(1), count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._ending = threading.Lock()  # `close` may come from another thread, at any time
        self._mark = ""
        self._folders: list[Path] = []  # of the embedded Rays' files, the newest last
        self._not_started = ""  # why, until `poll` has told
        self._is_launched = False  # and has been told nothing yet
        self._is_up = self._was_up = False
        self._silent_seconds = 0.0

    def launch(self) -> None:
        """Have the process import Ray, which takes half a second, before anything is asked of it.

        Nothing of Ray is started, and no file made but the log. The process ends with this one,
        or at `close`. That it cannot be started is for `open` to tell.
        """
        if self._process is None:
            with suppress(OSError, StoreError):
                self._launch()

    def open(self) -> None:
        """Begin to start Ray; a cluster is joined when this returns.

        Raises:
            StoreError: The cluster cannot be reached, or is open to anyone.
        """
        self._start_process()
        while not self._is_embedded and not self._is_up:
            for message in self.poll(1.0):
                if isinstance(message, PoolLost):
                    raise StoreError(f"RAY_ADDRESS={self._settings.ray_address}: {message.reason}")

    def room_for(self, resources: Resources) -> bool:
        """Say whether one more worker of that size fits beside those hired."""
        if self._num_workers is not None and len(self._hired) >= self._num_workers:
            return False
        return fits([*self._hired.values(), resources], nodes=self._nodes)

    def could_hold(self, resources: Resources, *, num_workers: int) -> bool:
        """Say whether so many workers of that size would fit if no others were hired."""
        return fits([resources] * num_workers, nodes=self._nodes)

    def hire(self, resources: Resources) -> str:
        """Start a worker and give its name at once; `WorkerReady` follows."""
        self._start_process()
        name = f"{self.orchestrator}/worker-{next(self._worker_numbers)}"
        self._hired[name] = resources
        self._ask("hire", name, resources)
        return name

    def dismiss(self, worker: str) -> None:
        """Send an idle worker home and free its resources; one that is gone is at home."""
        if self._hired.pop(worker, None):
            self._ask("dismiss", worker)

    def kill(self, worker: str) -> None:
        """End a worker at once, even one that is frozen; nothing it says later is heard."""
        if self._hired.pop(worker, None):
            self._ask("kill", worker)

    def start(self, worker: str, pack: Sequence[Assignment]) -> None:
        """Hand a pack to a worker; nothing is to be said of one that is gone."""
        if worker in self._hired:
            self._ask("start", worker, tuple(pack))

    def stop(self, worker: str, trial_ids: Collection[str]) -> None:
        """Ask a worker to end these trials; each answers with an event unless the worker died."""
        if worker in self._hired:
            self._ask("stop", worker, tuple(trial_ids))

    def renewed(self, workers: Collection[str]) -> None:
        """Tell workers that their leases were prolonged just now."""
        there = [worker for worker in workers if worker in self._hired]
        if there:
            self._ask("renewed", there)

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Give what came in, waiting up to the timeout for the first message.

        Raises:
            StoreError: Ray cannot be started, or the cluster cannot be joined.
        """
        deadline = time.monotonic() + timeout_seconds
        heard: list[Message] = []
        while not heard:
            left = max(0.0, deadline - time.monotonic())
            if (connection := self._connection) is None:
                time.sleep(left)
                if self._not_started:
                    heard.append(self._lose(self._not_started))
                break
            try:
                self._listen(connection, left, heard)
            except _LostError as lost:
                heard.append(self._lose(str(lost)))
            except (EOFError, OSError):
                heard.append(self._lose("its process ended, or took no more requests"))
            if not left:
                break
        return heard

    def close(self) -> None:
        """End all workers at once, and whatever else was started; nothing more is heard.

        Another thread may be in any of the methods, this one included: what it is busy ending
        is left to it.
        """
        process = self._process
        if process is not None and not self._is_embedded and not self._is_launched:
            self._ask("close")  # the cluster stays, and should know that we leave
            with suppress(subprocess.TimeoutExpired):
                process.wait(_CLOSE_SECONDS)
        self._end_process(calm_seconds=0.0)  # the reaper sweeps once more
        with self._ending:
            folders, self._folders = self._folders, []
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    # --- the process

    def _start_process(self) -> None:
        """Have the process there; that it cannot be started again is for `poll` to tell."""
        is_there = self._process is not None and not self._is_launched
        if is_there or self._not_started:
            return
        try:
            if not self._is_launched:
                self._launch()
            self._begin()
        except (OSError, StoreError) as error:
            reason = f"the process for Ray cannot be started: {error}"
            if not self._was_up:
                raise StoreError(reason) from error
            self._not_started = reason  # perhaps only now: the disk is full, or the process table

    def _launch(self) -> None:
        self._mark = f"{POOL_MARK}={self.orchestrator}/{next(self._process_numbers)}"
        self._settings.create_home()
        self._settings.logs.mkdir(mode=0o700, exist_ok=True)
        ours, its = socket.socketpair()
        # Neither a frozen process nor a full pipe may freeze the orchestrator.
        limit = struct.pack("ll", int(SILENT_SECONDS), 0)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, limit)
        with ours, its, _opened_log(self._settings.logs / "ray.log") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.pools.ray_host", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[its.fileno()],
                start_new_session=True,  # Ctrl-C is for the orchestrator
                env=self._environment(),
            )
            connection = Connection(ours.detach())
        with self._ending:
            self._process, self._connection = process, connection
        self._is_launched = True
        self._is_up, self._silent_seconds = False, 0.0

    def _begin(self) -> None:
        """Have the process start Ray, or join the cluster."""
        if self._is_embedded:
            # Ray lets everyone into its folder, so that lies in one that does not.
            start = Path(ray_folder(self._mark.partition("=")[2]))
            folder = Path(tempfile.mkdtemp(prefix=start.name, dir=start.parent))
            self._folders.append(folder)
        self._is_launched = False
        self._ask("begin", self._data_root, self._settings.lease_seconds)
        if self._is_embedded:
            self._ask("start_embedded", _embedded(self._num_workers), folder / "ray")
        else:
            patience = _REJOIN_SECONDS if self._was_up else 0.0
            self._ask("join", self._settings.ray_address, patience)

    def _environment(self) -> dict[str, str]:
        """Give the process's environment: marked, and for an embedded Ray closed to others."""
        name, _, value = self._mark.partition("=")
        environ = os.environ | {MARK: self.orchestrator, name: value}
        environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        environ.setdefault("RAY_worker_niceness", str(_WORKER_NICENESS))
        if self._is_embedded:
            environ |= {
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": secrets.token_hex(32),
                # Or Ray takes another address of this machine, and listens on all of them.
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            }
        return environ

    def _end_process(self, *, calm_seconds: float = CALM_SECONDS) -> None:
        """Kill the process with all that it started; unless there is none.

        `calm_seconds` is for how long nobody else must be found.
        """
        with self._ending:
            process, self._process = self._process, None
            connection, self._connection = self._connection, None
            self._is_launched = False
            mark = self._mark
        if process is not None and connection is not None:
            connection.close()
            process.kill()
            sweep(mark, seconds=_SWEEP_SECONDS, calm_seconds=calm_seconds)
            try:
                process.wait(_DEATH_SECONDS)
            except subprocess.TimeoutExpired:
                _log.warning("process %d of Ray was killed and does not die", process.pid)
        self._hired.clear()

    def _lose(self, reason: str) -> PoolLost:
        self._end_process()
        self._not_started = ""
        places = str(self._settings.logs / "ray.log")
        if self._folders:
            logs = self._folders[-1] / "ray/session_latest/logs"
            places += f" and, until this orchestrator ends, in {logs}"
        return PoolLost(f"{reason}; what Ray said is in {places}")

    # --- the pipe

    def _ask(self, what: str, *arguments: Any) -> None:
        if (connection := self._connection) is None:
            return  # it could not be started, or another thread has closed it
        try:
            connection.send((what, arguments))
        except BlockingIOError:  # half of it is in the pipe: nothing can be said any more
            connection.close()
        except OSError:  # it is gone, which `poll` finds after all that it still had to say
            pass

    def _listen(self, connection: Connection, wait_seconds: float, heard: list[Message]) -> None:
        """Add all that is said, waiting for the first word.

        Only what was waited for in vain counts as silence: nobody is to blame for the time
        that the orchestrator was busy elsewhere.
        """
        since = time.monotonic()
        if not connection.poll(wait_seconds):
            self._silent_seconds += min(time.monotonic() - since, wait_seconds)
            limit = SILENT_SECONDS if self._is_up else START_SECONDS
            if self._silent_seconds >= limit:
                raise _LostError(f"its process said nothing for {limit:g} s")
            return
        self._silent_seconds = 0.0
        while connection.poll(0.0):
            what, said = connection.recv()
            heard += self._take(what, said)

    def _take(self, what: str, said: Any) -> list[Message]:
        """Note what was said, and give what is for the scheduler."""
        match what:
            case "heard":
                messages = [message for message in said if message.worker in self._hired]
                for message in said:
                    if isinstance(message, WorkerLost):
                        self._hired.pop(message.worker, None)
                return messages
            case "nodes":
                self._is_up = self._was_up = True
                if not self._is_embedded:
                    self._nodes = said
            case "lost":
                raise _LostError(said)
            case "refused" if self._was_up:  # perhaps only now
                raise _LostError(said)
            case "refused":
                self._end_process()
                raise StoreError(said)
        return []


class _LostError(Exception):
    """The process, or the Ray that it stands for, is of no more use."""


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


def _embedded(num_workers: int | None) -> Resources:
    """Give what an embedded Ray offers: this machine, or more cores if a person wants more."""
    machine = capacity()
    return Resources(cpus=max(machine.cpus, num_workers or 1), gpus=machine.gpus)


def _opened_log(path: Path) -> IO[bytes]:
    """Open a log to add to; what was there goes aside when it has grown large."""
    if path.exists() and path.stat().st_size > _LARGE_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")
