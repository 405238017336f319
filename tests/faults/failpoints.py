"""A job that dies at its n-th durable write, is done again, and must give what it always gives.

    python -m tests.faults.failpoints FOLDER sqlite:///{home}/store.db --every 1

The job submits two small trials and works them off: real scheduler, queue and engine, one
worker in the same process. Each death happens in a forked child, so that torch is loaded once,
and in a store and a home of its own: `{n}` and `{home}` in the store's URL become the point's.
Prints JSON, a line a point.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from sqlalchemy import create_engine, make_url

from experiments.events import Event
from experiments.planning.plan import Plan, make_plan
from experiments.spec import read_spec
from experiments.states import AttemptState, TrialState
from orchestrator.cleaning import collect, remove_unrecorded
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.settings import Settings, from_environment
from orchestrator.store.database import open_store
from tests.faults.stepwise_pool import StepwisePool
from trainyard.knowledge import Installation
from workers.failpoint import VARIABLE
from workers.staging import prepare

_SPEC: Final = """
name: failpoints
data: {name: digits, limit: 200}
defaults: {epochs: 2, batch_size: 50, lr: 0.05}
parameters: {model: [{name: mlp, hidden: [8]}], optimizer: [sgd, adam]}
execution: {strategy: plain}
checkpoints: {every_epochs: 1}
"""


SQLITE: Final = "sqlite:///{home}/trainyard.db"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the job gave after dying at point `n`; `died` is false once it passes fewer points."""

    n: int
    died: bool
    digest: str
    states: tuple[str, ...]
    num_successes: tuple[int, ...]
    num_attempts: int
    left_on_disk: tuple[str, ...]


def work(
    plan: Plan, settings: Settings, *, on_event: Callable[[Event], None] = lambda _: None
) -> None:
    """Do the whole job, whatever of it was done before; as an orchestrator would."""
    settings.create_home()
    engine = open_store(settings.database_url, create=True)
    queue, results = Queue(engine, orchestrator=secrets.token_hex(4)), Results(engine)
    queue.enter(host="here", process=f"{os.getpid()}:0")
    queue.take_back(alone=True, host="here", is_running=lambda _: False)
    queue.submit(plan.experiment, plan.trials, class_names=plan.data.class_names)
    scheduler = Scheduler(
        queue=queue,
        results=results,
        pool=StepwisePool(settings.data, on_event=on_event),
        settings=settings,
        clock=time.monotonic,
        tidy=lambda trial_ids: remove_unrecorded(results, settings, trial_ids),
    )
    while any(overview.num_open for overview in results.overviews()) or scheduler.is_working:
        scheduler.turn(wait_seconds=0)
    scheduler.shut_down(grace_seconds=0)
    queue.leave()
    engine.dispose()


def planned(spec: str, settings: Settings) -> Plan:
    """Plan a spec, and prepare its data."""
    with Installation(settings) as knowledge:
        plan = make_plan(read_spec(spec), data_root=settings.data, knowledge=knowledge)
    prepare(plan.trials[0].config.data, root=settings.data)
    return plan


def die_at(n: int, plan: Plan, settings: Settings) -> Outcome:
    """Do the job in a process that dies at its n-th point, then once more, to its end.

    What is left of a trial whose success was the last thing written is for `trainyard gc`.
    """
    died = _forked(plan, settings, failpoint=n) == -signal.SIGKILL
    if died:
        assert _forked(plan, settings) == 0, f"after dying at point {n} the job cannot be done"
    engine = open_store(settings.database_url, create=False)
    results = Results(engine)
    rows = results.trials(plan.experiment.id)
    attempts = [results.attempts(row.id) for row in rows]
    recorded = {Path(saved.path) for row in rows for saved in results.checkpoints(row.id)}
    collect(results, settings, dry_run=False)
    on_disk = {path for path in settings.checkpoints.rglob("*") if path.is_file()}
    outcome = Outcome(
        n=n,
        died=died,
        digest=results.digest(plan.experiment.id),
        states=tuple(row.state for row in rows),
        num_successes=tuple(
            sum(each.state == AttemptState.SUCCEEDED for each in its) for its in attempts
        ),
        num_attempts=sum(map(len, attempts)),
        left_on_disk=tuple(sorted(path.name for path in on_disk - recorded)),
    )
    assert recorded <= on_disk, f"point {n}: {recorded - on_disk} are on record, not on disk"
    engine.dispose()
    return outcome


def _forked(plan: Plan, settings: Settings, *, failpoint: int | None = None) -> int:
    """Do the job in a child; give its exit code, or minus the signal that ended it."""

    def job() -> None:
        if failpoint is not None:
            os.environ[VARIABLE] = str(failpoint)
        work(plan, settings)

    return in_a_child(job)


def in_a_child(job: Callable[[], None]) -> int:
    """Do something in a forked process; give its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            job()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def walk(folder: Path, url: str, *, every: int) -> list[Outcome]:
    """Die at point 1, 1 + every, ... until none is left; the last outcome is undisturbed."""
    torch.set_num_threads(1)
    data = folder / "data"
    outcomes: list[Outcome] = []
    n = 1
    while not outcomes or outcomes[-1].died:
        home = folder / f"home-{n}"
        environ = {
            "TRAINYARD_HOME": str(home),
            "TRAINYARD_DATA": str(data),
            "TRAINYARD_DATABASE_URL": url.format(n=n, home=home),
        }
        settings = from_environment(environ)
        if settings.database_url.startswith("postgresql"):
            _create_database(settings.database_url)
        plan = planned(_SPEC, settings)
        outcomes.append(die_at(n, plan, settings))
        shutil.rmtree(home)
        n += every
    return outcomes


def _create_database(url: str) -> None:
    name = make_url(url).database
    server = create_engine(make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    server.dispose()


def faults(outcomes: list[Outcome]) -> list[str]:
    """Say in words how an outcome differs from the undisturbed one."""
    undisturbed = outcomes[-1]
    found = []
    for each in outcomes:
        wrong: dict[str, Any] = {
            "digest": each.digest != undisturbed.digest,
            "states": set(each.states) != {TrialState.SUCCEEDED},
            "successes": set(each.num_successes) != {1},
            "files": bool(each.left_on_disk),
        }
        found += [f"point {each.n}: {name}: {each}" for name, is_wrong in wrong.items() if is_wrong]
    return found


def main() -> int:
    """Walk, and print what came of each point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    outcomes = walk(asked.folder, asked.url, every=asked.every)
    for outcome in outcomes:
        print(json.dumps(asdict(outcome)))
    found = faults(outcomes)
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
