"""A small experiment whose trials end as a test says, and whether MLflow shows the same."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from sqlalchemy import Engine

from experiments.events import CheckpointSaved, Failure, MetricPoint, PointsMeasured, TrialSucceeded
from experiments.records import (
    CheckpointPolicy,
    Execution,
    Experiment,
    Objective,
    Resources,
    Trial,
    TrialConfig,
)
from experiments.states import TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.rows import TrialRow
from tests.samples import SOME_WORK
from workers import checkpoints
from workers.modules import build_module

MakeConfig = Callable[..., TrialConfig]

STATUS = {
    TrialState.SUCCEEDED: "FINISHED",
    TrialState.CANCELLED: "KILLED",
    TrialState.PRUNED: "KILLED",
}
NUM_EPOCHS = 3
NUM_STEPS = 1_100  # more points than MLflow takes in one batch


class Store:
    """A small experiment in the SQL store, whose trials end as a test says."""

    def __init__(self, engine: Engine, folder: Path, make_config: MakeConfig) -> None:
        self.engine = engine
        self.results = Results(engine)
        self.queue = Queue(engine)
        self._folder = folder
        self._make_config = make_config
        self.name = f"grid {folder.name}"  # each test its own, in the store they share

    def submit(self, variants: dict[str, dict[str, Any]], *, seeds: int = 1) -> None:
        trials = [
            Trial(
                id=f"{self._folder.name}-{variant}-{seed}".replace("=", ""),
                number=number,
                variant=variant,
                seed=seed,
                params=params,
                config=self._make_config(seed=seed, epochs=NUM_EPOCHS),
                content_key=f"{variant}-{seed}",
                work=SOME_WORK,
            )
            for number, (variant, params, seed) in enumerate(
                ((v, p, s) for v, p in variants.items() for s in range(seeds)), start=1
            )
        ]
        self.queue.submit(
            self.experiment(), trials, class_names=("cat", "dog"), git_commit="abc123"
        )

    def experiment(self) -> Experiment:
        return Experiment(
            id=f"id-{self._folder.name}",
            name=self.name,
            spec={},
            text="",
            tags={"team": "vision", "odd!key": "kept"},
            objective=Objective(),
            resources=Resources(),
            execution=Execution(retries=0),
            checkpoints=CheckpointPolicy(),
        )

    def succeed(self, *, accuracy: float = 0.9, checkpoint: bool = False) -> str:
        """Run the next trial to its end, and give its id."""
        (claim,) = self.queue.claim(worker="w", limit=1, lease_seconds=60, resources=Resources())
        lease, trial_id = claim.lease, claim.lease.trial_id
        self.results.record([(lease, PointsMeasured(trial_id, tuple(self.points())))])
        if checkpoint:
            module = build_module(claim.config.architecture, generator=torch.Generator())
            path = self._folder / f"{trial_id}.pt"
            extra = {"config": json.dumps(claim.config.to_data()), "mean": [7.0], "std": [2.0]}
            saved = checkpoints.save(path, module.state_dict(), epoch=2, step=9, **extra)
            event = CheckpointSaved(
                trial_id, "best", 2, 9, str(path), saved.sha256, saved.num_bytes
            )
            self.results.record([(lease, event)])
        metrics = {"val/accuracy": accuracy, "val/loss": 0.25, "test/accuracy": accuracy - 0.1}
        self.queue.succeed(lease, TrialSucceeded(trial_id, metrics, 2, 1.5, ((5, 1), (0, 4))))
        return trial_id

    def fail(self, failure: Failure, points: list[MetricPoint]) -> str:
        (claim,) = self.queue.claim(worker="w", limit=1, lease_seconds=60, resources=Resources())
        trial_id = claim.lease.trial_id
        self.results.record([(claim.lease, PointsMeasured(trial_id, tuple(points)))])
        self.queue.fail(claim.lease, failure)
        return trial_id

    @staticmethod
    def points() -> Iterator[MetricPoint]:
        for step in range(1, NUM_STEPS + 1):
            epoch = 1 + step * NUM_EPOCHS // (NUM_STEPS + 1)
            yield MetricPoint("train/batch_loss", epoch, step, 1 / 3 / step, 1_000_000 + step)
        for epoch in range(1, NUM_EPOCHS + 1):
            step = NUM_STEPS * epoch // NUM_EPOCHS
            for number, metric in enumerate(("train/loss", "val/loss", "val/accuracy", "lr")):
                yield MetricPoint(metric, epoch, step, 0.1 * number + epoch / 7, 2_000_000 + epoch)


def runs(store: Store, client: MlflowClient) -> dict[str, Run]:
    return runs_of(store.name, client)


def runs_of(name: str, client: MlflowClient) -> dict[str, Run]:
    """Give MLflow's runs of an experiment by their trials; no trial may have two."""
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id], max_results=10_000) if experiment else []
    by_trial = {run.data.tags["trainyard.trial"]: run for run in found}
    assert len(by_trial) == len(found), "a trial has two runs"
    return by_trial


def models_of(run: Run) -> list[str]:
    return [output.model_id for output in run.outputs.model_outputs] if run.outputs else []


def curves_in_sql(results: Results, trial_id: str) -> set[tuple[str, int, float, int]]:
    return {
        (p.metric, p.step if p.metric == "train/batch_loss" else p.epoch, p.value, p.timestamp_ms)
        for p in results.curves(trial_id=trial_id)
        if math.isfinite(p.value)
    }


def curves_in_mlflow(client: MlflowClient, run: Run) -> set[tuple[str, int, float, int]]:
    points = [
        (point.key, point.step, point.value, point.timestamp)
        for key in run.data.metrics
        if not key.startswith(("best/", "test/"))
        for point in client.get_metric_history(run.info.run_id, key)
    ]
    assert len(points) == len(set(points)), "a point is there twice"
    return set(points)


def assert_mlflow_equals_sql(results: Results, experiment_id: str, client: MlflowClient) -> None:
    """Compare all that both have: runs, how they ended, params, curves, scores, and models."""
    trials = results.trials(experiment_id)
    shown = runs_of(results.experiment(experiment_id).name, client)
    assert sorted(shown) == sorted(trial.id for trial in trials)
    for trial in trials:
        run = shown[trial.id]
        assert run.info.status == STATUS.get(trial.state, "FAILED")
        assert run.data.tags["trainyard.state"] == trial.state
        assert run.data.params.items() >= {k: str(v) for k, v in trial.params.items()}.items()
        assert curves_in_mlflow(client, run) == curves_in_sql(results, trial.id)
        for name, value in (trial.metrics or {}).items():
            if name.startswith("test/") and math.isfinite(value):
                assert run.data.metrics[name] == value
    sign = 1 if results.experiment(experiment_id).objective.goal == "maximize" else -1
    best: dict[str, TrialRow] = {}
    for trial in sorted(trials, key=lambda trial: -sign * (trial.objective_value or 0.0)):
        if trial.objective_value is not None:
            best.setdefault(trial.variant, trial)
    with_model = [variant for variant in best if results.selected_checkpoint(best[variant])]
    models = [(run.data.tags["variant"], id_) for run in shown.values() for id_ in models_of(run)]
    assert sorted(variant for variant, _ in models) == sorted(with_model)
    ids = [run.info.experiment_id for run in shown.values()][:1]
    logged = client.search_logged_models(ids, max_results=100) if ids else []
    if len(logged) < 100:
        assert sorted(each.model_id for each in logged) == sorted(id_ for _, id_ in models)
        assert all(str(each.status) == "READY" for each in logged)


def assert_equal_everywhere(store: Store, client: MlflowClient) -> None:
    assert_mlflow_equals_sql(store.results, store.experiment().id, client)
    for trial in store.results.trials(store.experiment().id):
        assert len(curves_in_sql(store.results, trial.id)) == NUM_STEPS + 4 * NUM_EPOCHS
