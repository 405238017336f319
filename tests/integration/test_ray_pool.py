"""The pool on a real, embedded Ray: one cluster for all tests of this file."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from experiments.events import (
    CheckpointSaved,
    PointsMeasured,
    TrialFailed,
    TrialStopped,
    TrialSucceeded,
)
from experiments.records import Assignment, DataConfig, Resources, TrialConfig
from experiments.states import FailureKind
from orchestrator.machine import fingerprint
from orchestrator.pools.pool import (
    HEARTBEAT_SECONDS,
    Heartbeat,
    PackDone,
    Reported,
    WorkerLost,
    WorkerReady,
)
from orchestrator.pools.pool_process import PoolProcess
from orchestrator.pools.reaper import MARK, marked
from orchestrator.ray_address import listening
from orchestrator.settings import from_environment
from tests.pools import command, events, hear, is_alive, ray_processes, worker_processes
from workers.devices import engine_text

ONE_CPU = Resources(cpus=1)
ORCHESTRATOR = "0a1b2c3d"
MakeConfig = Callable[..., TrialConfig]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    home = tmp_path_factory.mktemp("pool")
    settings = from_environment({"TRAINYARD_HOME": str(home)})
    pool = PoolProcess(settings, orchestrator=ORCHESTRATOR, num_workers=2)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def worker(pool: PoolProcess) -> str:
    """A worker that is ready; each test leaves it idle."""
    name = pool.hire(ONE_CPU)
    assert name.startswith(f"{ORCHESTRATOR}/worker-")
    machine, engine = fingerprint(cpus=1, gpus=0.0), engine_text(torch.device("cpu"))
    assert hear(pool, until=WorkerReady) == [WorkerReady(name, machine, engine)]
    return name


@pytest.fixture
def second(pool: PoolProcess, worker: str) -> Iterator[tuple[str, int]]:
    """Another worker, which the test ends, and its process."""
    before = worker_processes(ORCHESTRATOR)
    assert len(before) == 1, f"only {worker} is there"
    name = pool.hire(ONE_CPU)
    hear(pool, until=WorkerReady)
    (pid,) = worker_processes(ORCHESTRATOR) - before
    yield name, pid
    pool.kill(name)


def test_worker_reports_a_pack_under_its_fences_and_then_is_done(
    pool: PoolProcess, worker: str, digits_config: MakeConfig, tmp_path: Path
) -> None:
    pack = [
        Assignment("a", 3, digits_config(seed=1), checkpoint_folder=str(tmp_path / "a")),
        Assignment("b", 7, digits_config(seed=2)),
    ]

    pool.start(worker, pack)
    heard = hear(pool, until=PackDone)

    assert heard[-1] == PackDone(worker)
    fences = {m.event.trial_id: m.fence for m in heard if isinstance(m, Reported)}
    assert fences == {"a": 3, "b": 7}
    ended = [event for event in events(heard) if isinstance(event, TrialSucceeded)]
    assert [event.trial_id for event in ended] == ["a", "b"]
    assert all(event.metrics["test/accuracy"] > 0.8 for event in ended)
    assert any(isinstance(event, PointsMeasured) for event in events(heard))
    saved = [event for event in events(heard) if isinstance(event, CheckpointSaved)]
    assert {Path(event.path).parent for event in saved} == {tmp_path / "a"}


def test_stopped_trial_ends_early_and_the_worker_goes_on(
    pool: PoolProcess, worker: str, digits_config: MakeConfig
) -> None:
    pool.start(worker, [Assignment("endless", 1, digits_config(epochs=100_000))])
    hear(pool, until=Reported)

    pool.stop(worker, ["endless", "unknown"])
    heard = hear(pool, until=PackDone)
    assert events(heard)[-1] == TrialStopped("endless")

    pool.start(worker, [Assignment("endless", 2, digits_config())])  # no longer asked to stop
    assert isinstance(events(hear(pool, until=PackDone))[-1], TrialSucceeded)


def test_missing_data_fails_every_trial_of_the_pack_and_the_worker_lives_on(
    pool: PoolProcess, worker: str, digits_config: MakeConfig
) -> None:
    elsewhere = DataConfig("image_folder", "0" * 64, options={"path": "nowhere"})
    config = digits_config(data=elsewhere)
    pool.start(worker, [Assignment("a", 1, config), Assignment("b", 1, config)])

    failed = events(hear(pool, until=PackDone))
    assert [type(event) for event in failed] == [TrialFailed, TrialFailed]
    for event in failed:
        assert isinstance(event, TrialFailed)
        assert event.failure.kind is FailureKind.DATA
        assert "nowhere" in event.failure.message

    pool.start(worker, [Assignment("a", 2, digits_config())])
    assert isinstance(events(hear(pool, until=PackDone))[-1], TrialSucceeded)


def test_killed_worker_is_lost_once_and_leaves_its_slot(
    pool: PoolProcess, worker: str, second: tuple[str, int], digits_config: MakeConfig
) -> None:
    doomed, pid = second
    assert not pool.room_for(ONE_CPU)
    pool.start(doomed, [Assignment("a", 1, digits_config(epochs=100_000))])
    hear(pool, until=Reported)

    os.kill(pid, signal.SIGKILL)
    lost = [message for message in hear(pool, until=WorkerLost) if isinstance(message, WorkerLost)]

    assert [message.worker for message in lost] == [doomed]
    assert lost[0].reason.startswith("its process ")
    assert "\n" not in lost[0].reason
    assert len(lost[0].reason) < 300
    assert not lost[0].out_of_memory
    assert pool.room_for(ONE_CPU)
    pool.start(worker, [Assignment("a", 2, digits_config())])
    assert hear(pool, until=PackDone)[-1] == PackDone(worker)


def test_frozen_worker_falls_silent_and_can_be_killed_or_thaws_and_goes_on(
    pool: PoolProcess, worker: str, second: tuple[str, int], digits_config: MakeConfig
) -> None:
    frozen, pid = second
    pool.start(frozen, [Assignment("a", 1, digits_config(epochs=100_000))])
    beats = hear_beats(pool, of=frozen, seconds=3 * HEARTBEAT_SECONDS)
    assert len(beats) >= 2
    assert beats[0] is not None
    assert beats[-1] is not None
    assert beats[0] < beats[-1], "a trial that trains makes progress"

    os.kill(pid, signal.SIGSTOP)
    hear_beats(pool, of=frozen, seconds=0.5)  # what it had said before
    assert hear_beats(pool, of=frozen, seconds=2 * HEARTBEAT_SECONDS) == []

    os.kill(pid, signal.SIGCONT)
    hear(pool, until=Reported)

    os.kill(pid, signal.SIGSTOP)
    pool.kill(frozen)

    deadline = time.monotonic() + 60
    while is_alive(pid):
        assert time.monotonic() < deadline
        pool.poll(0.1)
    assert pool.room_for(ONE_CPU)
    pool.start(worker, [Assignment("a", 2, digits_config())])
    assert hear(pool, until=PackDone)[-1] == PackDone(worker)


def test_room_is_what_this_machine_has(pool: PoolProcess) -> None:
    assert pool.could_hold(ONE_CPU, num_workers=1)
    assert not pool.could_hold(Resources(cpus=1024), num_workers=1)


@pytest.mark.usefixtures("worker")
def test_ray_listens_on_the_loopback_alone_and_its_files_are_closed_to_others() -> None:
    ports = listening_ports(ray_processes(ORCHESTRATOR).values())
    assert len(ports) >= 4
    assert {address for port in ports for address in listening(port)} == {"127.0.0.1"}
    (option,) = re.findall(
        r"--session-dir=(\S+)", command(ray_processes(ORCHESTRATOR)["gcs_server"])
    )
    assert any(folder.stat().st_mode & 0o777 == 0o700 for folder in Path(option).parents)


@pytest.mark.usefixtures("worker")
def test_embedded_ray_starts_nothing_that_training_has_no_use_for() -> None:
    commands = {command(pid) for pid in marked(f"{MARK}={ORCHESTRATOR}")}
    ours = ("ray_host", "gcs_server", "raylet", "ray::")
    others = {each for each in commands if not any(name in each for name in ours)}
    assert others == {"cat"}  # what the raylet takes for its agents
    assert not any("Agent" in each for each in commands)


def test_orchestrator_imports_no_ray() -> None:
    script = (
        "import sys, orchestrator.scheduling.service; "
        "print(sorted({'ray', 'torch'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.usefixtures("worker")
def test_closing_leaves_no_process(pool: PoolProcess) -> None:
    """Last in this file: it ends the cluster that the other tests share."""
    assert {"gcs_server", "raylet"} <= ray_processes(ORCHESTRATOR).keys()

    pool.close()

    assert not marked(f"{MARK}={ORCHESTRATOR}")
    assert pool.poll(0.0) == []


def hear_beats(pool: PoolProcess, *, of: str, seconds: float) -> list[int | None]:
    """Give the progress that a worker's heartbeats tell of, for so long."""
    beats: list[int | None] = []
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        heard = [each for each in pool.poll(left) if isinstance(each, Heartbeat)]
        beats += [beat.progress for beat in heard if beat.worker == of]
    return beats


def listening_ports(pids: Iterable[int]) -> set[int]:
    """Give the TCP ports on which processes listen, by the kernel's own account."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                inodes.add(str(link.readlink()).removeprefix("socket:[").rstrip("]"))
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                ports.add(int(fields[1].partition(":")[2], 16))
    return ports
