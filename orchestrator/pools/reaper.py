"""The reaper: sees to it that no process outlives the orchestrator that started it.

    with Reaper(orchestrator):        # python orchestrator/pools/reaper.py <id>
        ...

Ray starts processes in groups and sessions of their own, and some of them outlive their
parents by a minute. Two things tell them: the environment they were started with, in which
whatever an orchestrator starts carries `TRAINYARD_ORCHESTRATOR=<id>`, and, for those of Ray's
that write their title over it, open files in a folder that starts with `ray_folder(<id>)`.
The reaper is a process in a session of its own that waits for the end of its standard input,
which comes when the orchestrator closes it or dies, and then kills all that carries the id,
itself excepted and those that it was told to spare, and removes those folders.

It reads /proc: where there is none (not on Linux) it finds nobody, and does nothing. Only the
standard library is imported, so that the process starts at once and stays small.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Final, Self

MARK: Final = "TRAINYARD_ORCHESTRATOR"
"""The variable that all processes of an orchestrator carry, with its id."""

POOL_MARK: Final = "TRAINYARD_POOL"
"""The variable that the processes of one pool carry besides, with that pool's name."""

_SWEEP_SECONDS: Final = 10.0
_PAUSE_SECONDS: Final = 0.05

CALM_SECONDS: Final = 0.3
"""Nobody must be found for so long: what is just being started shows no environment yet."""


def ray_folder(owner: str) -> str:
    """Give how the path of an orchestrator's (or pool's) folders for Ray starts.

    Short, because Ray puts sockets there, whose paths may have 107 characters.
    """
    return f"/tmp/trainyard-{owner.replace('/', '-')}-"


class Reaper:
    """The orchestrator's handle on its reaper; leaving the block has it do its work."""

    def __init__(self, orchestrator: str) -> None:
        """Remember whose processes; nothing is started yet."""
        self._orchestrator = orchestrator
        self._spared: set[int] = set()

    def __enter__(self) -> Self:
        """Start the process: isolated, without site packages, and without the mark."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, self._orchestrator],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != MARK},
            cwd="/",
        )
        assert self._process.stdout is not None
        self._process.stdout.read(1)  # from now on, it hears no signal
        return self

    def spare(self, pid: int) -> None:
        """Let a process live on that carries the id."""
        assert self._process.stdin is not None
        self._spared.add(pid)
        with suppress(BrokenPipeError):  # the reaper was killed
            os.write(self._process.stdin.fileno(), b"%d\n" % pid)

    def __exit__(self, *_: object) -> None:
        """Have all that is left killed, and wait until it is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(_SWEEP_SECONDS + 1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode != 0:  # it was killed
            sweep(f"{MARK}={self._orchestrator}", seconds=0.0, spared=self._spared)
            remove_folders(self._orchestrator)


def sweep(
    mark: str,
    *,
    seconds: float,
    spared: Collection[int] = (),
    calm_seconds: float = CALM_SECONDS,
) -> bool:
    """Kill all processes that carry the mark until none is left; False where some are.

    This process is spared, and those of other users are not seen.

    Args:
        mark: An entry of the environment, as `NAME=value`.
        seconds: How long to go on; what is in the middle of a system call dies later.
        spared: The ids of processes that live on.
        calm_seconds: For how long nobody must be found; 0 where another sweep follows.
    """
    deadline = time.monotonic() + seconds
    calm_since = time.monotonic()
    while True:
        found = marked(mark).difference(spared)
        now = time.monotonic()
        if not found and now - calm_since >= calm_seconds:
            return True
        for pid in found:
            calm_since = now
            with suppress(OSError):  # gone in the meantime
                os.kill(pid, signal.SIGKILL)
        if calm_since > deadline:
            return False
        time.sleep(_PAUSE_SECONDS)


def remove_folders(owner: str) -> None:
    """Remove an orchestrator's folders for Ray, as far as they can be."""
    start = ray_folder(owner)
    parent = os.path.dirname(start)  # noqa: PTH120 - nothing else here needs pathlib
    for name in _names(parent):
        if (path := f"{parent}/{name}").startswith(start):
            shutil.rmtree(path, ignore_errors=True)


def marked(mark: str) -> set[int]:
    """Give the ids of the processes that carry an entry of the environment, this one excepted.

    Ray's processes that have files open in its owner's folders carry it, too.
    """
    entry, folder = mark.encode(), ray_folder(mark.partition("=")[2])
    pids = {int(name) for name in _names("/proc") if name.isdigit()} - {os.getpid()}
    return {pid for pid in pids if entry in _entries(pid, "environ") or _is_rays(pid, folder)}


def _is_rays(pid: int, folder: str) -> bool:
    if not _entries(pid, "cmdline")[0].startswith(b"ray::"):
        return False  # perhaps a person, who reads what Ray has written there
    for name in _names(f"/proc/{pid}/fd"):
        with suppress(OSError):  # closed in the meantime
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith(folder):  # noqa: PTH115
                return True
    return False


def _names(folder: str) -> list[str]:
    """List a folder; empty where there is none, or it is another user's."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - pathlib is slow here
    except OSError:
        return []


def _entries(pid: int, what: str) -> list[bytes]:
    """Give a process's "environ" or "cmdline"; nothing for a zombie, or another user's."""
    try:
        with open(f"/proc/{pid}/{what}", "rb") as file:  # noqa: PTH123 - pathlib is slow here
            return file.read().split(b"\0")
    except OSError:
        return [b""]


def main() -> None:
    """Wait for the end of the standard input, then kill what carries the id, and tidy up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the orchestrator
    os.write(sys.stdout.fileno(), b".")
    words = b""
    while said := os.read(sys.stdin.fileno(), 4096):
        words += said
    spared = {int(pid) for pid in words.split()}
    sweep(f"{MARK}={sys.argv[1]}", seconds=_SWEEP_SECONDS, spared=spared)
    remove_folders(sys.argv[1])


if __name__ == "__main__":
    main()
