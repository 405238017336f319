"""Short real trials under random kills: the results must be those of a run in peace.

    python -m tests.chaos.campaign                         500 trials, on both databases
    python -m tests.chaos.campaign --trials 40 --database sqlite --seed 7
    python -m tests.chaos.campaign --quick                 a minute; no figures are kept

Workers are killed every 1-4 s, the orchestrator every 20-40 s (and started again at once),
PostgreSQL every 15 s. What is killed when follows from the seed; where that hits, does not.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.record import write
from orchestrator.measurements.results import Results
from orchestrator.store.database import open_store
from tests.chaos.monkey import ORCHESTRATOR, SERVER, WORKER, Log, Monkey, Plan
from tests.chaos.site import Orchestrator, Site, new_site, seconds_until_gone
from tests.chaos.verdict import Verdict, judge
from tests.postgres import PostgresServer, new_server

DATABASES: Final = ("sqlite", "postgresql")
NUM_QUICK: Final = 20

LONG: Final = Plan({WORKER: (1.0, 4.0), ORCHESTRATOR: (20.0, 40.0), SERVER: (15.0, 15.0)})
QUICK: Final = Plan(
    {WORKER: (0.2, 1.0), ORCHESTRATOR: (1.0, 1.0)},
    most={ORCHESTRATOR: 1, WORKER: 3},
    only_busy=True,
)

_AT_MOST_SECONDS: Final = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Peace:
    """What an undisturbed run gave."""

    digest: str
    seconds: float


def run_in_peace(folder: Path, *, num_trials: int) -> Peace:
    """Work on the trials without a disturbance."""
    site = new_site(folder, num_trials=num_trials, has_mlflow=False)
    site.trainyard("submit", str(site.spec))
    started = time.monotonic()
    site.trainyard("up", "--until-idle", timeout_seconds=_AT_MOST_SECONDS)
    seconds = time.monotonic() - started
    with results_of(site) as results:
        (experiment,) = results.experiments()
        assert all(row.state == "succeeded" for row in results.trials(experiment.id))
        return Peace(results.digest(experiment.id), seconds)


def run_in_chaos(
    folder: Path,
    *,
    num_trials: int,
    peace: Peace,
    plan: Plan,
    seed: int,
    server: PostgresServer | None = None,
    has_mlflow: bool = True,
) -> tuple[Verdict, Log]:
    """Work on the same trials while a monkey kills, and judge what came of it."""
    url = None if server is None else server.create_database("chaos")
    site = new_site(folder, num_trials=num_trials, has_mlflow=has_mlflow, database_url=url)
    site.trainyard("submit", str(site.spec))
    engine = open_store(site.settings.database_url, create=False)
    orchestrator = Orchestrator(site, folder / "up.log")
    if server is None:
        plan = replace(plan, every={k: v for k, v in plan.every.items() if k != SERVER})
    monkey = Monkey(site, orchestrator, engine, plan=plan, random=Random(seed), server=server)
    started = time.monotonic()
    try:
        log = monkey.disturb(at_most_seconds=_AT_MOST_SECONDS)
        seconds = time.monotonic() - started
        gone = seconds_until_gone(site.processes(), at_most=15.0)
        left = site.processes()
        if has_mlflow:  # once more, in peace: it is told of all that it was not told before
            site.trainyard("up", "--until-idle", "--wait-for-mlflow")
        (experiment,) = Results(engine).experiments()
        verdict = judge(
            engine,
            site.settings,
            experiment.id,
            log=log,
            digest=peace.digest,
            num_trials=num_trials,
            seconds=seconds,
            left_alive=0 if gone is not None else len(left),
            has_mlflow=has_mlflow,
        )
        return verdict, log
    finally:
        orchestrator.kill()
        for process in site.processes():
            process.kill()
        engine.dispose()


@contextmanager
def results_of(site: Site) -> Generator[Results]:
    """Open the store of a site for reading."""
    engine = open_store(site.settings.database_url, create=False)
    try:
        yield Results(engine)
    finally:
        engine.dispose()


def main() -> int:
    """Run, print and (unless it was a quick run) keep the figures; 1 if anything is amiss."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--database", choices=[*DATABASES, "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave homes and logs where they are")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    num_trials = NUM_QUICK if asked.quick else asked.trials
    databases = DATABASES if asked.database == "both" else (asked.database,)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"{num_trials} trials, seed {asked.seed}, in {folder}", flush=True)
    peace = run_in_peace(folder / "peace", num_trials=num_trials)
    print(f"in peace: {peace.seconds:.0f} s, digest {peace.digest[:16]}", flush=True)
    faults: list[str] = []
    for database in databases:
        with new_server(durable=True) if database == "postgresql" else nullcontext() as server:
            verdict, _ = run_in_chaos(
                folder / database,
                num_trials=num_trials,
                peace=peace,
                plan=QUICK if asked.quick else LONG,
                seed=asked.seed,
                server=server,
                has_mlflow=not asked.quick,
            )
        faults += [f"{database}: {fault}" for fault in verdict.faults]
        print_table(database, verdict.figures)
        if not asked.quick:
            told = {"seed": asked.seed, "faults": verdict.faults}
            told |= {"seconds_in_peace": round(peace.seconds, 1)}
            write(f"chaos_{database}", told | verdict.figures)
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    if faults or asked.keep:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if faults else 0


def print_table(title: str, figures: dict[str, Any]) -> None:
    """Print figures, one a line."""
    print(f"\n{title}")
    for name, value in figures.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        print(f"  {name.replace('_', ' '):58} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
