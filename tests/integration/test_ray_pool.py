"""The pool on a real, embedded Ray: one cluster for all tests of this file."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from experiments.records import (
    Assignment,
    CheckpointSaved,
    DataConfig,
    PointsMeasured,
    Resources,
    TrialConfig,
    TrialFailed,
    TrialStopped,
    TrialSucceeded,
)
from experiments.states import FailureKind
from orchestrator.machine import fingerprint
from orchestrator.pool import Message, PackDone, Reported, WorkerLost, WorkerReady
from orchestrator.ray_pool import RayPool
from orchestrator.settings import from_environment

ONE_CPU = Resources(cpus=1)
ON_SIGTERM = signal.getsignal(signal.SIGTERM)
MakeConfig = Callable[..., TrialConfig]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayPool]:
    home = tmp_path_factory.mktemp("pool")
    pool = RayPool(from_environment({"TRAINYARD_HOME": str(home)}), num_workers=2)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def worker(pool: RayPool) -> str:
    """A worker that is ready; each test leaves it idle."""
    name = pool.hire(ONE_CPU)
    assert hear(pool, until=WorkerReady) == [WorkerReady(name, fingerprint(cpus=1, gpus=0.0))]
    return name


def hear(pool: RayPool, *, until: type) -> list[Message]:
    heard: list[Message] = []
    deadline = time.monotonic() + 60
    while not any(isinstance(message, until) for message in heard):
        assert time.monotonic() < deadline, f"no {until.__name__} in a minute, only {heard}"
        heard += pool.poll(1.0)
    return heard


def events(messages: list[Message]) -> list[object]:
    return [message.event for message in messages if isinstance(message, Reported)]


def process_of(pool: RayPool, worker: str) -> int:
    handle = pool._workers[worker].handle
    pid: int = ray.get(handle.__ray_call__.remote(lambda _: os.getpid()))
    return pid


def descendants(pid: int) -> set[int]:
    """Give the ids of all processes below one, by the kernel's own account."""
    found: set[int] = set()
    tasks = Path(f"/proc/{pid}/task")
    for children in tasks.glob("*/children") if tasks.is_dir() else ():
        for child in map(int, children.read_text().split()):
            found |= {child} | descendants(child)
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_worker_reports_a_pack_under_its_fences_and_then_is_done(
    pool: RayPool, worker: str, digits_config: MakeConfig, tmp_path: Path
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
    pool: RayPool, worker: str, digits_config: MakeConfig
) -> None:
    pool.start(worker, [Assignment("endless", 1, digits_config(epochs=100_000))])
    hear(pool, until=Reported)

    pool.stop(worker, ["endless", "unknown"])
    heard = hear(pool, until=PackDone)
    assert events(heard)[-1] == TrialStopped("endless")

    pool.start(worker, [Assignment("endless", 2, digits_config())])  # no longer asked to stop
    assert isinstance(events(hear(pool, until=PackDone))[-1], TrialSucceeded)


def test_missing_data_fails_every_trial_of_the_pack_and_the_worker_lives_on(
    pool: RayPool, worker: str, digits_config: MakeConfig
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
    pool: RayPool, worker: str, digits_config: MakeConfig
) -> None:
    assert pool.room_for(ONE_CPU)
    doomed = pool.hire(ONE_CPU)
    assert not pool.room_for(ONE_CPU)
    hear(pool, until=WorkerReady)
    pool.start(doomed, [Assignment("a", 1, digits_config(epochs=100_000))])
    hear(pool, until=Reported)

    os.kill(process_of(pool, doomed), signal.SIGKILL)
    lost = [message for message in hear(pool, until=WorkerLost) if isinstance(message, WorkerLost)]

    assert [message.worker for message in lost] == [doomed]
    assert "\n" not in lost[0].reason
    assert "died" in lost[0].reason
    assert pool.room_for(ONE_CPU)
    pool.start(worker, [Assignment("a", 2, digits_config())])
    assert {message.worker for message in hear(pool, until=PackDone)} == {worker}


def test_trains_with_as_many_threads_as_cores_were_asked_for(pool: RayPool, worker: str) -> None:
    def threads(_: object) -> int:
        import torch

        return torch.get_num_threads()

    call = pool._workers[worker].handle.__ray_call__.options(concurrency_group="work")
    assert ray.get(call.remote(threads)) == ONE_CPU.cpus


def test_room_is_what_this_machine_has(pool: RayPool) -> None:
    assert pool.could_hold(ONE_CPU, num_workers=1)
    assert not pool.could_hold(Resources(cpus=1024), num_workers=1)


def test_opening_leaves_the_sigterm_handler_in_place(pool: RayPool) -> None:
    pool.open()
    assert ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) == ON_SIGTERM


def test_closing_is_quick_and_leaves_no_process(pool: RayPool, worker: str) -> None:
    """Last in this file: it ends the cluster that the other tests share."""
    started = descendants(os.getpid())
    assert process_of(pool, worker) in started

    closing = time.monotonic()
    pool.close()

    assert time.monotonic() - closing < 6.0
    assert not [pid for pid in started if is_alive(pid)]
    assert pool.poll(0.0) == []
