"""What tests of a real pool share: listening to it, and finding its processes in /proc."""

import time
from collections.abc import Iterable
from pathlib import Path

from orchestrator.pools.pool import Heartbeat, Message, Pool, Reported
from orchestrator.pools.reaper import MARK, marked

RAY_PROCESSES = ("gcs_server", "raylet", "ray_host")


def hear(pool: Pool, *, until: type) -> list[Message]:
    """Listen until a message of this kind came; give all that came but heartbeats."""
    heard: list[Message] = []
    deadline = time.monotonic() + 90
    while not any(isinstance(message, until) for message in heard):
        assert time.monotonic() < deadline, f"no {until.__name__} in 90 s, only {heard}"
        heard += [each for each in pool.poll(1.0) if not isinstance(each, Heartbeat)]
    return heard


def events(messages: Iterable[Message]) -> list[object]:
    """Give the events among what came."""
    return [message.event for message in messages if isinstance(message, Reported)]


def worker_processes(orchestrator: str) -> set[int]:
    """Give the ids of an orchestrator's workers."""
    return {pid for pid in marked(f"{MARK}={orchestrator}") if "ray::PackWorker" in command(pid)}


def ray_processes(orchestrator: str) -> dict[str, int]:
    """Give the ids of the processes that an orchestrator's Ray cannot do without, by name."""
    return {
        name: pid
        for pid in marked(f"{MARK}={orchestrator}")
        for name in RAY_PROCESSES
        if name in command(pid).partition(" --")[0].partition("ray::")[0]
    }


def command(pid: int) -> str:
    """Give a process's command line; empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Say whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
