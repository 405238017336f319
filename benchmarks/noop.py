"""10,000 trials that have nothing to do, against Ray Tune's: `make bench BENCH=noop`.

What a trial costs besides its training, in two ways, both on a durable SQLite store:

- `reporting`: queue, results and scheduler as they are, and a pool of processes, one for each
  core, that say of every trial what a worker says, and train nothing. It stands at the seam
  (`orchestrator.pools.pool.Pool`) where Ray stands otherwise.
- `training`: `trainyard run` with everything that belongs to it, Ray and MLflow included. The
  least that it can train is one linear layer on sixteen tiny images for one epoch. What MLflow
  has not heard when the work is done, it never does.

Ray Tune reuses its actors, whose trials report one number; it runs 2,000 of them, and the rate
counts: as it is otherwise, and with the loggers off that write three files a trial.
TRIALS=1000 for less.
"""

import os
import socket
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from benchmarks.contest import num_cores, run_job, run_ours
from benchmarks.idle_pool import IdlePool
from benchmarks.record import Goal, Measured, at_least, measured, write
from benchmarks.workloads import Workload
from orchestrator.instance import own_process
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.settings import from_environment
from orchestrator.store.database import open_store

REPEATS: Final = 3
NUM_FOR_RAY_TUNE: Final = 2000
RAY_TUNE: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "Ray Tune": {},
        "Ray Tune without loggers": {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"},
    }
)
"""The peer, as its users find it and as they may tune it: label -> environment."""

LOOK_SECONDS: Final = 1.0
"""How often it is looked whether anything is left to do: as `trainyard up --until-idle` does."""


def main() -> None:
    """Measure, print and keep."""
    num_trials = int(os.environ.get("TRIALS", "10000"))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        found = measure(
            Path(name),
            num_trials=num_trials,
            num_peer=min(num_trials, NUM_FOR_RAY_TUNE),
            repeats=int(os.environ.get("REPEATS", str(REPEATS))),
        )
    write("noop", {**found, "goals": goals(found)})


def goals(found: Mapping[str, Any]) -> list[Goal]:
    """Hold the rate to what was wanted, and to Ray Tune's."""
    rate = found["trials_per_second"]["reporting"]["median"]
    ratios = (
        at_least(f"trials a second that only report, times {label}", 30, ratio["median"])
        for label, ratio in found["ratios"]["reporting"].items()
    )
    return [at_least("trials a second that only report", 500, rate), *ratios]


def grid(num_trials: int) -> Workload:
    """Give a grid of so many trials with next to nothing to train."""
    num_seeds = min(num_trials, 1000)
    assert num_trials % num_seeds == 0, "a whole number of thousands"
    return Workload(
        name="noop",
        data={
            "name": "fake",
            "image_shape": [1, 2, 2],
            "classes": 10,
            "examples": 18,
            "val_fraction": 0.1,
        },
        models=["softmax_regression"],
        activations=["relu"],
        rates=[0.001 * (1 + number) for number in range(num_trials // num_seeds)],
        batch_sizes=[16],
        num_seeds=num_seeds,
        epochs=1,
        execution={"max_trials": num_trials},
    )


def measure(folder: Path, *, num_trials: int, num_peer: int, repeats: int) -> dict[str, Any]:
    """Run all three in turns; give trials a second of work, and ours as a ratio to the peer's."""
    workload = grid(num_trials)
    rates: dict[str, list[float]] = {label: [] for label in ("reporting", "training", *RAY_TUNE)}
    for repeat in range(repeats):
        rates["reporting"].append(reporting_rate(workload, folder / f"reporting-{repeat}"))
        ours = run_ours(
            workload,
            folder / f"training-{repeat}",
            data_root=folder / "data",
            is_mlflow_told=False,
        )
        rates["training"].append(ours.num_trials / ours.work_seconds)
        job = asdict(grid(num_peer).job(folder / "none", num_processes=num_cores()))
        for label, variables in RAY_TUNE.items():
            place = folder / f"{label}-{repeat}"
            _, result = run_job("ray_tune_noop", job, place, variables)
            rates[label].append(result["num_trials"] / result["work_seconds"])
    return {
        "num_trials": {label: num_peer if label in RAY_TUNE else num_trials for label in rates},
        "trials_per_second": {label: measured(values) for label, values in rates.items()},
        "ratios": {
            ours: {peer: ratio(rates, ours, peer) for peer in RAY_TUNE}
            for ours in ("reporting", "training")
        },
    }


def ratio(rates: Mapping[str, list[float]], ours: str, peer: str) -> Measured:
    """Give one way's rates as multiples of another's, repeat by repeat."""
    return measured([our / other for our, other in zip(rates[ours], rates[peer], strict=True)])


def reporting_rate(workload: Workload, home: Path) -> float:
    """Give the trials a second of the scheduler with workers that only report.

    Raises:
        AssertionError: Not every trial succeeded, once.
    """
    home.mkdir()
    settings = from_environment({"TRAINYARD_HOME": str(home)})
    plan = workload.plan(settings.data)
    engine = open_store(settings.database_url, create=True)
    queue, results = Queue(engine, orchestrator="bench"), Results(engine)
    queue.enter(host=socket.gethostname(), process=own_process())
    queue.submit(plan.experiment, plan.trials)
    with IdlePool(num_workers=num_cores()) as pool:
        scheduler = Scheduler(
            queue=queue, results=results, pool=pool, settings=settings, clock=time.monotonic
        )
        while any(overview.num_open for overview in results.overviews(open_only=True)):
            look_at = time.monotonic() + LOOK_SECONDS
            while time.monotonic() < look_at:
                scheduler.turn()
    engine.dispose()
    with sqlite3.connect(home / "trainyard.db") as store:
        first, last, num = store.execute(
            "SELECT min(started_at), max(finished_at), count(*) FROM trial "
            "WHERE state = 'succeeded'"
        ).fetchone()
    store.close()
    assert num == workload.num_trials, f"{num} trials succeeded of {workload.num_trials}"
    rate: float = num / (last - first)
    return rate


if __name__ == "__main__":
    main()
