"""The loop of the process that Ray lives in; `pool_process.py` has the handle on it.

    python -m orchestrator.pools.ray_host FD

Whatever happens comes in at one queue, and is dealt with in order on the main thread: requests
from the pipe, the word that a worker has news, and what a look at Ray found, once a second.
The process ends with its pipe, and takes along all that it started.
"""

import logging
import os
import queue
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from experiments.errors import StoreError
from orchestrator.pools.reaper import POOL_MARK, sweep

if TYPE_CHECKING:
    from orchestrator.pools.ray_pool import RayPool

PULSE_SECONDS: Final = 1.0
"""How often Ray is looked at; that is told, and so the process is heard of as often."""

_MUTE_SECONDS: Final = 10.0
"""A cluster that does not answer for so long is given up."""

_SWEEP_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)

Inbox = queue.SimpleQueue[tuple[str, tuple[Any, ...]]]


def main() -> None:
    """Do what the pipe asks for, and tell it what comes of that, until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stay)
    file = int(sys.argv[1])
    os.set_inheritable(file, False)
    connection = Connection(file)
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, inbox), daemon=True).start()
    try:
        _serve(connection, inbox)
    except StoreError as error:
        connection.send(("refused", str(error)))
    except Exception as error:
        connection.send(("lost", f"{type(error).__name__}: {error}"))
        raise


def _serve(connection: Connection, inbox: Inbox) -> None:
    from orchestrator.pools.ray_pool import ClusterLostError, RayPool

    _, (data_root, lease_seconds) = inbox.get()
    pool = RayPool(
        data_root=data_root,
        lease_seconds=lease_seconds,
        on_news=lambda worker: inbox.put(("hear", (worker,))),
    )
    what, arguments = inbox.get()  # `start_embedded` or `join`
    getattr(pool, what)(*arguments)
    threading.Thread(target=_watch, args=(pool, inbox), daemon=True).start()
    watched_at = time.monotonic()
    while True:
        try:
            what, arguments = inbox.get(timeout=PULSE_SECONDS)
        except queue.Empty:
            what, arguments = "idle", ()
        match what:
            case "hear":
                try:
                    connection.send(("heard", pool.hear(*arguments)))
                except ClusterLostError as error:
                    return connection.send(("lost", str(error)))
            case "nodes":
                watched_at = time.monotonic()
                connection.send((what, *arguments))
            case "lost":
                return connection.send((what, *arguments))
            case "idle":
                pass
            case "close":
                return pool.close()
            case _:
                getattr(pool, what)(*arguments)
        if time.monotonic() - watched_at > _MUTE_SECONDS:
            return connection.send(("lost", f"Ray did not answer for {_MUTE_SECONDS:g} s"))


def _read(connection: Connection, inbox: Inbox) -> None:
    """Take requests in; end the process, and all that it started, when no more can come."""
    while True:
        try:
            inbox.put(connection.recv())
        except (EOFError, OSError):
            sweep(f"{POOL_MARK}={os.environ[POOL_MARK]}", seconds=_SWEEP_SECONDS)
            os._exit(0)


def _watch(pool: "RayPool", inbox: Inbox) -> None:
    """Look at Ray again and again; a cluster that does not answer leaves a gap."""
    from orchestrator.pools.ray_pool import UNANSWERED, ClusterLostError

    while True:
        try:
            inbox.put(("nodes", (pool.nodes(),)))
        except ClusterLostError as error:
            inbox.put(("lost", (str(error),)))
        except UNANSWERED as error:
            _log.warning("Ray does not answer: %s", error)
        time.sleep(PULSE_SECONDS)


def _stay(_: int, __: FrameType | None) -> None:
    """Do nothing at a signal, which is for the orchestrator (Ray's processes do not inherit it)."""


if __name__ == "__main__":
    main()
