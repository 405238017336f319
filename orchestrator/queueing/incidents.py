"""What went wrong around the trials, written down for `status` and `doctor`.

Always in the transaction of what was done about it, so that both are true or neither is.
"""

from typing import Final

from sqlalchemy import Connection, delete, insert, select

from experiments.language.printable import printable
from experiments.states import IncidentKind
from orchestrator.store.tables import incident

KEPT: Final = 5000
"""Of all incidents, those that stay; the oldest go first."""

SAME_SECONDS: Final = 60.0
"""The same words within this time are one incident: the first reply may have been lost."""

_TRIMMED_EVERY: Final = 100  # so that not every note has to look for what is too old
_LONGEST_MESSAGE: Final = 2000


def note(
    connection: Connection,
    kind: IncidentKind,
    message: str,
    *,
    now: float,
    experiment_id: str | None = None,
    trial_id: str | None = None,
) -> None:
    """Write down an incident in the caller's transaction; a very long message is cut."""
    row = {
        "at": now,
        "kind": kind,
        "experiment_id": experiment_id,
        "trial_id": trial_id,
        "message": _storable(message),
    }
    number = connection.execute(insert(incident).values(row).returning(incident.c.id)).scalar_one()
    if number % _TRIMMED_EVERY == 0:
        connection.execute(delete(incident).where(incident.c.id <= number - KEPT))


def is_noted(
    connection: Connection,
    kind: IncidentKind,
    message: str,
    *,
    now: float,
    experiment_id: str | None = None,
    trial_id: str | None = None,
) -> bool:
    """Say whether the same was noted within `SAME_SECONDS`."""
    query = select(incident.c.id).where(
        incident.c.at.between(now - SAME_SECONDS, now + SAME_SECONDS),
        incident.c.kind == kind,
        incident.c.experiment_id.is_not_distinct_from(experiment_id),
        incident.c.trial_id.is_not_distinct_from(trial_id),
        incident.c.message == _storable(message),
    )
    return connection.execute(query.limit(1)).first() is not None


def _storable(message: str) -> str:
    # Databases refuse NUL and lone surrogates, which a process may have said with its last breath.
    return printable(message, keep="\n")[:_LONGEST_MESSAGE]
