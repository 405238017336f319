"""What `doctor` asks of the store: who works on it, what went wrong of late, what is left over."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Final

from dashboards.incident_view import (
    LATELY_SECONDS,
    TAKE_UP,
    clock_text,
    incident_lines,
    is_alive,
    left_text,
    orchestrator_text,
)
from dashboards.numbers import bytes_text, duration_text
from experiments.errors import StoreUnavailableError, TrainyardError
from experiments.states import IncidentKind
from orchestrator.cleaning import collect
from orchestrator.measurements.results import Results
from orchestrator.mirroring.mirror_lock import teller
from orchestrator.queueing.outbox import Outbox
from orchestrator.settings import Settings, sqlite_path
from orchestrator.store.database import StoreMissingError, open_store
from orchestrator.store.outages import mend_of, reason_of
from trainyard.findings import Check
from trainyard.workplace import num_under_way

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
    IncidentKind.STORE_UNREACHABLE: "if it goes on: make room where the store lies, or look at the "
    "system's log",
    IncidentKind.CHECKPOINT_NOT_WRITTEN: "make room: `trainyard gc`, or a larger disk for the home",
    IncidentKind.CHECKPOINT_REJECTED: "if it goes on, test the disk; a shared home must be seen by "
    "all machines",
}

_SERVER_ADVICE: Final = "if it goes on: look at the server's log, and at the room on its disk"
"""Of a store that is unreachable, where a server has it."""


def store_checks(settings: Settings) -> Iterator[Check]:
    """Look at the store and at what only it can tell; nothing is changed, nothing waited for."""
    try:
        engine = open_store(settings.database_url, create=False)
    except StoreMissingError:
        yield Check("store", True, f"{settings.store_name}, not made yet")
        return
    except TrainyardError as error:
        yield _unusable(error)
        return
    with ExitStack() as opened:
        opened.callback(engine.dispose)
        results, now = Results(engine), time.time()
        try:
            yield Check("store", True, settings.store_name)
            yield from _orchestrators(results, now=now)
            yield _backlog(Outbox(engine), now=now, by=teller(settings.database_url))
            yield from _lately(results, settings, now=now)
            yield _leftovers(results, settings)
        except TrainyardError as error:
            yield _unusable(error)


def _unusable(error: TrainyardError) -> Check:
    if not isinstance(error, StoreUnavailableError):
        return Check("store", False, str(error), "see TRAINYARD_DATABASE_URL")
    return Check("store", False, reason_of(error), mend_of(error) or "try again in a while")


def _orchestrators(results: Results, *, now: float) -> Iterator[Check]:
    rows = results.orchestrators()
    alive = [row for row in rows if is_alive(row)]
    for row in alive:
        since = f"{orchestrator_text(row)}, since {clock_text(row.started_at, now=now)}"
        yield Check("orchestrator", True, f"{since}, seen {duration_text(row.age_seconds)} ago")
    gone = [row for row in rows if row not in alive]
    num_left = num_under_way(results) if gone else {}
    for row in gone:
        num = num_left.get(row.id, 0)
        seen = f"last seen {duration_text(row.age_seconds)} ago"
        found = f"{orchestrator_text(row)} is gone; {left_text(num)} ({seen})"
        is_fault = num > 0 and not alive
        yield Check("orchestrator", not is_fault, found, TAKE_UP if is_fault else "")
    if not rows:
        yield Check("orchestrator", True, "none works on the store")


def _backlog(outbox: Outbox, *, now: float, by: int | None) -> Check:
    """Look at what MLflow has yet to be told; `by` is the process that tells it now."""
    backlog = outbox.backlog()
    if not backlog.num_pending:
        return Check("MLflow's backlog", True, "none")
    waits = "note waits" if backlog.num_pending == 1 else "notes wait"
    found = f"{backlog.num_pending:,} {waits} to be told"
    if backlog.last_done_at is not None:
        found += f", the last one told {clock_text(backlog.last_done_at, now=now)}"
    if not backlog.num_failed:
        mend = f"process {by} tells it" if by else "`trainyard run`, `up` and `mlflow` tell it"
        return Check("MLflow's backlog", True, found, mend)
    found += f", {backlog.num_failed:,} of them tried in vain: {_line(backlog.last_error or '')}"
    mend = (
        "results are safe in the store; mend MLflow, and the next `run`, `up` or `mlflow` goes on"
    )
    return Check("MLflow's backlog", False, found, mend)


def _lately(results: Results, settings: Settings, *, now: float) -> Iterator[Check]:
    """Tell what went wrong within a day: it was dealt with, so it is no fault."""
    incidents = results.incidents(within_seconds=LATELY_SECONDS)
    is_served = sqlite_path(settings.database_url) is None
    advice = {**_ADVICE, IncidentKind.STORE_UNREACHABLE: _SERVER_ADVICE} if is_served else _ADVICE
    for kind in dict.fromkeys(incident.kind for incident in incidents):
        its = [incident for incident in incidents if incident.kind is kind]
        (line,) = incident_lines(its, now=now)
        yield Check("lately", True, line, advice[kind])


def _leftovers(results: Results, settings: Settings) -> Check:
    found = collect(results, settings, dry_run=True)
    if not found.leftovers:
        return Check("leftovers", True, "none")
    size = bytes_text(found.num_bytes)
    return Check("leftovers", True, f"{size} of no more use", "`trainyard gc` removes them")


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
