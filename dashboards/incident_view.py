"""What happened around the trials lately and what was done about it, and who works on them."""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dashboards.numbers import duration_text
from experiments.language.printable import printable
from experiments.states import IncidentKind
from orchestrator.instance import GONE_SECONDS, is_running, place_on
from orchestrator.store.rows import IncidentRow, OrchestratorRow

LATELY_SECONDS: Final = 86_400.0
"""How far back what happened is told."""

TAKE_UP: Final = "`trainyard up --until-idle` takes them up"
"""What to do about trials that nobody has any more."""

_LONGEST_MESSAGE: Final = 500

_WORDS: Final[Mapping[IncidentKind, tuple[str, str]]] = {
    IncidentKind.WORKER_LOST: ("worker lost", "workers lost"),
    IncidentKind.WORKER_SILENT: ("worker fell silent", "workers fell silent"),
    IncidentKind.WORKER_BENCHED: ("worker taken out of service", "workers taken out of service"),
    IncidentKind.TRIAL_STALLED: ("trial stalled", "trials stalled"),
    IncidentKind.TRIAL_TOO_LARGE: ("trial too large", "trials too large"),
    IncidentKind.TRIAL_QUARANTINED: ("trial set aside", "trials set aside"),
    IncidentKind.EXPERIMENT_PAUSED: ("experiment paused", "experiments paused"),
    IncidentKind.CLUSTER_LOST: ("loss of Ray", "losses of Ray"),
    IncidentKind.ORCHESTRATOR_LOST: ("orchestrator lost", "orchestrators lost"),
    IncidentKind.STORE_UNREACHABLE: ("outage of the store", "outages of the store"),
    IncidentKind.CHECKPOINT_NOT_WRITTEN: ("checkpoint not written", "checkpoints not written"),
    IncidentKind.CHECKPOINT_REJECTED: ("checkpoint rejected", "checkpoints rejected"),
}


def incident_lines(incidents: Sequence[IncidentRow], *, now: float) -> Iterator[str]:
    """Tell what happened, each kind in a line: how often, when last, and what was done then.

    `incidents` are the newest first; the kind that happened last comes first, too.
    """
    kinds: dict[IncidentKind, list[IncidentRow]] = {}
    for incident in incidents:
        kinds.setdefault(incident.kind, []).append(incident)
    for kind, its in kinds.items():
        one, many = _WORDS[kind]
        when = clock_text(its[0].at, now=now)
        what = f"1 {one}, {when}" if len(its) == 1 else f"{len(its):,} {many}, last {when}"
        yield f"{what}: {message_text(its[0].message)}"


def orchestrator_lines(
    orchestrators: Sequence[OrchestratorRow],
    *,
    num_queued: int,
    num_left: Mapping[str, int],
    now: float,
) -> Iterator[str]:
    """Tell who works on the store, and what to do where trials wait and nobody does.

    `num_left` counts the trials under way by the id of their orchestrator.
    """
    alive = [row for row in orchestrators if is_alive(row)]
    for row in orchestrators:
        where = f"{orchestrator_text(row)}, since {clock_text(row.started_at, now=now)}"
        if row in alive:
            yield f"An orchestrator works on this store: {where}."
        else:
            left = left_text(num_left.get(row.id, 0))
            mend = f"; {TAKE_UP}" if num_left.get(row.id) and not alive else ""
            yield (
                f"An orchestrator is gone: {where}, not heard of for "
                f"{duration_text(row.age_seconds)}; {left}{mend}."
            )
    if num_queued and not alive:
        yield "No orchestrator is working on this store: start one with trainyard up."


def left_text(num_trials: int) -> str:
    """Say what an orchestrator that is gone had not ended."""
    noun = "trial" if num_trials == 1 else "trials"
    return (
        f"it left {num_trials:,} {noun} under way" if num_trials else "it left no trial under way"
    )


def is_alive(row: OrchestratorRow) -> bool:
    """Say whether an orchestrator is there, as far as can be known from here."""
    return row.age_seconds < GONE_SECONDS and (not _is_near(row) or is_running(row.process))


def orchestrator_text(row: OrchestratorRow) -> str:
    """Name an orchestrator's process, and its machine where that is another one."""
    process = f"process {row.process.partition(':')[0]}"
    return printable(process if _is_near(row) else f"{process} on {row.host}")


def _is_near(row: OrchestratorRow) -> bool:
    return row.place == place_on(socket.gethostname())


def message_text(message: str) -> str:
    """Give a message of the store's in one line, whoever wrote it."""
    line = " ".join(message.split())
    return printable(line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}...")


def clock_text(at: float, *, now: float) -> str:
    """Write a time of the last days: `12:31`, with the day where that is not today's."""
    then, today = time.localtime(at), time.localtime(now)
    is_today = then[:3] == today[:3]
    return time.strftime("%H:%M" if is_today else "%d %b %H:%M", then)
