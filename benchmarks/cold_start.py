"""How long trainyard takes to answer, and to train its first step: `make bench BENCH=cold_start`.

Each light verb, and a whole `run` of two small trials, is started several times in a process of
its own and a home of its own. REPEATS=3 for less.
"""

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.contest import COMMAND, timed, until_told
from benchmarks.record import Goal, Measured, at_most, measured, write

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

VERBS: Final[Mapping[str, Sequence[str]]] = {
    "--help": ["--help"],
    "recipes": ["recipes"],
    "init": ["init", "quickstart", "--to", "quickstart.yaml", "--force"],
    "plan of 48 trials": ["plan", "48.yaml"],
    "submit of 48 trials": ["submit", "48.yaml"],
    "schema": ["schema"],
    "status": ["status"],
    "trials": ["trials", "forty-eight"],
    "pause": ["pause", "forty-eight"],
    "resume": ["resume", "forty-eight"],
    "cancel": ["cancel", "forty-eight"],
    "retry": ["retry", "forty-eight"],
    "tasks": ["tasks"],
    "models": ["models"],
    "datasets": ["datasets"],
    "losses": ["losses"],
    "activations": ["activations"],
    "optimizers": ["optimizers"],
}
"""What answers at once, in an order in which each finds what it needs."""

TRAINED: Final[Mapping[str, Sequence[str]]] = {
    "leaderboard": ["leaderboard", "two"],
    "curves": ["curves", "two"],
    "show": ["show", "TRIAL"],
}
"""What needs trials that were trained; `TRIAL` stands for the id of one."""


def main() -> None:
    """Measure, print and keep."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        seconds = measure(Path(name), repeats=int(os.environ.get("REPEATS", "5")))
    write("cold_start", {"seconds": seconds, "goals": goals(seconds)})


def goals(seconds: Mapping[str, Measured]) -> list[Goal]:
    """Hold the slowest verb to what the design asks of light ones."""
    slowest = max((label for label in seconds if "run:" not in label), key=_median_of(seconds))
    what = f"seconds of the slowest light verb, `{slowest}`"
    return [at_most(what, 1.2, seconds[slowest]["median"])]


def _median_of(seconds: Mapping[str, Measured]) -> Callable[[str], float]:
    return lambda label: seconds[label]["median"]


def measure(folder: Path, *, repeats: int) -> dict[str, Measured]:
    """Time every verb, and `run` up to its first trial and its first step."""
    (folder / "2.yaml").write_text(TWO)
    seconds = verb_seconds(VERBS, folder, home=folder / "home", repeats=repeats)
    homes = [folder / f"run-{number}" for number in range(repeats)]
    starts = [start_seconds(folder / "2.yaml", home) for home in homes]
    seconds |= verb_seconds(TRAINED, folder, home=homes[0], repeats=repeats)
    seconds["run: command to first trial"] = measured([claimed for claimed, _ in starts])
    seconds["run: command to first training step"] = measured([step for _, step in starts])
    return seconds


def verb_seconds(
    verbs: Mapping[str, Sequence[str]], folder: Path, *, home: Path, repeats: int
) -> dict[str, Measured]:
    """Time verbs in their order, one round after the other: `resume` undoes `pause`."""
    (folder / "48.yaml").write_text(FORTY_EIGHT)
    seconds: dict[str, list[float]] = {label: [] for label in verbs}
    for _ in range(repeats):
        for label, arguments in verbs.items():
            words = [trained_trial(home) if word == "TRIAL" else word for word in arguments]
            seconds[label].append(answer_seconds(words, home, folder))
    return {label: measured(times) for label, times in seconds.items()}


def answer_seconds(arguments: Sequence[str], home: Path, folder: Path) -> float:
    """Time a command from its start to its end; files among its arguments lie in the folder."""
    paths = [str(folder / word) if word.endswith(".yaml") else word for word in arguments]
    return timed([COMMAND, *paths], {"TRAINYARD_HOME": str(home)})


def start_seconds(spec: Path, home: Path) -> tuple[float, float]:
    """Run two trials in a new home; give the seconds to the first one's claim and first step.

    A trial is claimed by a worker that has started and loaded the engine; the time of a step
    is the moment before it.
    """
    started = time.time()
    timed([COMMAND, "run", str(spec)], {"TRAINYARD_HOME": str(home)})
    until_told(home)
    with sqlite3.connect(home / "trainyard.db") as store:
        (claimed,) = store.execute("SELECT min(started_at) FROM trial").fetchone()
        (step,) = store.execute(
            "SELECT min(timestamp_ms) FROM metric WHERE metric = 'train/batch_loss'"
        ).fetchone()
    store.close()
    return claimed - started, step / 1000 - started


def trained_trial(home: Path) -> str:
    """Give the id of a trial that was trained in a home."""
    with sqlite3.connect(home / "trainyard.db") as store:
        (trial,) = store.execute("SELECT min(id) FROM trial").fetchone()
    store.close()
    return str(trial)


if __name__ == "__main__":
    main()
