"""The loop between queue and workers: claims packs, hears what became of them, writes it down.

No SQL and no Ray in here: the queue keeps the promises, the pool runs the packs, and both
are handed in, like the clock. One turn of the loop:

    hear the pool -> write what was said -> keep leases alive -> staff the pool -> hand out packs
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from experiments.records import (
    Assignment,
    CheckpointSaved,
    Event,
    PointsMeasured,
    Resources,
    TrialFailed,
    TrialStopped,
    TrialSucceeded,
)
from orchestrator.claiming import Claim
from orchestrator.leases import Lease
from orchestrator.pool import Message, PackDone, Pool, Reported, WorkerLost, WorkerReady
from orchestrator.queue import Queue
from orchestrator.results import Results
from orchestrator.settings import Settings

RENEW_SECONDS: Final = 2.0
"""How often leases are renewed; a request to stop is heard as often."""

EXPIRE_SECONDS: Final = 5.0
"""How often leases are sought whose holder fell silent."""

_MOST_LOST_AT_START: Final = 3

_log = logging.getLogger(__name__)


class WorkersDoNotStartError(Exception):
    """Worker after worker was lost before it took its first pack."""


@dataclass(slots=True)
class _Seat:
    """A hired worker: its size, whether it is up, and the leases of the pack it works on."""

    resources: Resources
    ready: bool = False
    leases: dict[str, Lease] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        return self.ready and not self.leases


class Scheduler:
    """Keeps the workers of one pool busy with the trials of one queue."""

    def __init__(
        self,
        *,
        queue: Queue,
        results: Results,
        pool: Pool,
        settings: Settings,
        clock: Callable[[], float],
        max_workers: int | None = None,
    ) -> None:
        """`clock` gives seconds that only ever rise; `max_workers` None means all that fit."""
        self._queue = queue
        self._results = results
        self._pool = pool
        self._settings = settings
        self._clock = clock
        self._max_workers = max_workers
        self._seats: dict[str, _Seat] = {}
        self._renewed_at = clock()
        self._expired_at = clock()
        self._lost_at_start = 0

    @property
    def is_working(self) -> bool:
        """Whether any trial is under way."""
        return any(seat.leases for seat in self._seats.values())

    def turn(self, *, wait_seconds: float = 0.5) -> None:
        """Do one turn of the loop, waiting so long at most for the pool to say something.

        Raises:
            WorkersDoNotStartError: Workers are lost again and again before their first pack.
            StoreError: The store cannot be used.
        """
        self._hear(self._pool.poll(wait_seconds))
        self._keep_leases()
        waiting = self._queue.demand()
        self._staff(waiting)
        self._hand_out(waiting)

    def shut_down(self, *, grace_seconds: float) -> None:
        """Stop all trials, write what they still say, and give every lease back."""
        for name, seat in self._seats.items():
            self._pool.stop(name, list(seat.leases))
        deadline = self._clock() + grace_seconds
        while self.is_working and self._clock() < deadline:
            self._hear(self._pool.poll(0.2))
        self._pool.close()
        for seat in self._seats.values():
            for lease in seat.leases.values():
                self._queue.release(lease)
        self._seats.clear()

    # --- hear and write

    def _hear(self, messages: Iterable[Message]) -> None:
        said = list(messages)
        self._record(said)
        for message in said:
            match message:
                case WorkerReady(worker):
                    self._lost_at_start = 0
                    self._seats[worker].ready = True
                case Reported(worker, fence, event):
                    self._settle(worker, fence, event)
                case PackDone(worker):
                    self._close_pack(worker)
                case WorkerLost(worker, reason):
                    self._bury(worker, reason)

    def _record(self, messages: Iterable[Message]) -> None:
        """Write all points and checkpoints of a turn in one transaction."""
        batch = [
            (Lease(message.event.trial_id, message.fence), message.event)
            for message in messages
            if isinstance(message, Reported)
            and isinstance(message.event, PointsMeasured | CheckpointSaved)
        ]
        if batch:
            self._drop(self._results.record(batch))

    def _settle(self, worker: str, fence: int, event: Event) -> None:
        """Write how a trial ended; other events are recorded already."""
        lease = Lease(event.trial_id, fence)
        match event:
            case TrialSucceeded():
                self._queue.succeed(lease, event)
            case TrialFailed(_, failure):
                self._queue.fail(lease, failure)
            case TrialStopped():
                self._queue.release(lease)
            case _:
                return
        seat = self._seats.get(worker)
        if seat is not None:
            seat.leases.pop(event.trial_id, None)

    def _close_pack(self, worker: str) -> None:
        """Take what a worker left unreported for lost: it has nothing more to say of it."""
        seat = self._seats[worker]
        for lease in seat.leases.values():
            self._queue.lose(lease, f"{worker} ended its pack without a word of this trial")
        seat.leases.clear()

    def _bury(self, worker: str, reason: str) -> None:
        seat = self._seats.pop(worker)
        _log.warning("%s is gone: %s", worker, reason)
        for lease in seat.leases.values():
            self._queue.lose(lease, reason)
        if not seat.ready:
            self._lost_at_start += 1
            if self._lost_at_start >= _MOST_LOST_AT_START:
                raise WorkersDoNotStartError(
                    f"{self._lost_at_start} workers in a row were lost while starting: {reason}"
                )

    # --- leases

    def _keep_leases(self) -> None:
        now = self._clock()
        if now - self._renewed_at >= RENEW_SECONDS:
            self._renewed_at = now
            self._renew()
        if now - self._expired_at >= EXPIRE_SECONDS:
            self._expired_at = now
            for lease in self._queue.expire():
                _log.warning("%s: the lease expired; queued again", lease.trial_id)

    def _renew(self) -> None:
        held = [lease for seat in self._seats.values() for lease in seat.leases.values()]
        if not held:
            return
        renewal = self._queue.renew(held, lease_seconds=self._settings.lease_seconds)
        self._drop(set(held) - renewal.held)
        for name, seat in self._seats.items():
            stopping = [
                lease.trial_id for lease in seat.leases.values() if lease in renewal.stopping
            ]
            if stopping:
                self._pool.stop(name, stopping)

    def _drop(self, stale: Iterable[Lease]) -> None:
        """Stop trials whose lease has passed to another: nothing they say counts any more."""
        gone = set(stale)
        for name, seat in self._seats.items():
            lost = [trial for trial, lease in seat.leases.items() if lease in gone]
            if lost:
                self._pool.stop(name, lost)

    # --- staff and hand out

    def _staff(self, waiting: Mapping[Resources, int]) -> None:
        """Hire for what waits; where there is no room, send idle workers of other sizes home."""
        for resources, num_waiting in waiting.items():
            fitting = [seat for seat in self._seats.values() if seat.resources == resources]
            unoccupied = sum(not seat.leases for seat in fitting)
            while unoccupied < num_waiting and self._may_hire(resources):
                self._seats[self._pool.hire(resources)] = _Seat(resources)
                unoccupied += 1

    def _may_hire(self, resources: Resources) -> bool:
        if not self._pool.could_ever_hold(resources):
            return False
        while self._is_full(resources):
            other = next(
                (n for n, s in self._seats.items() if s.idle and s.resources != resources), None
            )
            if other is None:
                return False
            self._pool.dismiss(other)
            del self._seats[other]
        return True

    def _is_full(self, resources: Resources) -> bool:
        at_limit = self._max_workers is not None and len(self._seats) >= self._max_workers
        return at_limit or not self._pool.room_for(resources)

    def _hand_out(self, waiting: Mapping[Resources, int]) -> None:
        for name, seat in self._seats.items():
            if not seat.idle or seat.resources not in waiting:
                continue
            claims = self._queue.claim(
                worker=name,
                limit=1,
                lease_seconds=self._settings.lease_seconds,
                resources=seat.resources,
            )
            if claims:
                seat.leases = {claim.lease.trial_id: claim.lease for claim in claims}
                self._pool.start(name, [self._assignment(claim) for claim in claims])

    def _assignment(self, claim: Claim) -> Assignment:
        trial_id, fence = claim.lease.trial_id, claim.lease.fence
        folder = self._settings.checkpoint_folder(trial_id, fence=fence)
        return Assignment(
            trial_id=trial_id,
            fence=fence,
            config=claim.config,
            checkpoints=claim.checkpoints,
            checkpoint_folder=str(folder),
            timeout_seconds=claim.timeout_seconds,
        )
