"""What `doctor` asks of the store: who works on it, what went wrong of late, what is left over."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Final

from dashboards.incident_view import (
    LATELY_SECONDS,
    clock_text,
    incident_lines,
    is_alive,
    orchestrator_text,
)
from dashboards.numbers import bytes_text, duration_text
from experiments.errors import TrainyardError
from experiments.states import IncidentKind
from orchestrator.cleaning import collect
from orchestrator.measurements.results import Results
from orchestrator.queueing.outbox import Outbox
from orchestrator.settings import Settings
from orchestrator.store.database import StoreMissingError, open_store
from trainyard.findings import Check

_ADVICE: Final[Mapping[IncidentKind, str]] = {
    IncidentKind.WORKER_LOST: "if it goes on: look at the machine's memory, and at logs/ray.log",
    IncidentKind.WORKER_SILENT: "if it goes on: look whether the machine hangs, swaps or sleeps",
    IncidentKind.WORKER_BENCHED: "look at its GPU; a new `trainyard up` puts it to work again",
    IncidentKind.TRIAL_STALLED: "if an epoch takes so long, set execution.stall_timeout higher",
    IncidentKind.TRIAL_TOO_LARGE: "ask for less in `resources`, or add a larger machine",
    IncidentKind.TRIAL_QUARANTINED: "mend what kills it, then `trainyard retry TRIAL`",
    IncidentKind.EXPERIMENT_PAUSED: "see why with `trainyard trials EXPERIMENT`, then "
    "`trainyard resume EXPERIMENT`",
    IncidentKind.CLUSTER_LOST: "if it goes on: look at logs/ray.log",
    IncidentKind.ORCHESTRATOR_LOST: "if nobody killed it: did memory run out? (`dmesg`)",
    IncidentKind.STORE_UNREACHABLE: "make room where the store lies, or look at the database's log",
    IncidentKind.CHECKPOINT_NOT_WRITTEN: "make room: `trainyard gc`, or a larger disk for the home",
    IncidentKind.CHECKPOINT_REJECTED: "if it goes on, test the disk; a shared home must be seen by "
    "all machines",
}


def store_checks(settings: Settings) -> Iterator[Check]:
    """Look at the store and at what only it can tell; nothing is changed, nothing waited for."""
    try:
        engine = open_store(settings.database_url, create=False)
    except StoreMissingError:
        yield Check("store", True, f"{settings.store_name}, not made yet")
        return
    except TrainyardError as error:
        yield Check("store", False, str(error), "see TRAINYARD_DATABASE_URL")
        return
    with ExitStack() as opened:
        opened.callback(engine.dispose)
        results, now = Results(engine), time.time()
        try:
            yield Check("store", True, settings.store_name)
            yield from _orchestrators(results, now=now)
            yield _backlog(Outbox(engine), now=now)
            yield from _lately(results, now=now)
            yield _leftovers(results, settings)
        except TrainyardError as error:
            yield Check("store", False, str(error), "try again when the store is back")


def _orchestrators(results: Results, *, now: float) -> Iterator[Check]:
    rows = results.orchestrators()
    alive = [row for row in rows if is_alive(row)]
    for row in alive:
        since = f"{orchestrator_text(row)}, since {clock_text(row.started_at, now=now)}"
        yield Check("orchestrator", True, f"{since}, seen {duration_text(row.age_seconds)} ago")
    for row in rows:
        if row not in alive:
            gone = (
                f"{orchestrator_text(row)} is gone, last seen {duration_text(row.age_seconds)} ago"
            )
            mend = (
                "" if alive else "start one with `trainyard up`: it takes up the trials of that one"
            )
            yield Check("orchestrator", bool(alive), gone, mend)
    if not rows:
        yield Check("orchestrator", True, "none works on the store")


def _backlog(outbox: Outbox, *, now: float) -> Check:
    """Look at what MLflow has yet to be told."""
    backlog = outbox.backlog()
    if not backlog.num_pending:
        return Check("MLflow's backlog", True, "none")
    found = f"{backlog.num_pending:,} runs and models untold"
    if backlog.last_done_at is not None:
        found += f", the last one told {clock_text(backlog.last_done_at, now=now)}"
    if not backlog.num_failed:
        mend = "`trainyard run` and `up` tell it"
        return Check("MLflow's backlog", True, found, mend)
    found += f", {backlog.num_failed:,} of them tried in vain: {_line(backlog.last_error or '')}"
    mend = "results are safe in the store; mend MLflow, and the next `run` or `up` goes on"
    return Check("MLflow's backlog", False, found, mend)


def _lately(results: Results, *, now: float) -> Iterator[Check]:
    """Tell what went wrong within a day: it was dealt with, so it is no fault."""
    incidents = results.incidents(within_seconds=LATELY_SECONDS)
    for kind in dict.fromkeys(incident.kind for incident in incidents):
        its = [incident for incident in incidents if incident.kind is kind]
        (line,) = incident_lines(its, now=now)
        yield Check("lately", True, line, _ADVICE[kind])


def _leftovers(results: Results, settings: Settings) -> Check:
    found = collect(results, settings, dry_run=True)
    if not found.leftovers:
        return Check("leftovers", True, "none")
    size = bytes_text(found.num_bytes)
    return Check("leftovers", True, f"{size} of no more use", "`trainyard gc` removes them")


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
