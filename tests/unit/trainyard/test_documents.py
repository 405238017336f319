"""The fields of JSON documents that other programs rely on (docs/command-line.md)."""

import time
from pathlib import Path

import pytest

from experiments.comparison.leaderboard import Outcome, rank
from experiments.planning.plan import make_plan
from experiments.records import Objective
from experiments.spec import read_spec
from experiments.states import IncidentKind
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from tests.samples import claim_one, submit, success_of
from trainyard.command.documents import (
    plan_fields,
    standing_fields,
    status_fields,
    trial_fields,
)


def test_plan_has_its_fields() -> None:
    text = "name: t\nparameters: {model: mlp, lr: [0.1, 0.2]}\nexclude: [{lr: 0.2}]\n"
    fields = plan_fields(make_plan(read_spec(text), data_root=Path("data")))
    assert fields["experiment"] == "t"
    assert (fields["trials"], fields["variants"], fields["cached"]) == (1, 1, 0)
    assert fields["excluded"] == [{"variant": "lr=0.2", "reason": "exclude: lr=0.2"}]
    assert set(fields["estimate"]) == {
        "seconds",
        "seconds_low",
        "seconds_high",
        "unsure",
        "learned_from",
        "workers",
        "peak_memory_bytes",
    }
    assert fields["estimate"]["seconds"] is fields["estimate"]["seconds_low"] is None
    assert (fields["task"], fields["submitted"]) == ("classification", False)
    assert (fields["data"]["target"], fields["data"]["classes"]) == ("class", 10)
    (model,) = fields["models"]
    assert (model["model"], model["parameters"]) == ("mlp", 9610)
    assert (model["multiply_adds"], model["output_shape"]) == (9472, [10])
    assert (model["activation_bytes"], model["trial_seconds"]) == (4 * (128 + 128 + 10), None)
    assert [layer["activation_bytes"] for layer in model["layers"]] == [0, 512, 512, 40]
    assert [layer["kind"] for layer in model["layers"]] == [
        "flatten",
        "linear",
        "activation",
        "linear",
    ]


def test_status_and_trials_have_their_fields(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine), Results(engine)
    submit(queue, 3)
    lease = claim_one(queue).lease
    queue.succeed(lease, success_of(lease.trial_id, 0.9))
    running = claim_one(queue).lease
    (experiment,) = status_fields(results.overviews())["experiments"]
    assert (experiment["name"], experiment["state"]) == ("grid", "running")
    assert experiment["trials"] == {
        "queued": 1,
        "running": 1,
        "succeeded": 1,
        "failed": 0,
        "cancelled": 0,
        "pruned": 0,
        "quarantined": 0,
    }
    assert experiment["best"]["trial"] == lease.trial_id
    assert experiment["best"]["value"] == 0.9
    assert "eta_seconds" in experiment
    assert (experiment["reused"], experiment["paused"]) == (0, 0)
    first = trial_fields(results.trial(lease.trial_id))
    for name in ("id", "variant", "seed", "state", "params", "metrics", "attempts", "paused"):
        assert name in first
    assert first["metrics"] == {"val/accuracy": 0.9}
    assert (first["reused_from"], first["strategy"]) == (None, "plain")
    assert trial_fields(results.trial(running.trial_id))["state"] == "running"
    engine.dispose()


def test_status_tells_what_happened_and_who_works(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    queue, results = Queue(engine, orchestrator="a1"), Results(engine)
    queue.enter(host="elsewhere", process="7:77")
    queue.note(IncidentKind.WORKER_LOST, "killed", experiment_id="e1", trial_id="e1-0001")
    fields = status_fields([], incidents=results.incidents(), orchestrators=results.orchestrators())
    engine.dispose()
    (incident,), (row,) = fields["incidents"], fields["orchestrators"]
    assert incident.pop("at") == pytest.approx(time.time(), abs=60)
    assert incident == {
        "kind": "worker_lost",
        "experiment": "e1",
        "trial": "e1-0001",
        "message": "killed",
    }
    assert (row["id"], row["host"], row["process"], row["alive"]) == (
        "a1",
        "elsewhere",
        "7:77",
        True,
    )


def test_leaderboard_has_its_fields_also_without_a_result() -> None:
    outcomes = [
        Outcome("a", {"lr": 0.1}, 0, {"val/accuracy": 0.5, "test/accuracy": 0.6}),
        Outcome("a", {"lr": 0.1}, 1, {"val/accuracy": 0.7}),
        Outcome("b", {"lr": 0.2}, 0, {}),
    ]
    first, second = (
        standing_fields(each, metric="val/accuracy") for each in rank(outcomes, Objective())
    )
    assert (first["variant"], first["n"], first["params"]) == ("a", 2, {"lr": 0.1})
    assert first["low"] < first["mean"] < first["high"]
    assert second["mean"] is second["std"] is second["low"] is second["high"] is None
    assert second["n"] == 0
    assert (first["metrics"], first["metrics_n"]) == ({"test/accuracy": 0.6}, {"test/accuracy": 1})
