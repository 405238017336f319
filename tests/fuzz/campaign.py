"""Thousands of mutated specs: each must end in a plan or in a spec error, and soon.

    python -m tests.fuzz.campaign --count 20000 --seed 1
    python -m tests.fuzz.campaign --seed 1 --only 4711      shows and tries one mutant

A mutant follows from the seed and its number alone.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Final

from experiments.errors import SpecError
from experiments.language.printable import printable
from experiments.planning.plan import make_plan
from experiments.spec import read_spec
from tests.fuzz.installation import KNOWLEDGE
from tests.fuzz.mutations import Mutant, Mutator

RECIPES: Final = Path(__file__).resolve().parents[2] / "experiments" / "recipes"
SECONDS: Final = 1.0
"""The longest that one spec may take, in seconds of the processor..."""
SECONDS_PER_TRIAL: Final = 3e-4
"""... and for each trial that it plans: a grid of 10,000 may take 3 s more."""
_CHUNK: Final = 50
_NUM_SLOWEST: Final = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one mutant ended: "plan", "spec error", or the exception that nobody may raise."""

    number: int
    ending: str
    seconds: float
    num_trials: int

    @property
    def is_fault(self) -> bool:
        """Say whether the mutant found a fault of trainyard's (slowness aside)."""
        return self.ending not in ("plan", "spec error")

    @property
    def is_late(self) -> bool:
        """Say whether the mutant took longer than it may."""
        return self.seconds > SECONDS + SECONDS_PER_TRIAL * self.num_trials


def attempt(number: int, *, seed: int) -> Outcome:
    """Read and plan one mutant."""
    spec = mutant(number, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.yaml"
        if isinstance(spec, bytes):
            path.write_bytes(spec)
        started = time.process_time()
        ending, trials = _plan(spec if isinstance(spec, dict) else path, Path(folder) / "data")
        return Outcome(number, ending, time.process_time() - started, trials)


def mutant(number: int, *, seed: int) -> Mutant:
    """Give a mutant by its number."""
    return _mutator().mutant(Random(f"{seed} {number}"))


def campaign(numbers: Sequence[int], *, seed: int, processes: int = 1) -> Iterator[Outcome]:
    """Try many mutants, in order."""
    one = partial(attempt, seed=seed)
    if processes == 1:
        yield from map(one, numbers)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(one, numbers, chunksize=_CHUNK)


def _plan(spec: dict[str, object] | Path, data_root: Path) -> tuple[str, int]:
    """Give how it ended, and the number of trials."""
    try:
        plan = make_plan(read_spec(spec), data_root=data_root, knowledge=KNOWLEDGE)
    except SpecError as error:
        readable = all(_is_readable(line) for line in str(error).split("\n"))
        return "spec error" if readable else f"a report nobody can read: {error}", 0
    except Exception as error:
        return f"{type(error).__name__}: {error}", 0
    return "plan", len(plan.trials)


def _is_readable(line: str) -> bool:
    return line == printable(line) and len(line) < 5000


@cache
def _mutator() -> Mutator:
    from tests.fuzz.corpus import SPECS

    recipes = [path.read_text() for path in sorted(RECIPES.glob("*.yaml"))]
    return Mutator([*recipes, *SPECS])


def _show(number: int, *, seed: int) -> None:
    spec = mutant(number, seed=seed)
    print(spec.decode(errors="replace") if isinstance(spec, bytes) else spec)
    outcome = attempt(number, seed=seed)
    print(f"\nmutant {number} of seed {seed}: {outcome.ending} in {outcome.seconds:.2f} s")


def main() -> int:
    """Run the campaign, report, and give the exit code."""
    parser = argparse.ArgumentParser(description="Plan mutated specs.")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="show and try this mutant alone")
    given = parser.parse_args()
    if given.only is not None:
        _show(given.only, seed=given.seed)
        return 0
    print(f"{given.count} mutants of seed {given.seed}", flush=True)
    processes = len(os.sched_getaffinity(0))
    outcomes = list(campaign(range(given.count), seed=given.seed, processes=processes))
    return _report(outcomes)


def _report(outcomes: Sequence[Outcome]) -> int:
    faults = [outcome for outcome in outcomes if outcome.is_fault]
    late = [outcome for outcome in outcomes if outcome.is_late]
    counts = Counter("fault" if outcome.is_fault else outcome.ending for outcome in outcomes)
    print(", ".join(f"{count} {ending}" for ending, count in counts.most_common()))
    print(f"{sum(outcome.seconds for outcome in outcomes):.0f} s of the processor; the slowest:")
    for outcome in sorted(outcomes, key=lambda o: -o.seconds)[:_NUM_SLOWEST]:
        print(f"  mutant {outcome.number}: {outcome.seconds:.2f} s, {outcome.ending[:60]}")
    for outcome in faults:
        print(f"FAULT  mutant {outcome.number}: {outcome.ending[:300]}")
    for outcome in late:
        print(f"LATE   mutant {outcome.number}: {outcome.seconds:.2f} s, {outcome.ending[:60]}")
    return 1 if faults or late else 0


if __name__ == "__main__":
    sys.exit(main())
