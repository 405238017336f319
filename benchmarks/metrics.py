"""1,000,000 points into the store and out again: `make bench BENCH=metrics`.

A hundred trials that were claimed report ten curves of a thousand points each, through
`Results.record`, as the orchestrator writes what workers say: some thousand points of several
trials in one transaction. Then `trainyard.curves` gives them as a frame. On SQLite and on
PostgreSQL, both durable. POINTS=100000 for less.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import trainyard
from benchmarks.record import Goal, at_least, at_most, measured, write
from benchmarks.stores import on_each_database, settings_of
from benchmarks.workloads import Workload
from experiments.events import MetricPoint, PointsMeasured
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store

GRID: Final = Workload(
    name="metrics",
    data={"name": "digits"},
    models=["softmax_regression"],
    activations=["relu"],
    rates=[0.01],
    batch_sizes=[64],
    num_seeds=100,
    epochs=1,
)


@dataclass(frozen=True, slots=True)
class Size:
    """How many points: of each curve `num_steps`, told `num_at_once` at a time."""

    num_trials: int = 100
    num_curves: int = 10
    num_steps: int = 1000
    num_at_once: int = 10
    num_reads: int = 3

    @property
    def num_points(self) -> int:
        """Count them all."""
        return self.num_trials * self.num_curves * self.num_steps


def main() -> None:
    """Measure, print and keep."""
    size = Size()
    if "POINTS" in os.environ:
        num_steps = int(os.environ["POINTS"]) // (size.num_trials * size.num_curves)
        size = replace(size, num_steps=num_steps)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        found = on_each_database(partial(measure, size), Path(name))
    write("metrics", {"num_points": size.num_points, "stores": found, "goals": goals(found)})


def goals(found: dict[str, Any]) -> list[Goal]:
    """Hold each database's figures to what was wanted."""
    return [
        goal
        for label, each in found.items()
        if "points_per_second" in each
        for goal in (
            at_least(f"points a second in, {label}", 50_000, each["points_per_second"]),
            at_most(f"seconds to a frame, {label}", 3.0, each["frame_seconds"]["median"]),
        )
    ]


def measure(size: Size, url: str, home: Path) -> dict[str, Any]:
    """Write the points of a new experiment, and read them as a frame several times.

    Raises:
        AssertionError: The frame has not every point.
    """
    plan = replace(GRID, num_seeds=size.num_trials).plan(home)
    engine = open_store(url, create=True)
    queue, results = Queue(engine), Results(engine)
    queue.submit(plan.experiment, plan.trials)
    leases: list[Lease] = []
    while len(leases) < size.num_trials:
        claims = queue.claim(
            worker="bench",
            limit=size.num_trials - len(leases),
            lease_seconds=600.0,
            resources=plan.experiment.resources,
        )
        leases += [claim.lease for claim in claims]
    batches = list(said(leases, size))
    started = time.perf_counter()
    for batch in batches:
        assert not results.record(batch), "a lease was stale"
    written = time.perf_counter() - started
    engine.dispose()
    reads = [frame_seconds(url, home, size) for _ in range(size.num_reads)]
    return {
        "points_per_transaction": sum(len(event.points) for _, event in batches[0]),
        "write_seconds": round(written, 3),
        "points_per_second": round(size.num_points / written),
        "frame_seconds": measured(reads),
    }


def said(leases: list[Lease], size: Size) -> Iterator[list[tuple[Lease, PointsMeasured]]]:
    """Give what workers say, a transaction's worth at a time.

    Of every ten trials, each event has `num_at_once` steps of one trial's curves.
    """
    names = [f"train/curve_{number}" for number in range(size.num_curves)]
    for first in range(1, size.num_steps + 1, size.num_at_once):
        steps = range(first, min(first + size.num_at_once, size.num_steps + 1))
        for start in range(0, len(leases), 10):
            yield [
                (
                    lease,
                    PointsMeasured(
                        lease.trial_id,
                        tuple(
                            MetricPoint(name, 1, step, 1.0 / step, 1_700_000_000_000 + step)
                            for name in names
                            for step in steps
                        ),
                    ),
                )
                for lease in leases[start : start + 10]
            ]


def frame_seconds(url: str, home: Path, size: Size) -> float:
    """Time `trainyard.curves`, opening the store included."""
    with settings_of(url, home):
        started = time.perf_counter()
        frame = trainyard.curves(GRID.name)
        seconds = time.perf_counter() - started
    assert len(frame) == size.num_points, f"{len(frame)} points came back of {size.num_points}"
    return seconds


if __name__ == "__main__":
    main()
