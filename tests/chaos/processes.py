"""Finding the processes that belong to a home, by what Linux says of them in /proc."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process that lives; the start tells it from a later one of that number."""

    pid: int
    parent: int
    start: int
    command: str

    @property
    def is_worker(self) -> bool:
        """Say whether it is a worker of Ray's that has taken one of our actors."""
        own = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
        return self.command.startswith("ray::") and not self.command.startswith(own)

    def kill(self) -> bool:
        """Send SIGKILL; False where it is gone already."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            return True
        return False


def all_processes() -> dict[int, Process]:
    """Give every process but the dead ones that nobody has buried."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if fields[0] in "ZX":
                continue
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            pid = int(folder.name)
            found[pid] = Process(pid, int(fields[1]), int(fields[19]), command.strip())
    return found


def belonging_to(home: Path) -> set[Process]:
    """Give the processes that were started for a home, and all that these have started.

    By their environment, and where a process has written over that (for its title), by its
    ancestors.
    """
    processes = all_processes()
    mark = f"TRAINYARD_HOME={home}".encode()
    ours = {pid for pid in processes if mark in _environment(pid)}
    while True:
        more = {each.pid for each in processes.values() if each.parent in ours} - ours
        if not more:
            return {processes[pid] for pid in ours}
        ours |= more


def still_alive(processes: Iterable[Process]) -> set[Process]:
    """Give those that live yet."""
    now = all_processes()
    return {each for each in processes if each.pid in now and now[each.pid].start == each.start}


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
