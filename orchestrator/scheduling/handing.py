"""Handing out: packs for workers that are free, and for busy ones what they will need next.

A worker that has nothing more to do waits until that was heard and the next pack has come. So
one that is nearly done gets its next pack ahead of need, which waits in it; where trials are
tiny several, but no more than keeps it busy for about `AHEAD_SECONDS`: what waits in a worker
was claimed before whatever is submitted meanwhile. Where members of a pack have ended, others of
its shape are handed to its worker to take their places. Nobody takes ahead what a worker that is
free, or comes up, could begin, nor more than its part of what is left.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from experiments.planning.packing import MOST_MEMBERS
from experiments.records import Assignment, Resources
from orchestrator.pools.pool import Pool
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.queue import Queue
from orchestrator.scheduling.staff import Staff
from orchestrator.settings import Settings

AHEAD_SECONDS: Final = 1.0
"""A worker that will be done sooner is handed more. It is at least two turns of the loop."""


class Hands:
    """Claims trials for the workers of a staff, and hands them over."""

    def __init__(self, *, queue: Queue, pool: Pool, staff: Staff, settings: Settings) -> None:
        self._queue = queue
        self._pool = pool
        self._staff = staff
        self._settings = settings

    def assign(self, waiting: Mapping[Resources, int], *, now: float) -> None:
        """Give what waits to workers of its size, first in line first.

        A size that the rest of the pool keeps from getting one more worker holds back all
        that come after it, so that the room it needs falls free instead of being taken. Only
        workers that have just been hired go on until their start has paid.
        """
        left, is_held_back = dict(waiting), False
        for resources in waiting:
            was_held_back = is_held_back
            if not is_held_back:  # before the work is shared out, since those hired get theirs
                is_held_back = self._staff.hire(resources, waiting=left)
            num, only_new = left[resources], was_held_back
            left[resources] -= self._hand_out(resources, num, only_new=only_new, now=now)
            if not was_held_back:
                left[resources] -= self._hand_ahead(resources, left[resources], now=now)
                left[resources] -= self._refill(resources, left[resources], now=now)

    def _hand_out(
        self, resources: Resources, num_waiting: int, *, only_new: bool, now: float
    ) -> int:
        """Start packs on free workers of a size; give how many trials were handed out."""
        handed_out = 0
        share = self._staff.share(resources, num_waiting=num_waiting)
        for name in self._staff.ready(resources, only_new=only_new):
            if handed_out >= num_waiting:
                break
            claims = self._claim(name, resources, limit=share, ahead=False)
            if not claims:  # what waits is not due yet, or another orchestrator was faster
                break
            self._hand(name, claims, now=now)
            handed_out += len(claims)
        return handed_out

    def _hand_ahead(self, resources: Resources, num_waiting: int, *, now: float) -> int:
        """Hand packs to workers of a size that will soon be done; give the number of trials."""
        handed_out = 0
        for name in self._staff.nearly_done(resources, within_seconds=AHEAD_SECONDS):
            seat = self._staff.seats[name]
            while seat.is_nearly_done(now, within_seconds=AHEAD_SECONDS):
                limit = self._staff.share_ahead(name, num_waiting=num_waiting - handed_out)
                if limit < 1:
                    break
                claims = self._claim(name, resources, limit=limit, ahead=True)
                if not claims:  # or the next in line is for a worker that is free
                    return handed_out
                self._hand(name, claims, now=now)
                handed_out += len(claims)
        return handed_out

    def _refill(self, resources: Resources, num_waiting: int, *, now: float) -> int:
        """Hand trials of their shape to packs with free places; give the number of trials."""
        handed_out = 0
        for name, num_free in self._staff.with_free_places(resources, within_seconds=AHEAD_SECONDS):
            share = self._staff.share_ahead(name, num_waiting=num_waiting - handed_out)
            if (limit := min(num_free, share)) < 1:
                continue
            _, shape = self._staff.seats[name].packs[0].kind
            claims = self._claim(name, resources, limit=limit, ahead=True, like=shape)
            if claims:
                self._hand(name, claims, now=now)
                handed_out += len(claims)
        return handed_out

    def _claim(
        self,
        name: str,
        resources: Resources,
        *,
        limit: int,
        ahead: bool,
        like: str | None = None,
    ) -> tuple[Claim, ...]:
        return self._queue.claim(
            worker=name,
            limit=min(limit, MOST_MEMBERS),
            lease_seconds=self._settings.lease_seconds,
            resources=resources,
            site=self._staff.seats[name].site,
            ahead=ahead,
            like=like,
        )

    def _hand(self, name: str, claims: Sequence[Claim], *, now: float) -> None:
        self._staff.seats[name].begin(claims, now=now)
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
            resume_from=claim.resume_from,
            timeout_seconds=claim.timeout_seconds,
            strategy=claim.strategy,
            calibration=claim.calibration,
        )
