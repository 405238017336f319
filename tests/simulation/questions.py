"""The experiments that the simulation submits: few and small, and in each other's way.

They share content keys (also with one that wants no known results) and keep other checkpoints
each, differ in priority and in the size of worker, and their budgets are soon used up. Packs are
of one shape or of two, and one experiment wants none.
"""

from dataclasses import replace
from itertools import cycle
from typing import Final

from experiments.records import CheckpointPolicy, Execution, Experiment, Resources, Trial
from tests.samples import ONE_CPU, an_experiment, some_trials

TWO_CPUS: Final = Resources(cpus=2, gpus=0.0)
SIZES: Final = (ONE_CPU, TWO_CPUS)

Question = tuple[Experiment, list[Trial]]


def _question(
    experiment_id: str,
    keys: list[str],
    *,
    execution: Execution,
    keep: tuple[str, ...] = ("best", "last"),
    resources: Resources = ONE_CPU,
    num_seeds: int = 1,
    batch_sizes: tuple[int, ...] = (32,),
) -> Question:
    experiment = replace(
        an_experiment(experiment_id, execution=execution, resources=resources),
        checkpoints=CheckpointPolicy(1, keep),
    )
    trials = some_trials(len(keys), of=experiment_id, num_seeds=num_seeds)
    sizes = cycle(batch_sizes)
    return experiment, [
        replace(trial, content_key=key, config=replace(trial.config, batch_size=next(sizes)))
        for trial, key in zip(trials, keys, strict=True)
    ]


QUESTIONS: Final = (
    _question(
        "a",
        ["k1", "k2", "k3"],
        execution=Execution(retries=1, max_losses=1, strategy="auto"),
        num_seeds=3,
    ),
    _question(
        "b",
        ["k2", "k3", "k4"],
        execution=Execution(retries=0, max_losses=2, strategy="auto"),
        keep=("last",),
    ),
    _question(
        "c",
        ["k1", "k4"],
        execution=Execution(reuse=False, max_failed_trials=1, strategy="plain"),
        keep=("best",),
    ),
    _question("d", ["k5", "k1"], execution=Execution(priority=1, max_losses=0, strategy="auto")),
    _question(
        "e",
        ["k3", "k1", "k6"],
        execution=Execution(max_failed_trials=2, strategy="auto"),
        keep=(),
        resources=TWO_CPUS,
    ),
    _question(
        "f",
        ["k7", "k8", "k9", "k10", "k3"],
        execution=Execution(strategy="auto"),
        keep=(),
        batch_sizes=(32, 64),
    ),
)
