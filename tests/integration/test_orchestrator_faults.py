"""The orchestrator, its workers and its store, hit while real trials train under the real `up`."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine

from experiments.states import FailureKind, IncidentKind, TrialState
from orchestrator.measurements.results import Results
from orchestrator.store.database import open_store
from orchestrator.store.rows import TrialRow
from tests.chaos.processes import Process, all_processes, belonging_to, still_alive
from tests.postgres import server_or_skip

COMMAND = str(Path(sys.executable).with_name("trainyard"))
Verb = subprocess.Popen[str]

WORK_WITH_SHORT_LEASES = """
from dataclasses import replace
from orchestrator.scheduling.service import Orchestrator
from orchestrator.settings import from_environment

settings = replace(from_environment(), lease_seconds=6.0)
with Orchestrator(settings, num_workers=1) as orchestrator:
    orchestrator.work(
        until=lambda: not any(each.num_open for each in orchestrator.results.overviews()),
        on_turn=lambda: None,
    )
"""

# On the path of every process: the first to train a third epoch waits for a lock for ever.
DEADLOCK_ONCE = """
import importlib.util
import os
import sys
import threading


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "workers.learner":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (load(module), patch(module.Learner))
        return spec


def patch(learner):
    train_epoch = learner.train_epoch

    def train_or_wait(self, epoch, **more):
        if epoch == 3:
            try:
                os.close(os.open(os.environ["ONCE"], os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                lock = threading.Lock()
                lock.acquire()
                lock.acquire()
        return train_epoch(self, epoch, **more)

    learner.train_epoch = train_or_wait


sys.meta_path.insert(0, Finder())
"""

pytestmark = pytest.mark.slow


@dataclass
class Yard:
    """A home with a store, what runs in it, and what was seen there."""

    home: Path
    url: str
    environ: dict[str, str] = field(default_factory=dict)
    running: list[Verb] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True)

    def start(self, *arguments: str, program: Sequence[str] = (COMMAND,)) -> Verb:
        """Start a verb in the background; what it says goes to a file in the home."""
        environ = {
            **os.environ,
            "TRAINYARD_HOME": str(self.home),
            "TRAINYARD_DATABASE_URL": self.url,
            "OMP_NUM_THREADS": "1",
            "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",  # nobody there: not what is tested
            **self.environ,
        }
        with (self.home / "said").open("a") as said:
            process = subprocess.Popen(
                [*program, *arguments],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
            )
        self.running.append(process)
        return process

    def run(self, *arguments: str) -> None:
        """Run a verb to its end."""
        self.finish(self.start(*arguments))

    def finish(self, verb: Verb) -> None:
        """Wait until a verb has ended well."""
        self.wait_until(lambda: verb.poll() is not None, seconds=400.0)
        assert verb.returncode == 0, self.said

    @property
    def said(self) -> str:
        """All that the verbs have said."""
        return (self.home / "said").read_text()

    def submit(
        self, *, seeds: int = 4, epochs: int = 100, execution: str = "strategy: plain"
    ) -> None:
        """Submit trials of a small network that take a few seconds each at that many epochs."""
        spec = self.home / "spec.yaml"
        spec.write_text(
            "name: yard\n"
            "data: {name: digits, val_fraction: 0.2, limit: 400}\n"
            "defaults: {batch_size: 32, optimizer: sgd, lr: 0.02, model: mlp}\n"
            f"parameters: {{epochs: {epochs}}}\n"
            f"execution: {{{execution}}}\n"
            "checkpoints: {every_epochs: 1}\n"
            f"seeds: {seeds}\n"
        )
        self.run("submit", str(spec))

    @cached_property
    def engine(self) -> Engine:
        """The store, opened once to look at it."""
        return open_store(self.url, create=False)

    @property
    def results(self) -> Results:
        """What is recorded."""
        return Results(self.engine)

    def rows(self) -> tuple[TrialRow, ...]:
        """Give all trials."""
        (experiment,) = self.results.experiments()
        return self.results.trials(experiment.id)

    def attempts(self) -> dict[str, list[str]]:
        """Give the states of each trial's attempts, in order."""
        results = self.results
        return {row.id: [each.state for each in results.attempts(row.id)] for row in self.rows()}

    def incidents(self, kind: IncidentKind) -> list[str]:
        """Give what was noted of a kind."""
        return [each.message for each in self.results.incidents() if each.kind == kind]

    def workers(self) -> list[Process]:
        """Give the workers' processes."""
        return [each for each in belonging_to(self.home) if each.is_worker]

    def saved_epochs(self) -> dict[str, int]:
        """Give how far each trial is that has a checkpoint to go on from."""
        results = self.results
        return {
            row.id: each.epoch
            for row in self.rows()
            for each in results.checkpoints(row.id)
            if each.kind == "last"
        }

    def wait_until(self, happened: Callable[[], object], *, seconds: float = 120.0) -> float:
        """Wait for something, and give the seconds that it took."""
        began_at = time.monotonic()
        while not happened():
            assert time.monotonic() < began_at + seconds, f"not in {seconds:g} s:\n{self.said}"
            time.sleep(0.05)
        return time.monotonic() - began_at

    def wait_for_training(self, num_trials: int = 1) -> None:
        """Wait until so many trials have something to go on from."""
        self.wait_until(lambda: len(self.saved_epochs()) >= num_trials)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    made = Yard(tmp_path / "home", f"sqlite:///{tmp_path / 'home' / 'trainyard.db'}")
    yield made
    end(made)


@pytest.fixture
def shared_yard(tmp_path: Path, new_postgres_url: Callable[[], str]) -> Iterator[Yard]:
    made = Yard(tmp_path / "home", new_postgres_url())
    yield made
    end(made)


def end(yard: Yard) -> None:
    """Leave nobody behind; that nobody was is for a test to say."""
    for process in yard.running:
        process.kill()
        process.wait()
    for process_left in belonging_to(yard.home):
        process_left.kill()
    yard.engine.dispose()


def show(what: str, seconds: float) -> None:
    """Print a figure; `pytest -s` shows it."""
    print(f"{what}: {seconds:.1f} s")


def test_kills_of_a_worker_and_of_the_orchestrator_lose_and_double_nothing(yard: Yard) -> None:
    yard.submit()
    up = yard.start("up", "--until-idle", "--workers", "2")
    yard.wait_for_training(2)

    (doomed, *_) = yard.workers()
    doomed.kill()
    lost = yard.wait_until(lambda: yard.incidents(IncidentKind.WORKER_LOST))
    show("from kill -9 of a worker to its trial being queued again", lost)
    assert "queued again" in yard.incidents(IncidentKind.WORKER_LOST)[0]

    yard.wait_until(lambda: ["expired", "running"] in yard.attempts().values())
    theirs = belonging_to(yard.home)
    assert len(theirs) > 5  # Ray, its agents and workers, the mirror, the reaper
    up.kill()
    up.wait()
    gone = yard.wait_until(lambda: not still_alive(theirs))
    show("from kill -9 of the orchestrator to the end of its last process", gone)
    assert not belonging_to(yard.home)

    yard.run("up", "--until-idle", "--workers", "2")
    assert {row.state for row in yard.rows()} == {TrialState.SUCCEEDED}
    attempts = yard.attempts()
    assert [states.count("succeeded") for states in attempts.values()] == [1] * 4
    assert all(states[-1] == "succeeded" for states in attempts.values())
    assert len(yard.incidents(IncidentKind.ORCHESTRATOR_LOST)) == 1
    for row in yard.rows():
        curve = yard.results.curves(trial_id=row.id, metrics=["val/accuracy"])
        assert [point.epoch for point in curve] == [*range(1, 101)]
    begun = [each.begun_epoch for row in yard.rows() for each in yard.results.attempts(row.id)]
    assert any(epoch for epoch in begun), "no attempt went on from a checkpoint"


@pytest.mark.chaos
def test_sigterm_gives_every_lease_back_in_time(yard: Yard) -> None:
    yard.submit(epochs=5000)
    up = yard.start("up", "--workers", "2")
    yard.wait_for_training(2)
    began_at = time.monotonic()
    up.terminate()
    assert up.wait(60) == 130
    show("from SIGTERM to the end", time.monotonic() - began_at)
    assert not belonging_to(yard.home)
    assert {row.state for row in yard.rows()} == {TrialState.QUEUED}
    assert sorted(yard.attempts().values()) == [[], [], ["cancelled"], ["cancelled"]]
    assert yard.results.orchestrators() == ()
    assert "trials under way are queued again" in yard.said


@pytest.mark.chaos
def test_a_deadlock_in_the_training_ends_the_attempt_and_the_next_one_succeeds(
    yard: Yard, tmp_path: Path
) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(DEADLOCK_ONCE)
    yard.environ = {"PYTHONPATH": str(tmp_path / "path"), "ONCE": str(tmp_path / "once")}
    yard.submit(seeds=1, epochs=4, execution="strategy: plain, stall_timeout: 8s")
    up = yard.start("up", "--until-idle", "--workers", "1")
    yard.wait_for_training()
    stalled = yard.wait_until(lambda: yard.incidents(IncidentKind.TRIAL_STALLED))
    show("from the second epoch to the end of the deadlocked attempt (8 s are allowed)", stalled)
    yard.finish(up)
    (row,) = yard.rows()
    first, second = yard.results.attempts(row.id)
    assert first.failure is not None
    assert first.failure.kind is FailureKind.STALLED
    assert "after epoch 2" in first.failure.message
    assert (second.state, second.begun_epoch) == ("succeeded", 2)


@pytest.mark.chaos
def test_a_frozen_workers_trial_is_finished_by_another_and_the_worker_is_ended(yard: Yard) -> None:
    yard.submit(seeds=1)
    work = yard.start(program=(sys.executable, "-c", WORK_WITH_SHORT_LEASES))
    yard.wait_for_training()
    (worker,) = yard.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    taken = yard.wait_until(lambda: len(next(iter(yard.attempts().values()))) == 2)
    show("from SIGSTOP of a worker to the next attempt (with leases of 6 s)", taken)
    assert not still_alive([worker])
    yard.finish(work)
    assert list(yard.attempts().values()) == [["expired", "succeeded"]]
    assert len(yard.incidents(IncidentKind.WORKER_SILENT)) == 1


@pytest.mark.chaos
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_stop_while_ray_starts_is_heard_at_once(yard: Yard, number: signal.Signals) -> None:
    yard.submit(epochs=5000)
    up = yard.start("up", "--workers", "2")
    yard.wait_until(lambda: any("ray_host" in each.command for each in belonging_to(yard.home)))
    began_at = time.monotonic()
    up.send_signal(number)
    assert up.wait(60) == 130
    show(f"from {number.name} while Ray starts to the end", time.monotonic() - began_at)
    assert not belonging_to(yard.home)
    assert {row.state for row in yard.rows()} == {TrialState.QUEUED}


@pytest.mark.chaos
def test_a_stop_while_the_store_is_locked_does_not_wait_for_it(yard: Yard) -> None:
    yard.submit(seeds=2)
    up = yard.start("up", "--workers", "2")
    yard.wait_for_training(2)
    with closing(sqlite3.connect(yard.home / "trainyard.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(3.0)
        began_at = time.monotonic()
        up.send_signal(signal.SIGINT)
        assert up.wait(120) == 130
        show("from Ctrl-C to the end, with a locked store", time.monotonic() - began_at)
    assert not belonging_to(yard.home)
    yard.run("up", "--until-idle", "--workers", "2")
    assert {row.state for row in yard.rows()} == {TrialState.SUCCEEDED}


@pytest.mark.chaos
def test_two_orchestrators_share_a_store_and_one_takes_over_when_the_other_dies(
    shared_yard: Yard,
) -> None:
    yard = shared_yard
    yard.submit(seeds=8, epochs=300)  # long enough that the second one's worker gets some
    doomed = yard.start("up", "--until-idle", "--workers", "1")
    yard.wait_for_training()
    other = yard.start("up", "--until-idle", "--workers", "1")
    yard.wait_until(lambda: len(yard.results.orchestrators()) == 2)
    yard.wait_until(lambda: len({row.worker for row in yard.rows() if row.worker}) >= 2)
    doomed.kill()
    taken = yard.wait_until(lambda: yard.incidents(IncidentKind.ORCHESTRATOR_LOST))
    show("from kill -9 of one of two orchestrators to the other having its trial", taken)
    yard.finish(other)

    results = yard.results
    attempts = {row.id: results.attempts(row.id) for row in yard.rows()}
    assert [row.state for row in yard.rows()] == [TrialState.SUCCEEDED] * 8
    assert len({each.orchestrator for each_of in attempts.values() for each in each_of}) == 2
    for of_trial in attempts.values():
        assert [each.state for each in of_trial].count("succeeded") == 1
        for earlier, later in pairwise(of_trial):
            assert earlier.ended_at is not None
            assert earlier.ended_at <= later.started_at, "two leases at once"


@pytest.mark.chaos
def test_a_restart_of_postgresql_stops_no_training(tmp_path: Path) -> None:
    with server_or_skip(durable=True) as server:
        yard = Yard(tmp_path / "home", server.create_database("yard"))
        try:
            yard.submit(seeds=4, epochs=300)
            up = yard.start("up", "--until-idle", "--workers", "2")
            yard.wait_for_training(2)
            server.kill()
            time.sleep(6.0)
            server.start()
            yard.finish(up)
            assert list(yard.attempts().values()) == [["succeeded"]] * 4
            (account,) = yard.incidents(IncidentKind.STORE_UNREACHABLE)
            assert "trials under way go on, nothing new is begun; trying again" in yard.said
            assert account in yard.said
        finally:
            end(yard)


@pytest.mark.chaos
def test_a_frozen_postgresql_does_not_keep_the_orchestrator_from_stopping(tmp_path: Path) -> None:
    with server_or_skip(durable=True) as server:
        yard = Yard(tmp_path / "home", server.create_database("yard"))
        postmaster = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
        frozen = [postmaster]
        try:
            yard.submit(seeds=2, epochs=5000)
            up = yard.start("up", "--workers", "2")
            yard.wait_for_training(2)
            frozen += [each.pid for each in all_processes().values() if each.parent == postmaster]
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(3.0)
            began_at = time.monotonic()
            up.terminate()
            assert up.wait(60) == 130
            show("from SIGTERM to the end, with a frozen store", time.monotonic() - began_at)
            assert not belonging_to(yard.home)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
            end(yard)
