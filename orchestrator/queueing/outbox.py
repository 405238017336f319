"""What MLflow has yet to be told, kept in the store until it has been.

Entries are written in the transaction that makes them necessary, so none is ever
missing; telling them is safe to repeat, so none needs to be told exactly once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.store.database import Clock, database_now, reading, writing
from orchestrator.store.tables import IS_PENDING, outbox

TRIAL: Final = "trial"
"""A trial is terminal; the key is its id."""

MODEL: Final = "model"
"""A variant has no open trial left and a succeeded one; the key is `experiment_id/variant`."""

FILES: Final = "files"
"""A folder of files is to be shown with a trial's run; the key is `trial_id/folder`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something to tell; `tries` have failed."""

    id: int
    kind: str
    key: str
    revision: int
    tries: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far behind MLflow is; times are Unix seconds.

    Of the pending entries `num_failed` have been tried, and `last_error` is the newest reason.
    """

    num_pending: int
    num_failed: int
    last_error: str | None
    last_done_at: float | None


class Outbox:
    """The mirror's side: what is due, and what became of it."""

    def __init__(self, engine: Engine, *, now: Clock = database_now) -> None:
        self._engine = engine
        self._now = now

    def pending(self, limit: int, *, kind: str | None = None) -> tuple[Entry, ...]:
        """Give up to `limit` entries that are due (of one kind), the longest waiting first."""
        columns = [outbox.c[name] for name in Entry.__dataclass_fields__]
        query = (
            select(*columns)
            .where(IS_PENDING, outbox.c.available_at <= self._now())
            .order_by(outbox.c.available_at, outbox.c.id)
            .limit(limit)
        )
        if kind is not None:
            query = query.where(outbox.c.kind == kind)
        with reading(self._engine) as connection:
            return tuple(Entry(*row) for row in connection.execute(query))

    def num_pending(self) -> int:
        """Count the entries still to be told, those that wait after an error included."""
        with reading(self._engine) as connection:
            query = select(func.count()).select_from(outbox).where(IS_PENDING)
            return connection.scalar(query) or 0

    def backlog(self) -> Backlog:
        """Say how many entries wait, how many of them in vain so far, and why."""
        failed = IS_PENDING & (outbox.c.tries > 0)
        newest = (
            select(outbox.c.error)
            .where(failed)
            .order_by(outbox.c.failed_at.desc(), outbox.c.id.desc())
            .limit(1)
        )
        query = select(
            func.count().filter(IS_PENDING),
            func.count().filter(failed),
            newest.scalar_subquery(),
            func.max(outbox.c.done_at),
        )
        with reading(self._engine) as connection:
            return Backlog(*connection.execute(query.select_from(outbox)).one())

    def add(self, kind: str, keys: Sequence[str]) -> None:
        """Note that there is something (new) to tell of each key."""
        with writing(self._engine) as connection:
            now = connection.execute(select(self._now())).scalar_one()
            enqueue(connection, kind, keys, now=now)

    def mark_done(self, entry: Entry) -> bool:
        """Close the entry; False where there is something new to say of the same key."""
        return self._write(entry, done_at=self._now(), error=None)

    def mark_failed(self, entry: Entry, error: str, *, delay_seconds: float) -> bool:
        """Note why telling failed, and when to try again; False as for `mark_done`."""
        return self._write(
            entry,
            tries=outbox.c.tries + 1,
            failed_at=self._now(),
            error=error.replace("\0", ""),  # PostgreSQL's text holds every character but this
            available_at=self._now() + delay_seconds,
        )

    def tell_again(self) -> int:
        """Have all told again that was told, as if it never had been; give how many entries."""
        again = dict.fromkeys(("done_at", "failed_at", "error"))
        with writing(self._engine) as connection:
            told = connection.execute(
                update(outbox)
                .where(outbox.c.done_at.is_not(None))
                .values(
                    **again,
                    tries=0,
                    available_at=self._now(),
                    revision=outbox.c.revision + 1,  # word of a telling under way closes nothing
                )
            )
            return told.rowcount

    def _write(self, entry: Entry, **values: object) -> bool:
        same = (outbox.c.id == entry.id) & (outbox.c.revision == entry.revision)
        with writing(self._engine) as connection:
            return connection.execute(update(outbox).where(same).values(values)).rowcount == 1


def enqueue(connection: Connection, kind: str, keys: Sequence[str], *, now: float) -> None:
    """Note, in the caller's transaction, that there is something (new) to tell of each key."""
    if not keys:
        return
    never = dict.fromkeys(("done_at", "failed_at", "error"))
    fresh = {"created_at": now, "available_at": now, "tries": 0, **never}
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(
        dialect.insert(outbox).on_conflict_do_update(
            index_elements=["kind", "key"], set_={**fresh, "revision": outbox.c.revision + 1}
        ),
        [{"kind": kind, "key": key, "revision": 1, **fresh} for key in keys],
    )
