"""1,000,000 points into the store and out again, and 100,000 trials: `make bench BENCH=metrics`.

A hundred trials that were claimed report ten curves of a thousand points each, through
`Results.record`, as the orchestrator writes what workers say: some thousand points of several
trials in one transaction. Then `trainyard.curves` gives them as a frame. Of another experiment
100,000 trials have made-up results, and `trainyard.trials` gives their frame. On SQLite and on
PostgreSQL, both durable. POINTS=100000 TRIALS=10000 for less.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, bindparam, update

import trainyard
from benchmarks.record import Goal, at_least, at_most, measured, write
from benchmarks.stores import on_each_database, settings_of
from benchmarks.workloads import Workload
from dashboards.frames import metric_names
from experiments.events import MetricPoint, PointsMeasured
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from orchestrator.store.tables import trial

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
MANY: Final = replace(
    GRID,
    name="many",
    activations=["relu", "tanh"],
    models=["small"],
    rates=[number / 1000 for number in range(1, 501)],
    execution={"max_trials": 1_000_000},
)


@dataclass(frozen=True, slots=True)
class Size:
    """How many points: of each curve `num_steps`, told `num_at_once` at a time."""

    num_trials: int = 100
    num_curves: int = 10
    num_steps: int = 1000
    num_at_once: int = 10
    num_reads: int = 3
    num_many: int = 100_000

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
    size = replace(size, num_many=int(os.environ.get("TRIALS", size.num_many)))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        found = on_each_database(partial(measure, size), Path(name))
    sizes = {"num_points": size.num_points, "num_trials": size.num_many}
    write("metrics", {**sizes, "stores": found, "goals": goals(found)})


def goals(found: dict[str, Any]) -> list[Goal]:
    """Hold each database's figures to what was wanted."""
    return [
        goal
        for label, each in found.items()
        if "points_per_second" in each
        for goal in (
            at_least(f"points a second in, {label}", 50_000, each["points_per_second"]),
            at_most(f"seconds to a frame of points, {label}", 3.0, each["frame_seconds"]["median"]),
            at_most(
                f"seconds to a frame of trials, {label}", 3.0, each["trials_seconds"]["median"]
            ),
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
    submit_many(engine, queue, home, num_trials=size.num_many)
    engine.dispose()
    of_points, of_trials = (
        [frame_seconds(read, name, rows=num, url=url, home=home) for _ in range(size.num_reads)]
        for read, name, num in (
            (trainyard.curves, GRID.name, size.num_points),
            (trainyard.trials, MANY.name, size.num_many),
        )
    )
    return {
        "points_per_transaction": sum(len(event.points) for _, event in batches[0]),
        "write_seconds": round(written, 3),
        "points_per_second": round(size.num_points / written),
        "frame_seconds": measured(of_points),
        "trials_seconds": measured(of_trials),
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


def frame_seconds(
    read: Callable[[str], Any], name: str, *, rows: int, url: str, home: Path
) -> float:
    """Time `trainyard.curves` or `trainyard.trials`, opening the store included."""
    with settings_of(url, home):
        started = time.perf_counter()
        frame = read(name)
        seconds = time.perf_counter() - started
    assert len(frame) == rows, f"{len(frame)} rows came back of {rows}"
    return seconds


def submit_many(engine: Engine, queue: Queue, home: Path, *, num_trials: int) -> None:
    """Submit an experiment of so many trials, and write down results for them."""
    grid = replace(MANY, num_seeds=num_trials // (MANY.num_trials // MANY.num_seeds))
    plan = grid.plan(home)
    queue.submit(plan.experiment, plan.trials)
    rows = [
        {
            "of": each.id,
            "score": (value := 0.9 + each.number % 997 / 1e4),
            "told": dict.fromkeys(metric_names("classification"), value),
        }
        for each in plan.trials
    ]
    ended = update(trial).where(trial.c.id == bindparam("of")).values(
        state="succeeded", fence=1, selected_epoch=1, duration_seconds=1.5, machine="m/1cpu",
        strategy="fused, 16 members", peak_memory_bytes=2**28, started_at=1.7e9,
        finished_at=1.7e9 + 1.5, objective_value=bindparam("score"), metrics=bindparam("told"),
    )  # fmt: skip
    with engine.begin() as connection:
        connection.execute(ended, rows)


if __name__ == "__main__":
    main()
