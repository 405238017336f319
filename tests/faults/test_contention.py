"""Many at once, and clocks that disagree: nothing is claimed, submitted or recorded twice."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from experiments.states import TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store, persist
from tests.samples import SettableClock, attempts_of, claim, submit, success_of

COMMAND = str(Path(sys.executable).with_name("trainyard"))
NUM_CLAIMERS = 8
NUM_SUBMITTERS = 20
HOUR_SECONDS = 3600.0

SPEC = """
name: asked-by-many
data: {name: digits, limit: 300}
defaults: {epochs: 1, lr: 0.1}
parameters: {model: [mlp, softmax_regression]}
seeds: 50
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'trainyard.db'}"
    make: Callable[[], str] = request.getfixturevalue("new_postgres_url")
    return make()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_store(url, create=True)
    yield engine
    engine.dispose()


def _claim_all(url: str, name: str, start: Any, answer: Connection) -> None:
    """Claim until nothing is left; runs in a process of its own."""
    engine = open_store(url, create=False)
    queue = Queue(engine, orchestrator=name)
    start.wait()
    claimed: list[tuple[str, int]] = []
    while claims := persist(lambda: claim(queue, 3, worker=f"{name}/worker-1"), seconds=60):
        claimed += [(each.lease.trial_id, each.lease.fence) for each in claims]
    answer.send(claimed)


def assert_claimed_once(engine: Engine, url: str, num_trials: int) -> None:
    submit(Queue(engine), num_trials)
    engine.dispose()  # a child must not share a connection
    context = multiprocessing.get_context("fork")
    start, ends, processes = context.Barrier(NUM_CLAIMERS), [], []
    for number in range(NUM_CLAIMERS):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_claim_all, args=(url, f"{number:08d}", start, theirs))
        process.start()
        ends.append(mine)
        processes.append(process)
    answers: list[list[tuple[str, int]]] = [end.recv() for end in ends]
    for process in processes:
        process.join()

    claimed = Counter(lease for answer in answers for lease in answer)
    assert len(claimed) == num_trials
    assert set(claimed.values()) == {1}
    assert {fence for _, fence in claimed} == {1}
    assert sum(bool(answer) for answer in answers) > 1, "one process took them all"


def test_claimers_at_once_never_get_the_same_trial(engine: Engine, url: str) -> None:
    assert_claimed_once(engine, url, 240)


@pytest.mark.chaos
def test_claimers_of_two_thousand_trials_never_get_the_same_one(engine: Engine, url: str) -> None:
    assert_claimed_once(engine, url, 2000)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_one_spec_submitted_by_many_processes_is_one_experiment(url: str, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    environ = {"TRAINYARD_HOME": str(tmp_path / "home"), "TRAINYARD_DATABASE_URL": url}
    submits = [
        subprocess.Popen(
            [COMMAND, "submit", str(spec), "--json"],
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(NUM_SUBMITTERS)
    ]
    answers = []
    for each in submits:
        out, err = each.communicate(timeout=300)
        assert each.returncode == 0, err
        answers.append(json.loads(out))

    assert sum(answer["new"] for answer in answers) == 1
    engine = open_store(url, create=False)
    (experiment,) = Results(engine).experiments()
    assert len(Results(engine).trials(experiment.id)) == 100
    engine.dispose()


def test_orchestrators_whose_clocks_are_hours_apart_double_no_result(engine: Engine) -> None:
    """Each takes the other's leases for expired, or for eternal; the fence decides."""
    early, late = SettableClock(), SettableClock()
    late.seconds = early.seconds + 2 * HOUR_SECONDS
    queues = [
        Queue(engine, now=early, orchestrator="aaaaaaaa"),
        Queue(engine, now=late, orchestrator="bbbbbbbb"),
    ]
    for number, queue in enumerate(queues):
        queue.enter(host="here", process=f"{number}:0")
    submit(queues[0], 4)
    given = [(queues[0], each.lease) for each in claim(queues[0], 4)]
    results = Results(engine)

    assert len(queues[1].expire()) == 4  # by its clock they are long overdue
    late.seconds += 61.0  # a retry may have been put off
    given += [(queues[1], each.lease) for each in claim(queues[1], 4)]
    early.seconds += 61.0
    assert queues[0].expire() == ()  # by its own, the other's leases last for hours

    recorded = [
        (lease.trial_id, lease.fence)
        for queue, lease in given
        if queue.succeed(lease, success_of(lease.trial_id, lease.fence / 10))
    ]
    assert sorted(recorded) == [(f"exp1-{number:04d}", 2) for number in range(1, 5)]
    for row in results.trials("exp1"):
        assert (row.state, row.objective_value) == (TrialState.SUCCEEDED, 0.2)
        assert attempts_of(engine, row.id) == [(1, "fenced"), (2, "succeeded")]
