"""The workers of one pool: hired for what waits, sent home, benched, and ended.

Knows the pool and the seats; what is leased, and what is written of it, is the scheduler's.

Who is lost before it got anything done is hired again after a pause, which grows with every such
loss in a row: what ails the machine (memory, a full disk, somebody's kills) may pass. Where it
does not for `GIVE_UP_SECONDS`, a person is needed.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from experiments.planning.packing import MOST_MEMBERS, fair_share, with_remnant
from experiments.records import Resources
from orchestrator.pools.pool import Pool
from orchestrator.queueing.turns import COUNTED_AT_MOST
from orchestrator.scheduling.seats import Seat, Streak, suspects

GIVE_UP_SECONDS: Final = 60.0
"""How long losses may follow each other, with nothing done in between, before we give up."""

_MOST_IN_A_ROW: Final = 3
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 15.0

_log = logging.getLogger(__name__)


class WorkersDoNotLastError(Exception):
    """Workers, or the cluster that runs them, are lost again and again and nothing gets done."""


class _Losses:
    """Losses of one kind with nothing done in between."""

    def __init__(self) -> None:
        self.number = 0
        self.resume_at = -math.inf
        self.is_hopeless = False
        self._began_at = 0.0

    def count(self, *, now: float) -> None:
        """Note one more, which asks for a longer pause; and whether it is one too many."""
        if not self.number:
            self._began_at = now
        pause = min(_FIRST_PAUSE_SECONDS * 2**self.number, _LONGEST_PAUSE_SECONDS)
        self.number += 1
        self.resume_at = now + pause
        is_long = now - self._began_at >= GIVE_UP_SECONDS
        self.is_hopeless = self.number >= _MOST_IN_A_ROW and is_long

    def end(self) -> None:
        """Note that something was done."""
        self.number = 0
        self.resume_at = -math.inf


class Staff:
    """Hires and dismisses the workers of a pool, and remembers how each is doing."""

    def __init__(
        self, pool: Pool, *, clock: Callable[[], float], max_workers: int | None = None
    ) -> None:
        """`clock` gives seconds that only ever rise; `max_workers` None means all that fit."""
        self.seats: dict[str, Seat] = {}
        self._pool = pool
        self._clock = clock
        self._max_workers = max_workers
        self._at_start = _Losses()
        self._of_pools = _Losses()
        self._last_reason = ""
        self._inherited: defaultdict[Resources, list[Streak]] = defaultdict(list)
        self._too_large: set[Resources] = set()
        self._too_large_untold: list[Resources] = []

    # --- who is there

    def ready(self, resources: Resources, *, only_new: bool = False) -> Iterator[str]:
        """Name the workers of a size that can take a pack now."""
        now = self._clock()
        for name, seat in tuple(self.seats.items()):
            fits = seat.resources == resources and (seat.is_new(now) or not only_new)
            if fits and seat.takes_packs(now):
                yield name

    @property
    def most_that_matter(self) -> int:
        """How many waiting trials of an experiment to count: more would not change a share."""
        return max(COUNTED_AT_MOST, MOST_MEMBERS * len(self.seats))

    def share(self, resources: Resources, *, num_waiting: int) -> int:
        """Give the most trials that one worker of a size may take as a pack.

        Each gets no more than an equal part of what is left to do, which the others have under
        way included: else one would idle while another sat on a long pack.
        """
        seats = self._of_size(resources)
        left = num_waiting + sum(seat.num_left for seat in seats)
        share = fair_share(left, num_workers=len(seats))
        num_free = sum(not seat.busy for seat in seats)
        return share if num_free > 1 else with_remnant(share, num_waiting=num_waiting)

    def nearly_done(self, resources: Resources, *, within_seconds: float) -> Iterator[str]:
        """Name the busy workers of a size that need more to do within so many seconds."""
        now = self._clock()
        for name, seat in tuple(self.seats.items()):
            if seat.resources == resources and seat.is_nearly_done(
                now, within_seconds=within_seconds
            ):
                yield name

    def with_free_places(
        self, resources: Resources, *, within_seconds: float
    ) -> Iterator[tuple[str, int]]:
        """Name the workers of a size in whose packs places are free, and how many."""
        now = self._clock()
        for name, seat in tuple(self.seats.items()):
            num = seat.free_places(now, within_seconds=within_seconds)
            if seat.resources == resources and num:
                yield name, num

    def share_ahead(self, worker: str, *, num_waiting: int) -> int:
        """Give the most trials that a busy worker may take, to begin them later.

        With what it has no more than an equal part of what is left to do; and what the workers
        that are free, or coming up, can begin is theirs.
        """
        seat = self.seats[worker]
        seats = self._of_size(seat.resources)
        left = num_waiting + sum(each.num_left for each in seats)
        part = left / len(seats)
        num_free = sum(not each.busy for each in seats)
        not_theirs = num_waiting - num_free * fair_share(left, num_workers=len(seats))
        share = max(0, min(int(part - seat.num_left), not_theirs))
        return share if num_free else with_remnant(share, num_waiting=num_waiting)

    def _of_size(self, resources: Resources) -> list[Seat]:
        """Give the seats of a size that are given trials."""
        return [
            seat
            for seat in self.seats.values()
            if seat.resources == resources and seat.benched_at is None
        ]

    def arrived(self, worker: str, machine: str, engine: str) -> None:
        """Note that a hired worker is up."""
        self._at_start.end()
        self.seats[worker].machine = machine
        self.seats[worker].engine = engine

    def got_on(self) -> None:
        """Note that a trial was brought further: the workers last long enough for that."""
        self._of_pools.end()

    # --- who goes

    def bury(self, worker: str, reason: str) -> Seat:
        """Forget a worker that is gone; give its seat."""
        seat = self.seats.pop(worker)
        if seat.machine is None:
            self._at_start.count(now=self._clock())
            self._last_reason = reason
        return seat

    def end(self, worker: str, *, streak_lives_on: bool = False) -> Seat:
        """End a worker at once, even a frozen one; give its seat.

        `streak_lives_on` where its trials failed by it: the next worker of its size is likely
        to get its place, so that failures there go on counting.
        """
        self._pool.kill(worker)
        seat = self.seats.pop(worker)
        if streak_lives_on:
            self._inherited[seat.resources].append(seat.streak)
        return seat

    def end_unstarted(self, worker: str, reason: str) -> None:
        """End a worker that does not come up, which counts as lost while starting."""
        self._pool.kill(worker)
        self.bury(worker, reason)

    def disband(self, reason: str) -> Collection[Seat]:
        """Forget all workers, because what ran them is gone; give their seats."""
        seats, self.seats = self.seats, {}
        self._of_pools.count(now=self._clock())
        self._last_reason = reason
        return seats.values()

    def check(self) -> None:
        """Do nothing while hiring makes sense.

        Raises:
            WorkersDoNotLastError: For long, worker after worker was lost before its first pack,
                or the cluster died again and again and no trial got further.
        """
        if self._at_start.is_hopeless:
            raise WorkersDoNotLastError(
                f"{self._at_start.number} workers in a row were lost while starting: "
                f"{self._last_reason}"
            )
        if self._of_pools.is_hopeless:
            raise WorkersDoNotLastError(
                f"the workers' cluster died {self._of_pools.number} times and no trial got "
                f"further in between: {self._last_reason}"
            )

    def recall(self, worker: str, trial_ids: Collection[str]) -> None:
        """Have a worker begin none of these trials."""
        if trial_ids:
            self._pool.stop(worker, trial_ids)

    def bench_suspects(self) -> list[tuple[str, Seat]]:
        """Give no more packs to workers where trial after trial failed; name them.

        Each keeps its place on purpose: a new worker would get the same GPU or memory.
        """
        benched = [(name, self.seats[name]) for name in suspects(self.seats)]
        for _, seat in benched:
            seat.benched_at = self._clock()
        return benched

    # --- who comes

    def hire(self, resources: Resources, *, waiting: Mapping[Resources, int]) -> bool:
        """Hire for what waits for that size, sending idle workers of other sizes home.

        True where too few can be had and that is because others take the room. Nobody is hired
        during the pause after a loss.
        """
        if self._clock() < max(self._at_start.resume_at, self._of_pools.resume_at):
            return False
        free = sum(
            seat.resources == resources and not seat.busy and seat.benched_at is None
            for seat in self.seats.values()
        )
        while free < waiting[resources]:
            if not self._is_full(resources):
                self.seats[self._pool.hire(resources)] = self._new_seat(resources)
                free += 1
            elif not self._make_room(resources, waiting):
                is_kept_out = self._is_kept_out(resources)
                self._take_one_back(None if is_kept_out else resources)
                return is_kept_out
        return False

    def found_too_large(self) -> list[Resources]:
        """Give the sizes that trials wait for and no machine has, each of them once."""
        untold, self._too_large_untold = self._too_large_untold, []
        return untold

    def _new_seat(self, resources: Resources) -> Seat:
        now, inherited = self._clock(), self._inherited[resources]
        return Seat(resources, now, now, streak=inherited.pop() if inherited else Streak())

    def _make_room(self, resources: Resources, waiting: Collection[Resources]) -> bool:
        """Send one idle worker of another size home; False where none is to be had."""
        if not self._is_kept_out(resources):
            return False
        now = self._clock()
        for name, seat in self.seats.items():
            stays = seat.resources == resources or (seat.is_new(now) and seat.resources in waiting)
            if seat.takes_packs(now) and not stays:
                self._pool.dismiss(name)
                del self.seats[name]
                return True
        return False

    def _take_one_back(self, resources: Resources | None) -> None:
        """Take the longest benched back where only benched ones are left: better than nobody.

        Left of that size, which no other worker can be hired of, or left at all: those of other
        sizes would keep their room for ever.
        """
        its_size = [name for name, seat in self.seats.items() if seat.resources == resources]
        for names in (its_size, [*self.seats]):
            benched = [
                (seat.benched_at, name)
                for name in names
                if (seat := self.seats[name]).benched_at is not None
            ]
            if benched and len(benched) == len(names):
                _, name = min(benched)
                self.seats[name].benched_at, self.seats[name].streak = None, Streak()
                _log.warning("%s gets trials again: only benched workers are left", name)
                return

    def _is_full(self, resources: Resources) -> bool:
        at_limit = self._max_workers is not None and len(self.seats) >= self._max_workers
        return at_limit or not self._pool.room_for(resources)

    def _is_kept_out(self, resources: Resources) -> bool:
        """Say whether one more worker of this size would fit if the other sizes were gone."""
        num_hired = sum(seat.resources == resources for seat in self.seats.values())
        return self._fits_alone(resources, num_hired + 1)

    def _fits_alone(self, resources: Resources, num_workers: int) -> bool:
        if self._max_workers is not None and num_workers > self._max_workers:
            return False
        fits = self._pool.could_hold(resources, num_workers=num_workers)
        if num_workers == 1 and not fits and resources not in self._too_large:
            self._too_large.add(resources)
            self._too_large_untold.append(resources)
        return fits
