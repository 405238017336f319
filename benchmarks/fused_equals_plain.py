"""Fused packs against the plain loop, seed by seed: `make bench BENCH=fused_equals_plain`.

The `small` network on digits with ReLU and tanh, 30 seeds each, five epochs. Both ways add the
same float32 products in different orders, so their weights drift apart a little; what they end
at should not. Each seed's accuracy in a pack is compared with its own in the plain loop:
differences by pairs, beside the spread of the seeds themselves. SEEDS=100 for more.
"""

import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.record import Goal, at_most, write
from benchmarks.workloads import Workload
from experiments.comparison.statistics import summarise
from experiments.events import Event, TrialSucceeded
from experiments.planning.strategies import PLAIN, Strategy
from experiments.records import Assignment, Trial
from workers.datasets.staged import StagedData
from workers.staging import stage
from workers.training import run_pack

METRICS: Final = ("test/accuracy", "test/loss", "val/accuracy", "val/loss")
WORKLOAD: Final = Workload(
    name="fused-equals-plain",
    data={"name": "digits"},
    models=["small"],
    activations=["relu", "tanh"],
    rates=[0.05],
    batch_sizes=[32],
    num_seeds=30,
    epochs=5,
)


class Ends:
    """A reporter that keeps how trials ended."""

    def __init__(self) -> None:
        self.metrics: dict[str, Mapping[str, float]] = {}

    def report(self, event: Event) -> None:
        """Keep the metrics of a trial that succeeded."""
        if isinstance(event, TrialSucceeded):
            self.metrics[event.trial_id] = event.metrics

    def stop_requested(self, trial_id: str) -> bool:
        """Let all go on."""
        assert trial_id
        return False


def main() -> None:
    """Measure, print and keep."""
    torch.set_num_threads(1)
    workload = replace(WORKLOAD, num_seeds=int(os.environ.get("SEEDS", WORKLOAD.num_seeds)))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        trials = workload.plan(Path(name)).trials
        data = stage(trials[0].config.data, root=Path(name))
        found = compare(trials, data)
    write("fused_equals_plain", {**workload.describe(), "metrics": found, "goals": goals(found)})


def compare(trials: Sequence[Trial], data: StagedData) -> dict[str, Any]:
    """Train all trials in both ways, and summarise the differences of each metric."""
    ways = (PLAIN, Strategy(len(trials)))
    plain, fused = (train(trials, data, strategy=strategy) for strategy in ways)
    return {
        metric: differences(
            [plain[trial.id][metric] for trial in trials],
            [fused[trial.id][metric] for trial in trials],
        )
        for metric in METRICS
    }


def train(
    trials: Sequence[Trial], data: StagedData, *, strategy: Strategy
) -> Mapping[str, Mapping[str, float]]:
    """Give the metrics of trials, by their ids, trained in one way."""
    ends = Ends()
    assignments = [Assignment(trial.id, 1, trial.config) for trial in trials]
    run_pack(assignments, data, ends, strategy=strategy)
    return ends.metrics


def differences(plain: Sequence[float], fused: Sequence[float]) -> dict[str, float | int]:
    """Summarise fused - plain over pairs, with the bounds of its mean (95 %, Student)."""
    pairs = [one - other for one, other in zip(fused, plain, strict=True)]
    found = summarise(pairs)
    assert found.low is not None
    assert found.high is not None
    return {
        "pairs": len(pairs),
        "equal": pairs.count(0.0),
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "largest": max(map(abs, pairs)),
        "mean_of_plain": statistics.fmean(plain),
        "spread_of_plain": statistics.stdev(plain),
    }


def goals(found: Mapping[str, Mapping[str, float]]) -> list[Goal]:
    """Hold the mean difference to a tenth of what seeds differ by, and to its own bounds."""
    accuracy = found["test/accuracy"]
    tenth = round(accuracy["spread_of_plain"] / 10, 6)
    outside = max(0.0, accuracy["low"], -accuracy["high"])
    return [
        at_most("mean difference of test accuracies", tenth, abs(accuracy["mean"])),
        at_most("how far 0 lies outside of the bounds of that mean (95 %)", 0.0, outside),
    ]


if __name__ == "__main__":
    main()
