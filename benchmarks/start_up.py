"""How long trainyard takes to answer, and to train its first step: `make bench BENCH=start_up`.

Each verb, and a whole `run` of two small trials, is started several times in a process of
its own and a home of its own; the median and the extremes are printed as JSON and kept in
`benchmarks/results/start_up.json` with the hardware and the versions.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.record import Measured, measured, write

COMMAND: Final = str(Path(sys.executable).with_name("trainyard"))
REPEATS: Final = 5

FORTY_EIGHT: Final = """
name: forty-eight
parameters: {model: [mlp, softmax_regression, vgg11, resnet18], lr: [0.1, 0.01], epochs: [1, 2]}
seeds: 3
"""
TWO: Final = """
name: two
data: {name: digits, limit: 300}
defaults: {epochs: 1}
parameters: {model: mlp, lr: [0.1, 0.2]}
"""


def main() -> None:
    """Measure, print and keep."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "48.yaml").write_text(FORTY_EIGHT)
        (folder / "2.yaml").write_text(TWO)
        verbs = {
            "--help": ["--help"],
            "plan of 48 trials": ["plan", str(folder / "48.yaml")],
            "submit of 48 trials": ["submit", str(folder / "48.yaml")],
            "status": ["status"],
            "trials": ["trials", "forty-eight"],
        }
        seconds = {}
        for label, arguments in verbs.items():
            seconds[label] = repeat(_answering(arguments, folder / "home"))
        seconds["run: command to first trial training"] = repeat(
            lambda: first_trial_seconds(folder / "2.yaml")
        )
    write("start_up", {"seconds": seconds})


def repeat(measure: Callable[[], float]) -> Measured:
    """Measure several times."""
    return measured([measure() for _ in range(REPEATS)])


def _answering(arguments: Sequence[str], home: Path) -> Callable[[], float]:
    return lambda: answer_seconds(arguments, home)


def answer_seconds(arguments: Sequence[str], home: Path) -> float:
    """Time a command from its start to its end."""
    started = time.perf_counter()
    _run(arguments, home)
    return time.perf_counter() - started


def first_trial_seconds(spec: Path) -> float:
    """Time a `run` in a new home from the command to the moment its first trial was claimed.

    A trial is claimed by a worker that has started and loaded the engine.
    """
    with tempfile.TemporaryDirectory() as home:
        started = time.time()
        _run(["run", str(spec)], Path(home))
        with sqlite3.connect(Path(home, "trainyard.db")) as store:
            (first,) = store.execute("SELECT min(started_at) FROM attempt").fetchone()
    return float(first) - started


def _run(arguments: Sequence[str], home: Path) -> None:
    subprocess.run(
        [COMMAND, *arguments],
        env=os.environ | {"TRAINYARD_HOME": str(home)},
        check=True,
        capture_output=True,
    )


if __name__ == "__main__":
    main()
