"""The queue at 1,000, 10,000 and 100,000 trials: `make bench BENCH=queue`.

At each size: `trainyard submit` of a grid of so many trials, claims of 64 at a time with the
endings of what was claimed, and `trainyard status`; on SQLite and on PostgreSQL, both durable.
SIZES="1000 10000" for less.
"""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.contest import COMMAND, timed
from benchmarks.record import Goal, Measured, at_most, measured, write
from benchmarks.stores import on_each_database, variables
from benchmarks.workloads import Workload
from experiments.events import TrialSucceeded
from experiments.records import Resources
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.outcomes import Success
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store

SIZES: Final = (1_000, 10_000, 100_000)
NUM_AT_ONCE: Final = 64
MOST_CLAIMS: Final = 15
REPEATS: Final = 5
ONE_CORE: Final = Resources(cpus=1, gpus=0.0)


def main() -> None:
    """Measure, print and keep."""
    sizes = [int(size) for size in os.environ.get("SIZES", "").split()] or SIZES
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        found = {str(size): on_each_database(partial(measure, size), folder) for size in sizes}
    write("queue", {"sizes": found, "goals": goals(found)})


def goals(found: dict[str, Any]) -> list[Goal]:
    """Hold the largest size's figures to what was wanted; of claims, to the smallest size's."""
    small, large = min(found, key=int), max(found, key=int)
    told = []
    for label, each in found[large].items():
        if "submit_seconds" not in each:
            continue
        claim = each["claim_ms"]["median"] / found[small][label]["claim_ms"]["median"]
        told += [
            at_most(f"seconds to submit {large} trials, {label}", 20.0, each["submit_seconds"]),
            at_most(f"claim of 64 at {large}, times {small}, {label}", 1.5, round(claim, 3)),
            at_most(
                f"seconds of `status` at {large}, {label}", 1.2, each["status_seconds"]["median"]
            ),
        ]
    return told


def grid(num_trials: int) -> Workload:
    """Give a grid of so many trials, a thousand seeds of each variant."""
    num_seeds = min(num_trials, 1000)
    return Workload(
        name=f"queue-{num_trials}",
        data={"name": "digits"},
        models=["softmax_regression"],
        activations=["relu"],
        rates=[0.001 * (1 + number) for number in range(num_trials // num_seeds)],
        batch_sizes=[64],
        num_seeds=num_seeds,
        epochs=1,
        execution={"max_trials": num_trials},
    )


def measure(num_trials: int, url: str, home: Path, *, repeats: int = REPEATS) -> dict[str, Any]:
    """Submit a grid, claim and finish some of it, and ask for the status."""
    spec = home / "spec.yaml"
    spec.write_text(json.dumps(grid(num_trials).spec()), encoding="utf-8")  # JSON is YAML
    environment = variables(url, home)
    submit_seconds = timed([COMMAND, "submit", str(spec)], environment)
    claims, endings = claim_and_finish(url, num_trials)
    status = [timed([COMMAND, "status"], environment) for _ in range(repeats)]
    return {
        "submit_seconds": round(submit_seconds, 3),
        "claim_ms": claims,
        "finish_64_ms": endings,
        "status_seconds": measured(status),
    }


def claim_and_finish(url: str, num_trials: int) -> tuple[Measured, Measured]:
    """Claim 64 trials, in packs as a worker gets them, and end all well; give milliseconds."""
    engine = open_store(url, create=False)
    queue = Queue(engine)
    claiming: list[float] = []
    finishing: list[float] = []
    for _ in range(min(MOST_CLAIMS, num_trials // NUM_AT_ONCE)):
        started = time.perf_counter()
        claims: list[Claim] = []
        while len(claims) < NUM_AT_ONCE:
            left = NUM_AT_ONCE - len(claims)
            pack = queue.claim(worker="bench", limit=left, lease_seconds=600.0, resources=ONE_CORE)
            assert pack, "nothing was claimed"
            claims += pack
        claimed = time.perf_counter()
        results = [
            Success(each.lease, success_of(each.lease.trial_id), machine=None) for each in claims
        ]
        assert all(queue.succeed_all(results))
        claiming.append(1000 * (claimed - started))
        finishing.append(1000 * (time.perf_counter() - claimed))
    engine.dispose()
    return _but_first(claiming), _but_first(finishing)


def _but_first(values: Sequence[float]) -> Measured:
    """Leave out the first, in which connections are opened and statements compiled."""
    return measured(values[1:] or values)


def success_of(trial_id: str) -> TrialSucceeded:
    """Give a result such as a small trial has."""
    metrics = {"val/accuracy": 0.9, "val/loss": 0.1, "test/accuracy": 0.9, "test/loss": 0.1}
    return TrialSucceeded(trial_id, metrics, selected_epoch=1, duration_seconds=0.1)


if __name__ == "__main__":
    main()
