"""What `plan` knows of the installation, and that it changes nothing there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert

import trainyard as ty
from orchestrator.machine import fingerprint
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.settings import from_environment
from orchestrator.store.database import open_store, writing
from orchestrator.store.tables import attempt, trial
from tests.samples import everything_in, learn_one
from trainyard.knowledge import Installation

SPEC = "name: one\nparameters: {model: mlp, lr: [0.1, 0.2]}\nseeds: 2\n"
HERE = fingerprint(cpus=1, gpus=0.0)


def work_off(home: Path, number: int) -> None:
    """Let trials of this machine succeed, as workers would."""
    engine = open_store(f"sqlite:///{home / 'trainyard.db'}", create=False)
    queue, results = Queue(engine), Results(engine)
    for _ in range(number):
        learn_one(queue, results, machine=HERE)
    engine.dispose()


def test_a_plan_learns_from_finished_trials_and_counts_known_results(home: Path) -> None:
    assert ty.plan(SPEC).estimate.seconds is None
    ty.submit(SPEC)
    work_off(home, 3)
    other = ty.plan(SPEC.replace("one", "two"))
    assert (other.num_known, other.is_submitted) == (3, False)
    assert other.estimate.learned_from == 3
    assert other.estimate.seconds is not None
    assert other.estimate.base_memory_bytes is not None
    assert ty.plan(SPEC).is_submitted


def test_a_plan_counts_only_results_with_the_checkpoints_that_it_keeps(home: Path) -> None:
    asked, keeps_last = SPEC.replace("one", "two"), "checkpoints: {keep: [last]}\n"
    ty.submit(SPEC + keeps_last)
    work_off(home, 3)
    assert ty.plan(asked + keeps_last).num_known == 3
    assert (ty.plan(asked).num_known, ty.submit(asked).num_reused) == (0, 0)


def test_a_plan_changes_nothing_in_the_store(home: Path) -> None:
    ty.submit(SPEC)
    engine = open_store(f"sqlite:///{home / 'trainyard.db'}", create=False)
    before = everything_in(engine)
    ty.plan(SPEC.replace("one", "two"))
    assert everything_in(engine) == before
    engine.dispose()


def test_without_a_store_nothing_is_opened_or_made(home: Path) -> None:
    code = "import sys, trainyard as ty; ty.plan(sys.argv[1]); print('sqlalchemy' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, SPEC], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"
    assert not home.exists()


@pytest.mark.parametrize(
    ("content", "note"),
    [(b"not a database", "file is not a database"), (b"", "an empty file, no store yet")],
)
def test_a_store_that_cannot_be_read_is_a_note_and_stops_no_plan(
    home: Path, content: bytes, note: str
) -> None:
    home.mkdir()
    (home / "trainyard.db").write_bytes(content)
    made = ty.plan(SPEC)
    assert len(made.trials) == 4
    (told,) = made.warnings
    assert told.startswith("nothing is known of earlier results: ")
    assert note in told
    assert (home / "trainyard.db").read_bytes() == content


def test_of_a_clusters_machines_nothing_is_known(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ty.submit(SPEC)
    work_off(home, 1)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    made = ty.plan(SPEC)
    assert made.estimate.seconds is None
    assert made.warnings == ("how long it takes is not known: the workers run on a cluster",)
    with Installation(from_environment()) as knowledge:
        assert knowledge.memory_bytes is None


def test_this_machines_memory_is_known(home: Path) -> None:
    assert not home.exists()
    with Installation(from_environment()) as knowledge:
        assert knowledge.memory_bytes is not None
        assert 2**28 < knowledge.memory_bytes < 2**50


def test_a_store_of_ten_thousand_trials_costs_a_plan_little(home: Path) -> None:
    ty.submit(SPEC)
    engine = open_store(f"sqlite:///{home / 'trainyard.db'}", create=False)
    with writing(engine) as connection:
        (row, *_) = connection.execute(trial.select().order_by(trial.c.number)).mappings()
        done = {**row, "state": "succeeded", "fence": 1, "machine": HERE, "started_at": 1000.0}
        connection.execute(
            insert(trial),
            [
                {
                    **done,
                    "id": f"x-{index}",
                    "number": 10 + index,
                    "variant": f"x{index}",
                    "content_key": f"key-{index}",
                    "work": {**row["work"], "steps": 100 + index % 700},
                    "finished_at": 1001.0 + index,
                    "duration_seconds": 1.0 + index,
                }
                for index in range(10_000)
            ],
        )
        begun = {"fence": 1, "state": "succeeded", "worker": "w", "orchestrator": "o"}
        begun |= {"started_at": 1000.0}
        connection.execute(
            insert(attempt), [{"trial_id": f"x-{index}", **begun} for index in range(10_000)]
        )
    engine.dispose()
    code = (
        "import sys, time; start = time.process_time(); import trainyard as ty;"
        "made = ty.plan(sys.argv[1]); import json;"
        "print(json.dumps([made.estimate.learned_from, time.process_time() - start]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, SPEC], capture_output=True, text=True, check=True
    )
    learned_from, seconds = json.loads(ran.stdout)
    assert learned_from == 500
    assert seconds < 1.5


@pytest.mark.usefixtures("home")
def test_weights_of_an_experiment_that_nobody_ran_are_asked_for_by_name() -> None:
    spec = "name: two\ndefaults: {lr: 1, model: mlp, init: {from: pretrain}}\nparameters: {}\n"
    wanted = r"spec:2:37: defaults\.init: 'pretrain', whose weights are wanted, is not recorded: "
    with pytest.raises(ty.SpecError, match=wanted):
        ty.plan(spec)
