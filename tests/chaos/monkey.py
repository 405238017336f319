"""Kills at random: workers, the orchestrator, the database; and keeps a record of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

from sqlalchemy import Engine, func, select

from experiments.errors import StoreError
from orchestrator.store.database import reading
from orchestrator.store.tables import IS_LEASED, metric, trial
from tests.chaos.processes import Process, still_alive
from tests.chaos.site import Orchestrator, Site
from tests.postgres import PostgresServer

WORKER: Final = "worker"
ORCHESTRATOR: Final = "orchestrator"
SERVER: Final = "PostgreSQL server"

ORPHAN_SECONDS: Final = 15.0
"""How long what a killed orchestrator had started may outlive it."""

_LOOK_SECONDS: Final = 0.1
_RESTART_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Kill:
    """Something was killed; `at` is Unix time.

    `epochs` are those on record of each trial under way, with the fence of its attempt.
    """

    what: str
    at: float
    epochs: Mapping[str, tuple[int, int]]


@dataclass(slots=True)
class Orphans:
    """What a killed orchestrator left behind; `seconds` until the last of it was gone."""

    left: set[Process]
    killed_at: float
    seconds: float | None = None

    def look(self, *, wait: bool = False) -> None:
        """See whether any of it lives yet; if asked, wait until it does not, or is overdue."""
        while self.seconds is None:
            seconds = time.monotonic() - self.killed_at
            if not (left := still_alive(self.left)):
                self.seconds = seconds
            elif not wait or seconds > ORPHAN_SECONDS:
                self.left = left
                return
            else:
                time.sleep(_LOOK_SECONDS)


@dataclass
class Log:
    """All that happened to a site."""

    kills: list[Kill] = field(default_factory=list)
    orphans: list[Orphans] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)

    def num(self, what: str) -> int:
        """Count the kills of a kind."""
        return sum(kill.what == what for kill in self.kills)


@dataclass(frozen=True, slots=True)
class Plan:
    """How often what is killed: seconds between two kills, at least and at most.

    For a short run: `most` bounds the kills of a kind, and `only_busy` waits for a moment at
    which some trial is under way.
    """

    every: Mapping[str, tuple[float, float]]
    most: Mapping[str, int] = field(default_factory=dict)
    only_busy: bool = False


class Monkey:
    """Disturbs a site until its work is done."""

    def __init__(
        self,
        site: Site,
        orchestrator: Orchestrator,
        engine: Engine,
        *,
        plan: Plan,
        random: Random,
        server: PostgresServer | None = None,
    ) -> None:
        self._site = site
        self._orchestrator = orchestrator
        self._engine = engine
        self._plan = plan
        self._random = random
        self._server = server
        self._log = Log()
        self._acts: dict[str, Callable[[], bool]] = {
            WORKER: self._kill_worker,
            ORCHESTRATOR: self._kill_orchestrator,
            SERVER: self._kill_server,
        }

    def disturb(self, *, at_most_seconds: float) -> Log:
        """Start the orchestrator, and kill until it ends by itself, with nothing left to do.

        Raises:
            TimeoutError: It takes longer than that.
        """
        deadline = time.monotonic() + at_most_seconds
        self._orchestrator.start()
        due = {what: self._next(what) for what in self._plan.every}
        while not self._is_done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not done after {at_most_seconds:.0f} s: {self._log.exits}")
            time.sleep(_LOOK_SECONDS)
            for orphans in self._log.orphans:
                orphans.look()
            for what in [what for what, at in due.items() if time.monotonic() >= at]:
                if self._may(what) and self._kill(what):
                    due[what] = self._next(what)
        for orphans in self._log.orphans:
            orphans.look(wait=True)
        return self._log

    def _next(self, what: str) -> float:
        return time.monotonic() + self._random.uniform(*self._plan.every[what])

    def _may(self, what: str) -> bool:
        most = self._plan.most.get(what)
        return most is None or self._log.num(what) < most

    def _is_done(self) -> bool:
        """Say whether the orchestrator ended well; one that gave up is started again."""
        code = self._orchestrator.exit_code()
        if code == 0:
            return True
        if code is not None:
            self._log.exits.append(code)
            time.sleep(_RESTART_SECONDS)
            self._orchestrator.start()
        return False

    def _kill(self, what: str) -> bool:
        epochs = self._epochs_on_record()
        if self._plan.only_busy and not epochs:
            return False
        at = time.time()
        is_killed = self._acts[what]()
        if is_killed:
            self._log.kills.append(Kill(what, at, epochs))
        return is_killed

    def _kill_worker(self) -> bool:
        workers = sorted(
            (each for each in self._site.processes() if each.is_worker), key=lambda each: each.pid
        )
        return bool(workers) and self._random.choice(workers).kill()

    def _kill_orchestrator(self) -> bool:
        if self._orchestrator.exit_code() is not None:
            return False
        left = self._orchestrator.kill()
        self._log.orphans.append(Orphans(left, time.monotonic()))
        self._orchestrator.start()
        return True

    def _kill_server(self) -> bool:
        assert self._server is not None
        self._server.kill()
        self._server.start()
        return True

    def _epochs_on_record(self) -> dict[str, tuple[int, int]]:
        """Give (fence, epoch) of the trials under way, as far as the store can be read now."""
        measured = (
            select(func.max(metric.c.epoch))
            .where(metric.c.trial_id == trial.c.id, metric.c.metric == "val/loss")
            .correlate(trial)
            .scalar_subquery()
        )
        query = select(trial.c.id, trial.c.fence, measured).where(IS_LEASED)
        try:
            with reading(self._engine) as connection:
                return {row[0]: (row[1], row[2] or 0) for row in connection.execute(query)}
        except StoreError:
            return {}
