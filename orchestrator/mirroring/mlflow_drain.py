"""When MLflow is told what: entry by entry while it answers, and not at all while it does not.

MLflow itself is not needed here: `Tracker` is what is asked of it.

An entry that fails waits, each time longer, and the others go on. Where it was not the entry
(no answer, or MLflow refuses even to be looked at), the whole drain stands back: after a pause
one look is taken, then one entry is told, then the rest.
"""

import logging
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Engine, func, select

from experiments.errors import CheckpointError, StoreError
from experiments.language.printable import printable
from orchestrator.mirroring.mlflow_records import FilesRecord, ModelRecord, Records, RunRecord
from orchestrator.mirroring.private_log import without
from orchestrator.queueing.outbox import FILES, MODEL, TRIAL, Entry, Outbox
from orchestrator.store.database import translated

STUCK_SECONDS: Final = 5.0
"""After so long without telling anything, although there is something to tell, it is stuck."""

IN_DOUBT_SECONDS: Final = 15.0
"""How long a server that gave no answer may still be making what it was asked to make."""

_BATCH: Final = 16
_LONGEST_PAUSE_SECONDS: Final = 5.0
_LONGEST_RETRY_AFTER_SECONDS: Final = 60.0
_LONGEST_DELAY_SECONDS: Final = 3600.0
_LONGEST_DELAY_UNANSWERED_SECONDS: Final = 60.0
_MOST_ERROR_CHARACTERS: Final = 500
_LONGEST_TURN_SECONDS: Final = 60.0
_MOST_IDLE_MILLISECONDS: Final = 300_000
_ADVISORY_LOCK: Final = 0x6D6972726F72  # "mirror"

_log = logging.getLogger(__name__)


class MlflowBusyError(Exception):
    """MLflow answers that it wants to be left alone, perhaps saying for how long."""

    def __init__(self, message: str, *, retry_after_seconds: float = 0.0) -> None:
        """Say why, and how long it asked us to wait."""
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class InDoubtError(Exception):
    """Nobody knows whether something was made; made again at once, it might be there twice."""


class Tracker(Protocol):
    """What is asked of MLflow. Each call may be repeated, and may fail with any exception."""

    def check(self) -> None:
        """Take a look, to see that there is an answer."""

    def write_run(self, record: RunRecord) -> None:
        """Send a trial's run whole."""

    def write_model(self, record: ModelRecord) -> None:
        """Send a variant's best model."""

    def write_files(self, record: FilesRecord) -> None:
        """Send the files of a folder."""


class Drain:
    """Tells MLflow what is in the outbox, a turn at a time."""

    def __init__(
        self,
        outbox: Outbox,
        records: Records,
        *,
        engine: Engine,
        open_mlflow: Callable[[], Tracker],
        secrets: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember the places; `secrets` are kept out of what is noted of errors."""
        self._outbox = outbox
        self._records = records
        self._engine = engine
        self._open_mlflow = open_mlflow
        self._secrets = secrets
        self._clock = clock
        self._mlflow: Tracker | None = None
        self._pause_seconds = 0.0  # more than that while MLflow does not answer
        self._again_at = clock()
        self._num_pending = 0
        self._moved_at = clock()
        self.is_stuck = False
        """Whether nothing was told for a while, although there was something to tell."""

    @property
    def num_pending(self) -> int:
        """How many entries were left after the last turn."""
        return self._num_pending

    def turn(self) -> int:
        """Tell all that is due, and give how many entries are done.

        Raises:
            StoreError: The SQL store cannot be used.
        """
        if self._mlflow is None and not self._pause_seconds:
            self._answers()  # a new store takes seconds to make: before there is anything to tell
        num_told = 0
        with _alone(self._engine) as alone:
            if alone:
                num_told = self._tell_all()
        num_pending = self._outbox.num_pending()
        if num_told or not num_pending or num_pending < self._num_pending:  # or another mirror did
            self._moved_at = self._clock()
        self._num_pending = num_pending
        self.is_stuck = self._clock() - self._moved_at >= STUCK_SECONDS
        return num_told

    def _tell_all(self) -> int:
        num_told = 0
        ends_at = self._clock() + _LONGEST_TURN_SECONDS  # `_alone` is not for ever
        while self._again_at <= self._clock() < ends_at:
            entries = self._outbox.pending(1) if self._pause_seconds else self._due()
            if not entries or (self._pause_seconds and not self._answers(entries[0])):
                break
            for entry in entries:
                num_told += self._tell(entry)
                if self._pause_seconds:
                    break
        return num_told

    def _due(self) -> Sequence[Entry]:
        """Give the next entries: runs first, files and then models only where no run waits.

        A model takes several times as long as a run, and the first one seconds of imports.
        """
        return (
            self._outbox.pending(_BATCH, kind=TRIAL)
            or self._outbox.pending(1, kind=FILES)
            or self._outbox.pending(1, kind=MODEL)
        )

    def _tell(self, entry: Entry) -> bool:
        try:
            self._send(entry)
        except StoreError:
            raise  # our own store's, and no failure of MLflow's
        # Whatever it is (a server down, a full disk, an answer nobody expected), the other
        # entries go on, and this one is tried again.
        except Exception as error:
            unanswered = _is_unanswered(error)
            self._note(entry, error, unanswered=unanswered)
            if unanswered:
                self._stand_back(error)
            elif self._answers():
                self._go_on()
            return False
        self._go_on()
        return self._outbox.mark_done(entry)

    def _send(self, entry: Entry) -> None:
        if entry.kind == MODEL:
            self._send_model(entry)
        elif entry.kind == FILES:
            self._send_files(entry)
        elif (run := self._records.run(entry.key)) is not None:
            self._opened().write_run(run)

    def _send_model(self, entry: Entry) -> None:
        experiment_id, _, variant = entry.key.partition("/")
        model = self._records.model(experiment_id, variant)
        if model is None:
            _log.info("model %s: no checkpoint of it was kept, so none is shown", entry.key)
            return
        try:
            self._opened().write_model(model)
        except CheckpointError as error:
            _log.warning("model %s: left out: %s", entry.key, error)

    def _send_files(self, entry: Entry) -> None:
        trial_id, _, folder = entry.key.partition("/")
        files = self._records.files(trial_id, Path(folder))
        if files is None:
            _log.info("files %s: the report is gone, so it is not shown", entry.key)
            return
        self._opened().write_files(files)

    def _opened(self) -> Tracker:
        if self._mlflow is None:
            self._mlflow = self._open_mlflow()
        return self._mlflow

    def _answers(self, waiting: Entry | None = None) -> bool:
        """Look whether MLflow is there; if not, stand back, and note why on what waits for it."""
        try:
            self._opened().check()
        except Exception as error:
            if waiting is not None and not waiting.tries:
                self._note(waiting, error, unanswered=True)
            self._stand_back(error)
            return False
        return True

    def _stand_back(self, error: Exception) -> None:
        if not self._pause_seconds:
            _log.warning("MLflow does not answer as it should; it is looked for again and again")
        asked = getattr(error, "retry_after_seconds", 0.0)
        self._pause_seconds = min(2 * self._pause_seconds or 1.0, _LONGEST_PAUSE_SECONDS)
        wait = max(self._pause_seconds, min(asked, _LONGEST_RETRY_AFTER_SECONDS))
        self._again_at = self._clock() + wait

    def _go_on(self) -> None:
        if self._pause_seconds:
            _log.info("MLflow answers again")
        self._pause_seconds = 0.0

    def _note(self, entry: Entry, error: Exception, *, unanswered: bool) -> None:
        """Keep an entry's error where people can read it, and put the entry off."""
        longest = _LONGEST_DELAY_UNANSWERED_SECONDS if unanswered else _LONGEST_DELAY_SECONDS
        least = IN_DOUBT_SECONDS if isinstance(error, InDoubtError) else 0.0
        text = reason_of(error, secrets=self._secrets)
        _log.warning("%s %s: not told yet: %s", entry.kind, entry.key, text)
        self._outbox.mark_failed(
            entry,
            " ".join(text.split())[:_MOST_ERROR_CHARACTERS],
            delay_seconds=max(min(2.0 ** min(entry.tries, 20), longest), least),
        )


def reason_of(error: Exception, *, secrets: Collection[str]) -> str:
    """Say why MLflow could not be told something, without secrets."""
    # Of a connection's errors the first says it; what MLflow wraps around it is long.
    *_, first = _chain(error)
    shown = first if _is_unanswered(error) else error
    return printable(without(secrets, f"{type(shown).__name__}: {shown}"), keep="\n")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and those behind it, down to the first one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_unanswered(error: BaseException) -> bool:
    """Say whether a connection, or the disk, is behind an error: both are an `OSError`."""
    return any(isinstance(each, OSError | MlflowBusyError) for each in _chain(error))


@contextmanager
def _alone(engine: Engine) -> Generator[bool]:
    """Say whether no other mirror drains this store (on PostgreSQL there may be several).

    One that is frozen loses that after a while: telling MLflow twice is safe, and telling it
    nothing any more is not.
    """
    if engine.dialect.name != "postgresql":
        yield True  # the process has a lock of its own (`mirror_lock.py`)
        return
    # No snapshot may be held for as long as this, or dead rows could not be vacuumed: so it is not
    # `reading`, and the lock's own SELECT, which keeps one until the next statement, comes first.
    with translated(engine), engine.connect() as connection:
        is_alone = connection.scalar(select(func.pg_try_advisory_xact_lock(_ADVISORY_LOCK)))
        connection.exec_driver_sql(
            f"SET LOCAL idle_in_transaction_session_timeout = {_MOST_IDLE_MILLISECONDS}"
        )
        yield bool(is_alone)
