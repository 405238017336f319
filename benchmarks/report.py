"""A report of 500 trials with their curves: `make bench BENCH=report`.

`trainyard run` trains them for real (about two minutes), `trainyard report` is timed from the
outside several times, and the page is opened in a real browser. TRIALS=100 REPEATS=1 for less.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

import trainyard
from benchmarks.contest import COMMAND, end_telling, timed
from benchmarks.record import Goal, at_most, measured, write
from benchmarks.stores import settings_of, variables
from benchmarks.workloads import Workload
from tests.browser import launched, offline_tab

GRID: Final = Workload(
    name="report",
    data={"name": "digits"},
    models=["small"],
    activations=["relu", "tanh"],
    rates=[0.003, 0.01, 0.02, 0.05, 0.1],
    batch_sizes=[32, 64],
    num_seeds=25,
    epochs=10,
)


def main() -> None:
    """Measure, print and keep."""
    num_seeds = int(os.environ.get("TRIALS", "500")) // (GRID.num_trials // GRID.num_seeds)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        workload, repeats = replace(GRID, num_seeds=num_seeds), int(os.environ.get("REPEATS", "3"))
        found = measure(workload, Path(name), repeats=repeats)
    write("report", {**found, "goals": goals(found)})


def goals(found: dict[str, Any]) -> list[Goal]:
    """Hold the figures to what was wanted."""
    num = found["trials"]
    return [
        at_most(f"seconds to a report of {num} trials", 15.0, found["seconds"]["median"]),
        at_most("megabytes of its page", 10.0, found["megabytes"]),
        at_most("requests of its page", 0, found["requests"]),
        at_most("messages on its console", 0, found["messages"]),
    ]


def measure(workload: Workload, folder: Path, *, repeats: int) -> dict[str, Any]:
    """Train a grid in a home of its own, and write its report several times."""
    home, spec = folder / "home", folder / "spec.yaml"
    url = f"sqlite:///{home}/trainyard.db"
    spec.write_text(yaml.safe_dump(workload.spec()), encoding="utf-8")
    timed([COMMAND, "run", str(spec)], variables(url, home))
    end_telling(home)
    with settings_of(url, home):
        num_points = len(trainyard.curves(workload.name))
        states = trainyard.trials(workload.name)["state"].value_counts().to_dict()
    ask = [COMMAND, "report", workload.name, "--no-mlflow", "--out", str(folder / "report")]
    seconds = [timed(ask, variables(url, home)) for _ in range(repeats)]
    page = folder / "report" / "report.html"
    with launched() as browser, offline_tab(browser, page) as (_, asked, said):
        pass
    return {
        "trials": workload.num_trials,
        "states": states,
        "points": num_points,
        "seconds": measured(seconds),
        "megabytes": round(page.stat().st_size / 1e6, 2),
        "requests": len(asked),
        "messages": len(said),
    }


if __name__ == "__main__":
    main()
