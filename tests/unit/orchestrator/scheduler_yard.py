"""A scheduler on a real queue, with a pool of plain objects and a clock that tests move."""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from experiments.events import Event
from experiments.records import Assignment, Experiment, Resources
from experiments.states import IncidentKind
from orchestrator.measurements.results import Results
from orchestrator.pools.pool import (
    Heartbeat,
    Message,
    PackDone,
    PoolLost,
    Reported,
    WorkerLost,
    WorkerReady,
)
from orchestrator.queueing.queue import Queue
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.settings import from_environment
from orchestrator.store.database import open_store
from tests.samples import SOME_WORK, SettableClock, an_experiment, some_trials

TWO_CPUS = Resources(cpus=2, gpus=0.0)
LARGE_WORK = replace(SOME_WORK, multiply_adds=10**13)


@dataclass
class PlainPool:
    """Holds what it is told; a test says what comes back, beside the heartbeats.

    `packs` are those under way, `ahead` those that wait behind them.
    """

    cpus: int = 2
    hired: dict[str, Resources] = field(default_factory=dict)
    packs: dict[str, tuple[Assignment, ...]] = field(default_factory=dict)
    ahead: dict[str, list[tuple[Assignment, ...]]] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    stopped: list[str] = field(default_factory=list)
    dismissed: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    told_of_leases: list[str] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    hangs_at_start: bool = False
    closed: bool = False
    inbox: list[Message] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    beats: Iterator[int] = field(default_factory=lambda: count(1))

    def room_for(self, resources: Resources) -> bool:
        return sum(each.cpus for each in self.hired.values()) + resources.cpus <= self.cpus

    def could_hold(self, resources: Resources, *, num_workers: int) -> bool:
        return num_workers * resources.cpus <= self.cpus

    def hire(self, resources: Resources) -> str:
        name = f"w{next(self.numbers)}"
        self.hired[name] = resources
        if self.hangs_at_start:
            self.frozen.add(name)
        else:
            self.inbox.append(WorkerReady(name, f"machine-of-{name}"))
        return name

    def dismiss(self, worker: str) -> None:
        del self.hired[worker]
        self.dismissed.append(worker)

    def start(self, worker: str, pack: Sequence[Assignment]) -> None:
        if worker in self.busy:
            self.ahead.setdefault(worker, []).append(tuple(pack))
        else:
            self.packs[worker] = tuple(pack)
            self.busy.add(worker)

    def renewed(self, workers: Collection[str]) -> None:
        self.told_of_leases += workers

    def kill(self, worker: str) -> None:
        del self.hired[worker]
        self.killed.append(worker)

    def stop(self, worker: str, trial_ids: Collection[str]) -> None:
        assert worker in self.hired
        self.stopped += [each for each in trial_ids if each not in self.stopped]

    def poll(self, timeout_seconds: float) -> list[Message]:
        assert timeout_seconds >= 0
        said, self.inbox = self.inbox, []
        beats = [
            Heartbeat(worker, 0 if worker in self.stuck else next(self.beats))
            for worker in self.hired
            if worker not in self.frozen
        ]
        return said + beats

    def close(self) -> None:
        self.closed = True

    def says(self, worker: str, *events: Event, done: bool = True) -> None:
        """Have a worker report on its packs, and end the first."""
        packs = [self.packs[worker], *self.ahead.get(worker, [])]
        fences = {each.trial_id: each.fence for pack in packs for each in pack}
        self.inbox += [Reported(worker, fences[event.trial_id], event) for event in events]
        if done:
            self.is_done(worker)

    def is_done(self, worker: str) -> None:
        """Have a worker end its pack, and begin the next if one waits in it."""
        self.inbox.append(PackDone(worker))
        if self.ahead.get(worker):
            self.packs[worker] = self.ahead[worker].pop(0)
        else:
            self.busy.discard(worker)

    def dies(self, worker: str, reason: str = "killed") -> None:
        del self.hired[worker]
        self.inbox.append(WorkerLost(worker, reason))

    def is_lost(self) -> None:
        self.hired.clear()
        self.inbox.append(PoolLost("the raylet died"))


def submit(queue: Queue, num: int, experiment: Experiment | None = None) -> None:
    """Submit trials that go alone: they are too large for a pack."""
    experiment = experiment or an_experiment()
    queue.submit(
        experiment,
        [replace(each, work=LARGE_WORK) for each in some_trials(num, of=experiment.id)],
    )


class Yard:
    """A scheduler and everything around it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "store.db"
        self.engine: Engine = open_store(f"sqlite:///{self.file}", create=True)
        self.engine.dispose()
        event.listen(self.engine, "connect", _hurries)
        self.database_clock = SettableClock()
        self.queue = Queue(self.engine, now=self.database_clock, orchestrator="o1")
        self.queue.enter(host="box", process="1:1")
        self.results = Results(self.engine, now=self.database_clock)
        self.pool = PlainPool()
        self.seconds = 0.0
        self.tidied: list[str] = []
        self.scheduler = self.new_scheduler()

    def new_scheduler(
        self, max_workers: int | None = None, take_back: Callable[[], object] | None = None
    ) -> Scheduler:
        return Scheduler(
            queue=self.queue,
            results=self.results,
            pool=self.pool,
            settings=from_environment({"TRAINYARD_HOME": "home"}),
            clock=lambda: self.seconds,
            max_workers=max_workers,
            take_back=take_back,
            tidy=self.tidied.extend,
        )

    def turns(self, number: int) -> None:
        for _ in range(number):
            self.scheduler.turn(wait_seconds=0)

    def goes_by(self, seconds: float) -> None:
        """Let time pass, with a turn every two seconds."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds += 2.0
            self.database_clock.seconds += 2.0
            self.turns(1)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Keep the store locked, so that nothing can be written for now."""
        with closing(sqlite3.connect(self.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield

    def incidents(self, kind: IncidentKind) -> list[str]:
        return [row.message for row in self.results.incidents() if row.kind == kind]

    def states(self) -> list[str]:
        return [row.state.value for row in self.results.trials("exp1")]

    def trial(self, worker: str) -> str:
        """The trial that a worker was handed."""
        (assignment,) = self.pool.packs[worker]
        return assignment.trial_id


def _hurries(connection: Any, _: object) -> None:
    """Wait for no lock and no disk."""
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA synchronous = OFF")
