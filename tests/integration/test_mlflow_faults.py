"""A real MLflow server behind a proxy that misbehaves: nothing is lost, nothing is doubled."""

import os
import signal
import socket
import stat
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.mirroring import mlflow_server
from orchestrator.mirroring.mirror import Mirror
from orchestrator.mirroring.mlflow_drain import Drain
from orchestrator.mirroring.mlflow_mirror import Mlflow
from orchestrator.mirroring.mlflow_records import Records
from orchestrator.queueing.outbox import Outbox
from orchestrator.settings import Settings, from_environment
from tests.faulty_proxy import (
    LOST_ANSWER,
    Answer,
    Cut,
    Delay,
    Fault,
    FaultyProxy,
    Hang,
    Pass,
    Refuse,
)
from tests.samples import SettableClock
from tests.told_experiment import Store, assert_equal_everywhere

pytestmark = pytest.mark.slow

PASSWORD = "hunter2-of-mlflow"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Run a server; its address is `mlflow_uri`, its home holds its store."""
    home = tmp_path_factory.mktemp("served")
    settings = from_environment({"TRAINYARD_HOME": str(home)})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            mlflow_server.command(settings, port=port),
            env=mlflow_server.environment(settings),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{address}/health"), seconds=120.0)
        yield replace(settings, mlflow_uri=address)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture
def proxy(served: Settings) -> Iterator[FaultyProxy]:
    with FaultyProxy(("127.0.0.1", int(served.mlflow_uri.rpartition(":")[2]))) as proxy:
        yield proxy


@pytest.fixture
def settings(tmp_path: Path, proxy: FaultyProxy) -> Settings:
    uri = f"http://me:{PASSWORD}@127.0.0.1:{proxy.port}"
    return from_environment({"TRAINYARD_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": uri})


@pytest.fixture
def client(served: Settings) -> MlflowClient:
    return MlflowClient(served.mlflow_uri)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the mirror's process is told, which repeats no request by itself."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


class Telling:
    """A drain whose clock is moved by hand, so that nobody waits out a pause."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.clock = SettableClock()
        self.clock.seconds = time.time()
        self.outbox = Outbox(store.engine, now=self.clock)
        self.drain = Drain(
            self.outbox,
            Records(store.results),
            engine=store.engine,
            open_mlflow=lambda: Mlflow(settings),
            clock=lambda: self.clock.seconds,
        )

    def turn(self) -> int:
        """Turn when all pauses and delays are over; give how many entries were told."""
        self.clock.seconds += 3600
        return self.drain.turn()


@pytest.mark.usefixtures("impatient")
def test_answers_lost_one_after_the_other_double_no_run(
    store: Store, settings: Settings, proxy: FaultyProxy, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}}, seeds=2)
    store.succeed()
    telling = Telling(store, settings)
    telling.drain.turn()  # the first trial; its experiment and all that is made once is there
    store.succeed()
    telling = Telling(store, settings)

    num_lost = 0
    for nth in range(1, 40):  # each telling gets one request further than the last
        proxy.fault = Cut(LOST_ANSWER, nth=nth)
        telling.turn()
        num_lost += proxy.num_cut
        if not telling.outbox.num_pending():
            break

    assert num_lost >= 6  # the look, the search, and one for each of a run's parts at least
    assert telling.outbox.num_pending() == 0
    assert_equal_everywhere(store, client)


@pytest.mark.usefixtures("impatient")
def test_answers_lost_while_a_model_is_made_double_no_model(
    store: Store, settings: Settings, proxy: FaultyProxy, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    store.succeed(checkpoint=True)
    telling = Telling(store, settings)
    for request in (
        b"POST /api/2.0/mlflow/runs/create",
        b"mlflow/logged-models HTTP",
        b"PATCH ",
        b"outputs",
    ):
        proxy.fault = Cut(LOST_ANSWER, request)
        for _ in range(3):
            telling.turn()
            if proxy.num_cut:
                break
        assert proxy.num_cut == 1, request
    proxy.fault = Pass()
    for _ in range(2):
        telling.turn()

    assert telling.outbox.num_pending() == 0
    assert_equal_everywhere(store, client)


@pytest.mark.usefixtures("impatient")
def test_server_that_never_answers_holds_up_one_entry_and_is_given_up(
    store: Store,
    settings: Settings,
    proxy: FaultyProxy,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    store.submit({"a": {"lr": 0.1}}, seeds=3)
    for _ in range(3):
        store.succeed()
    telling = Telling(store, settings)
    proxy.fault = Hang()
    for _ in range(2):
        assert telling.turn() == 0

    gave_up, backlog = telling.drain.is_stuck, telling.outbox.backlog()
    assert gave_up
    assert (backlog.num_pending, backlog.last_done_at) == (4, None)
    assert "timed out" in (backlog.last_error or "").lower()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    proxy.fault = Pass()
    assert telling.turn() == 4
    assert not telling.drain.is_stuck
    assert_equal_everywhere(store, client)


def test_mirror_goes_on_within_seconds_of_its_server_and_shows_nobody_the_password(
    store: Store, settings: Settings, proxy: FaultyProxy, client: MlflowClient
) -> None:
    beside = Mirror(settings, engine=store.engine)
    outbox, log = Outbox(store.engine), settings.logs / "mirror.log"
    store.submit({"a": {"lr": 0.1}}, seeds=5)
    down: list[Fault] = [Refuse(), Answer(503), Answer(429, {"Retry-After": "1"}), Answer(401)]
    try:
        for fault in down:
            proxy.fault = fault
            store.succeed()
            beside.start()
            wait_until(lambda: outbox.backlog().last_error is not None)
            error = outbox.backlog().last_error or ""
            assert PASSWORD not in error
            if isinstance(fault, Answer):
                assert f" {fault.status}" in error
            else:
                wait_until(lambda: beside.is_stuck)
            proxy.fault = Pass()
            wait_until(lambda: outbox.num_pending() == 0)
            wait_until(lambda: not beside.is_stuck)
        proxy.fault = Delay(0.2)  # slow, but it moves
        store.succeed()
        wait_until(lambda: outbox.num_pending() == 0)
        assert not beside.is_stuck
    finally:
        beside.stop()

    assert_equal_everywhere(store, client)
    said = log.read_text()
    assert "MLflow does not answer" in said
    assert "MLflow answers again" in said
    assert PASSWORD not in said
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.chaos
def test_mirror_killed_in_the_midst_is_repaired_by_the_next(
    store: Store, settings: Settings, proxy: FaultyProxy, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}}, seeds=3)
    for _ in range(3):
        store.succeed()
    beside = Mirror(settings, engine=store.engine)
    outbox = Outbox(store.engine)
    proxy.fault = Delay(0.1)
    try:
        beside.start()
        wait_until(lambda: proxy.num_requests >= 8)
        assert beside._process is not None
        beside._process.kill()
        wait_until(lambda: not beside.is_running)
        assert outbox.num_pending()
        beside.start()
        wait_until(lambda: outbox.num_pending() == 0)
    finally:
        beside.stop()

    assert_equal_everywhere(store, client)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_full_disk_under_mlflows_store_holds_up_until_there_is_room(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], check=False)
    if mounted.returncode:
        pytest.skip("this system mounts no small disk")
    try:
        local = replace(
            settings, mlflow_uri=f"sqlite:///{disk}/mlflow.db", home=disk, data=tmp_path
        )
        store.submit({"a": {"lr": 0.1}}, seeds=2)
        store.succeed()
        telling = Telling(store, local)
        assert telling.turn() == 1
        ballast = disk / "ballast"
        fill(ballast)
        store.succeed()
        assert telling.turn() == 0
        assert telling.turn() == 0
        assert "make room" in (telling.outbox.backlog().last_error or "")
        ballast.unlink()
        assert telling.turn() == 2
        assert_equal_everywhere(store, MlflowClient(local.mlflow_uri))
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(65536)):
            pass


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(done: Callable[[], bool], *, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not done after {seconds:g} s"
        threading.Event().wait(0.05)
