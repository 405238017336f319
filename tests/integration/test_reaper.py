"""No process outlives its orchestrator: one that is killed, and one that ends in good order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.pools.reaper import MARK, marked, ray_folder, sweep
from tests.pools import command, is_alive

# An orchestrator that starts what survives it: a session of its own, deaf to polite signals.
STUBBORN = """
import os, signal, subprocess, sys, time
from orchestrator.pools.reaper import MARK, Reaper
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
with Reaper(sys.argv[1]):
    for _ in range(3):
        environ = os.environ | {MARK: sys.argv[1]}
        subprocess.Popen(
            [sys.executable, "-c", deaf],
            env=environ,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
    print("ready", flush=True)
    sys.stdin.read()
"""

# One that lets a process live, which carries its mark as the others do.
SPARING = """
import os, subprocess, sys
from orchestrator.pools.reaper import MARK, Reaper
with Reaper(sys.argv[1]) as reaper:
    environ = os.environ | {MARK: sys.argv[1]}
    begin = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = [
        subprocess.Popen(begin, env=environ, start_new_session=True, stdout=subprocess.DEVNULL)
        for _ in range(3)
    ]
    reaper.spare(started[1].pid)
    print("ready", flush=True)
    print(started[1].pid, flush=True)
    sys.stdin.read()
"""

# A real one, as far as its processes go: Ray and a worker that trains.
WITH_RAY = """
import sys
from experiments.records import Resources
from orchestrator.pools.pool import WorkerReady
from orchestrator.pools.pool_process import PoolProcess
from orchestrator.pools.reaper import Reaper
from orchestrator.settings import from_environment
with Reaper(sys.argv[1]):
    pool = PoolProcess(from_environment(), orchestrator=sys.argv[1])
    pool.hire(Resources(cpus=1))
    while not any(isinstance(message, WorkerReady) for message in pool.poll(1.0)):
        pass
    print("ready", flush=True)
    sys.stdin.read()
"""


LAUNCHED = """
import sys
from orchestrator.pools.pool_process import PoolProcess
from orchestrator.settings import from_environment
PoolProcess(from_environment(), orchestrator=sys.argv[1]).launch()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of another orchestrator."""
    environ = os.environ | {MARK: "another0"}
    with subprocess.Popen(["sleep", "600"], env=environ) as process:
        yield process
        process.kill()


def start(script: str, orchestrator: str) -> subprocess.Popen[str]:
    """Run a script as an orchestrator, until it has started everything."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, orchestrator],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def reaper_of(orchestrator: str) -> int:
    """Find the reaper's process, which carries no mark."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    (found,) = [pid for pid in pids if command(pid).endswith(f"reaper.py {orchestrator}")]
    return found


def seconds_until_gone(pids: set[int]) -> float:
    since = time.monotonic()
    while any(map(is_alive, pids)):
        assert time.monotonic() - since < 60, [command(pid) for pid in pids if is_alive(pid)]
        time.sleep(0.02)
    return time.monotonic() - since


def test_all_that_a_killed_orchestrator_started_dies_and_nobody_else(
    bystander: subprocess.Popen[bytes],
) -> None:
    with start(STUBBORN, "5700bb00") as orchestrator:
        children, reaper = marked(f"{MARK}=5700bb00"), reaper_of("5700bb00")
        assert len(children) == 3
        os.kill(reaper, signal.SIGTERM)  # says nothing to it, nor does Ctrl-C
        os.kill(reaper, signal.SIGINT)

        orchestrator.kill()
        seconds_until_gone({*children, reaper})

    assert bystander.poll() is None


def test_orchestrator_that_ends_in_good_order_leaves_nobody_behind() -> None:
    with start(STUBBORN, "5700bb01") as orchestrator:
        children, reaper = marked(f"{MARK}=5700bb01"), reaper_of("5700bb01")

        orchestrator.communicate("")

        assert orchestrator.returncode == 0
        assert not any(map(is_alive, {*children, reaper}))


@pytest.mark.usefixtures("home")
def test_pool_process_that_nobody_has_used_yet_ends_without_a_reaper() -> None:
    with start(LAUNCHED, "5700bb06") as orchestrator:
        processes = marked(f"{MARK}=5700bb06")
        assert len(processes) == 1

        orchestrator.kill()
        seconds_until_gone(processes)


def test_a_killed_reaper_is_replaced_by_the_end_of_the_orchestrator() -> None:
    with start(STUBBORN, "5700bb02") as orchestrator:
        children = marked(f"{MARK}=5700bb02")
        os.kill(reaper_of("5700bb02"), signal.SIGKILL)

        orchestrator.communicate("")

        assert orchestrator.returncode == 0
        seconds_until_gone(children)


@pytest.mark.parametrize("is_killed", [True, False])
def test_whom_it_was_told_to_spare_lives_on(is_killed: bool) -> None:
    with start(SPARING, "5700bb05") as orchestrator:
        assert orchestrator.stdout is not None
        spared = int(orchestrator.stdout.readline())
        children, reaper = marked(f"{MARK}=5700bb05"), reaper_of("5700bb05")
        assert len(children) == 3
        if is_killed:
            orchestrator.kill()
        else:
            orchestrator.communicate("")
        seconds_until_gone({*children, reaper} - {spared})

    assert is_alive(spared)
    os.kill(spared, signal.SIGKILL)


def test_folders_for_ray_go_with_a_killed_orchestrator_and_no_others() -> None:
    pool, another = Path(f"{ray_folder('5700bb03/1')}x"), Path(f"{ray_folder('5700bb0')}x")
    with start(STUBBORN, "5700bb03") as orchestrator:
        reaper = reaper_of("5700bb03")
        (pool / "ray").mkdir(parents=True)
        another.mkdir()

        orchestrator.kill()
        seconds_until_gone({reaper})

    assert not pool.exists()
    another.rmdir()


def test_sweep_kills_those_that_carry_the_mark_alone(bystander: subprocess.Popen[bytes]) -> None:
    assert sweep(f"{MARK}=nobody00", seconds=5.0)
    assert bystander.poll() is None
    assert sweep(f"{MARK}=another0", seconds=5.0)
    assert bystander.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_ray_and_its_workers_die_with_a_killed_orchestrator() -> None:
    with start(WITH_RAY, "5700bb04") as orchestrator:
        processes = marked(f"{MARK}=5700bb04")
        commands = " ".join(map(command, processes))
        for name in ("ray_host", "gcs_server", "raylet", "ray::PackWorker"):
            assert name in commands
        processes |= {reaper_of("5700bb04")}

        orchestrator.kill()
        print(f"{len(processes)} processes gone after {seconds_until_gone(processes):.1f} s")

    assert not marked(f"{MARK}=5700bb04")
