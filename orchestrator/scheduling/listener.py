"""Hears the workers, and decides what is to be written of it and who is to go.

Never touches the store: what should be written goes to the journal, so that hearing goes on
while the store cannot be used.
"""

import logging
from collections.abc import Callable, Iterable
from functools import partial

from experiments.events import (
    CheckpointSaved,
    Event,
    Failure,
    Said,
    StrategiesTimed,
    TrialFailed,
    TrialNoted,
    TrialStopped,
    TrialSucceeded,
)
from experiments.language.printable import printable
from experiments.states import FailureKind, IncidentKind
from orchestrator.pools.pool import (
    Heartbeat,
    Message,
    PackDone,
    PoolLost,
    Reported,
    WorkerLost,
    WorkerReady,
)
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.outcomes import Success
from orchestrator.queueing.queue import Queue
from orchestrator.scheduling.journal import Journal
from orchestrator.scheduling.seats import START_SECONDS, Seat
from orchestrator.scheduling.staff import Staff

_log = logging.getLogger(__name__)


class Listener:
    """Turns what the pool says into writes that are due, and ends workers that are unwell."""

    def __init__(
        self,
        *,
        queue: Queue,
        staff: Staff,
        journal: Journal,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._staff = staff
        self._journal = journal
        self._clock = clock

    def hear(self, messages: Iterable[Message]) -> None:
        """Take what the pool said; of workers that are gone nothing more is heard."""
        for message in messages:
            if isinstance(message, PoolLost):
                self._lose_all(message.reason)
            elif message.worker in self._staff.seats:
                self._hear_worker(self._staff.seats[message.worker], message)

    def watch(self, *, frozen_after_seconds: float) -> None:
        """End workers that do not get on, bench those on which trials only fail, and tell of it."""
        now = self._clock()
        for name, seat in tuple(self._staff.seats.items()):
            if seat.is_silent(now):
                # Should it wake, it hears of that before it begins them.
                self._staff.recall(name, self._give_back(seat, f"{name} fell silent before it"))
            if seat.is_stalled(now):
                self._end_stalled(name, seat, now - seat.progressed_at)
            elif seat.hangs_at_start(now):
                reason = f"{name} was not up {START_SECONDS:.0f} s after it was hired"
                self._staff.end_unstarted(name, reason)
                self._note(IncidentKind.WORKER_LOST, f"{reason} and was ended")
            elif not seat.leases and seat.machine and now - seat.heard_at >= frozen_after_seconds:
                self._staff.end(name)  # frozen, and no lease that would tell of it
        for name, seat in self._staff.bench_suspects():
            self._staff.recall(name, [lease.trial_id for lease in seat.not_begun])
            self._note(
                IncidentKind.WORKER_BENCHED,
                f"{name} ({seat.machine}): {len(seat.streak.trial_ids)} trials in a row failed "
                f"on it while others did well (the last: {seat.streak.message}); it gets no "
                "more of them. Look at that machine and its GPUs; the next start uses it again",
            )
        for size in self._staff.found_too_large():
            self._note(
                IncidentKind.TRIAL_TOO_LARGE,
                f"trials wait for a worker with {size.cpus} CPUs and {size.gpus:g} GPUs, which no "
                "machine here has",
            )

    def end_silent(self, name: str) -> None:
        """End a worker that fell silent, and take what it had under way for lost."""
        reason = f"{name} was not heard of any more and was ended"
        _log.warning("%s", reason)
        self._lose_seat(self._staff.end(name), reason)

    def _hear_worker(self, seat: Seat, message: Message) -> None:
        seat.heard_at = self._clock()
        match message:
            case WorkerReady(worker, machine, engine):
                self._staff.arrived(worker, machine, engine)
            case Heartbeat(_, progress):
                seat.beat(progress, now=seat.heard_at)
            case Reported(_, fence, event):
                self._take_down(seat, Lease(event.trial_id, fence), event)
            case PackDone(worker):
                # It has nothing more to say of what it left unreported.
                left = seat.finish(now=seat.heard_at)
                self._lose(left, f"{worker} ended its pack without a word of this trial")
            case WorkerLost(worker, reason, out_of_memory):
                _log.warning("%s is gone: %s", worker, printable(reason))
                self._lose_seat(
                    self._staff.bury(worker, reason), reason, out_of_memory=out_of_memory
                )

    def _take_down(self, seat: Seat, lease: Lease, event: Event) -> None:
        """Keep what a trial said, to be written this turn or when the store is back."""
        match event:
            case TrialSucceeded():
                seat.count_success(event.trial_id, now=self._clock())
                self._journal.succeed(Success(lease, event, seat.machine))
            case TrialFailed():
                seat.count_failure(event.trial_id, event.failure, now=self._clock())
                self._journal.add(partial(self._queue.fail, lease, event.failure))
            case TrialStopped():
                self._journal.add(partial(self._queue.release, lease))
            case StrategiesTimed():
                seat.note_strategy(event)
                self._journal.add(partial(self._queue.remember_strategies, event, site=seat.site))
                return
            case _:
                self._take_down_said(seat, lease, event)
                return
        self._staff.got_on()
        if seat.leases.get(event.trial_id) == lease:  # else a late word of an earlier attempt
            del seat.leases[event.trial_id]

    def _take_down_said(self, seat: Seat, lease: Lease, said: Said) -> None:
        if isinstance(said, TrialNoted):
            _log.warning("%s: %s", said.trial_id, printable(said.message))
        if isinstance(said, CheckpointSaved):
            self._staff.got_on()
        seat.note_place(said)
        self._journal.say(lease, said)

    def _lose_seat(self, seat: Seat, reason: str, *, out_of_memory: bool = False) -> None:
        """Take all that a worker had under way for lost, and give back what waited in it."""
        self._give_back(seat, f"{reason}; it had not begun")
        self._lose(seat.leases.values(), reason, out_of_memory=out_of_memory)
        seat.leases.clear()

    def _lose(self, leases: Iterable[Lease], reason: str, *, out_of_memory: bool = False) -> None:
        for lease in leases:
            lose = partial(self._queue.lose, lease, reason, out_of_memory=out_of_memory)
            self._journal.add(lose)

    def _give_back(self, seat: Seat, reason: str) -> list[str]:
        """Give back what waits in a worker, which is no failure of any trial's; name the trials."""
        waiting = seat.not_begun
        for lease in waiting:
            del seat.leases[lease.trial_id]
            self._journal.add(partial(self._queue.abandon, lease, reason))
        return [lease.trial_id for lease in waiting]

    def _lose_all(self, reason: str) -> None:
        """Give back all that was under way in a cluster that died: no trial's fault."""
        seats = self._staff.disband(reason)
        leases = [lease for seat in seats for lease in seat.leases.values()]
        for lease in leases:
            self._journal.add(partial(self._queue.abandon, lease, reason))
        self._note(
            IncidentKind.CLUSTER_LOST,
            f"{reason}; {len(leases)} trials under way were queued again, and Ray is started anew",
        )

    def _end_stalled(self, name: str, seat: Seat, seconds: float) -> None:
        message = f"no progress for {seconds:.0f} s after {seat.reached}"
        failure = Failure(FailureKind.STALLED, "Stalled", message)
        self._give_back(seat, f"{name} was ended, as another trial of its made no progress")
        for trial_id, lease in seat.leases.items():
            seat.count_failure(trial_id, failure, now=self._clock())
            told = (
                f"{message}, although {name} was there; the worker was ended. Where single steps "
                "take that long, raise `execution.stall_timeout`"
            )
            pack = seat.pack_with(trial_id)
            about = {"experiment_id": None if pack is None else pack.experiment_id}
            self._journal.add(partial(self._fail_stalled, lease, failure, told, **about))
        self._staff.end(name, streak_lives_on=True)

    def _fail_stalled(
        self, lease: Lease, failure: Failure, told: str, *, experiment_id: str | None
    ) -> None:
        """Fail a stalled trial, and tell of it unless it was no longer ours."""
        if self._queue.fail(lease, failure) is not None:
            self._note(
                IncidentKind.TRIAL_STALLED,
                told,
                experiment_id=experiment_id,
                trial_id=lease.trial_id,
            )

    def _note(
        self,
        kind: IncidentKind,
        message: str,
        *,
        experiment_id: str | None = None,
        trial_id: str | None = None,
    ) -> None:
        """Tell of it now, and put it on record when the store can be used."""
        _log.warning("%s", printable(f"{trial_id}: {message}" if trial_id else message))
        about = {"experiment_id": experiment_id, "trial_id": trial_id}
        self._journal.add(partial(self._queue.note, kind, message, **about))
