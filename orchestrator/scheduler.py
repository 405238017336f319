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
    """A hired worker: its size, its machine, and the leases of the pack it works on.

    `machine` is None until it is up. `busy` lasts until the worker says that its pack is
    done, which is later than the last word on its trials: a pack handed out in between
    would be taken for the old one.
    """

    resources: Resources
    machine: str | None = None
    busy: bool = False
    leases: dict[str, Lease] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        return self.machine is not None and not self.busy


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
        self._last_reason = ""
        self._too_large: set[Resources] = set()

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
        if self._lost_at_start >= _MOST_LOST_AT_START:
            raise WorkersDoNotStartError(
                f"{self._lost_at_start} workers in a row were lost while starting: "
                f"{self._last_reason}"
            )
        self._keep_leases()
        self._assign(self._queue.demand())

    def shut_down(self, *, grace_seconds: float) -> None:
        """Stop all trials, write what they still say, and give every lease back.

        Raises:
            StoreError: The store cannot be used. The workers are gone all the same.
        """
        try:
            deadline = self._clock() + grace_seconds
            while self.is_working and self._clock() < deadline:
                # Asked each time: a pack that was on its way had not begun at the first.
                for name, seat in self._seats.items():
                    self._pool.stop(name, list(seat.leases))
                self._hear(self._pool.poll(0.2))
        finally:
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
                case WorkerReady(worker, machine):
                    self._lost_at_start = 0
                    self._seats[worker].machine = machine
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
        lease, seat = Lease(event.trial_id, fence), self._seats.get(worker)
        match event:
            case TrialSucceeded():
                machine = None if seat is None else seat.machine
                self._queue.succeed(lease, event, machine=machine)
            case TrialFailed(_, failure):
                self._queue.fail(lease, failure)
            case TrialStopped():
                self._queue.release(lease)
            case _:
                return
        if seat is not None:
            seat.leases.pop(event.trial_id, None)

    def _close_pack(self, worker: str) -> None:
        """Take what a worker left unreported for lost: it has nothing more to say of it."""
        seat = self._seats[worker]
        for lease in seat.leases.values():
            self._queue.lose(lease, f"{worker} ended its pack without a word of this trial")
        seat.leases.clear()
        seat.busy = False

    def _bury(self, worker: str, reason: str) -> None:
        seat = self._seats.pop(worker)
        _log.warning("%s is gone: %s", worker, reason)
        for lease in seat.leases.values():
            self._queue.lose(lease, reason)
        if seat.machine is None:
            self._lost_at_start += 1
            self._last_reason = reason

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

    # --- hand out and staff

    def _assign(self, waiting: Mapping[Resources, int]) -> None:
        """Give what waits to workers of its size, first in line first.

        A size that the rest of the pool keeps from getting one more worker holds back all
        that come after it, so that the room it needs falls free instead of being taken.
        """
        for resources, num_waiting in waiting.items():
            left = num_waiting - self._hand_out(resources, num_waiting)
            if left > 0 and self._hire(resources, left) and self._is_kept_out(resources):
                return

    def _hand_out(self, resources: Resources, num_waiting: int) -> int:
        """Start packs on idle workers of a size; give how many trials were handed out."""
        handed_out = 0
        for name, seat in self._seats.items():
            if handed_out >= num_waiting or not seat.idle or seat.resources != resources:
                continue
            claims = self._queue.claim(
                worker=name,
                limit=1,
                lease_seconds=self._settings.lease_seconds,
                resources=resources,
            )
            if not claims:  # what waits is not due yet, or another orchestrator was faster
                break
            seat.busy = True
            seat.leases = {claim.lease.trial_id: claim.lease for claim in claims}
            self._pool.start(name, [self._assignment(claim) for claim in claims])
            handed_out += len(claims)
        return handed_out

    def _hire(self, resources: Resources, num_waiting: int) -> bool:
        """Hire for what waits, sending idle workers of other sizes home; True if too few."""
        free = sum(s.resources == resources and not s.busy for s in self._seats.values())
        while free < num_waiting:
            if self._is_full(resources) and not self._make_room(resources):
                return True
            if not self._is_full(resources):
                self._seats[self._pool.hire(resources)] = _Seat(resources)
                free += 1
        return False

    def _make_room(self, resources: Resources) -> bool:
        """Send one idle worker of another size home; False where none is to be had."""
        if not self._is_kept_out(resources):
            return False
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

    def _is_kept_out(self, resources: Resources) -> bool:
        """Say whether one more worker of this size would fit if the other sizes were gone."""
        num_hired = sum(seat.resources == resources for seat in self._seats.values())
        return self._fits_alone(resources, num_hired + 1)

    def _fits_alone(self, resources: Resources, num_workers: int) -> bool:
        if self._max_workers is not None and num_workers > self._max_workers:
            return False
        fits = self._pool.could_hold(resources, num_workers=num_workers)
        if num_workers == 1 and not fits and resources not in self._too_large:
            self._too_large.add(resources)
            _log.warning(
                "trials wait for a worker with %d CPUs and %g GPUs, which no machine here has",
                resources.cpus,
                resources.gpus,
            )
        return fits

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
