"""What the scheduler knows of each hired worker: what it works on, and whether it is well.

Plain objects and no clock: whoever asks says what time it is, in seconds that only rise.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from experiments.events import (
    CheckpointSaved,
    Failure,
    PointsMeasured,
    Said,
    StrategiesTimed,
    TrialBegun,
)
from experiments.planning.strategies import Strategy
from experiments.records import Resources
from experiments.states import FailureKind
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.timings import Site
from orchestrator.scheduling.pace import Kind, Pace

SILENT_SECONDS: Final = 10.0
"""A worker that was not heard of for so long is silent: its leases are not renewed."""

STAY_SECONDS: Final = 30.0
"""How long a worker is kept while there is work for it, whatever other size is first in line:
starting another takes seconds, and experiments of two sizes take turns trial by trial."""

START_SECONDS: Final = 600.0
"""A worker that is not up so long after it was hired hangs, or waits for room that never comes."""

MOST_FAILED_IN_A_ROW: Final = 3
"""So many trials that fail one after another may be the worker's fault."""

_MAY_BE_THE_WORKERS_FAULT: Final = frozenset(
    {FailureKind.ERROR, FailureKind.OUT_OF_MEMORY, FailureKind.STALLED}
)


@dataclass(slots=True)
class Streak:
    """The trials that failed one after another in one place, the first of them when."""

    began_at: float = 0.0
    trial_ids: set[str] = field(default_factory=set)
    message: str = ""


@dataclass(slots=True)
class Pack:
    """Trials that a worker was handed together; the shortest `stall_timeout` counts.

    `kind` is what trials have in common that take about as long as each other, `members` how many
    of them are trained as one program.
    """

    experiment_id: str
    trial_ids: tuple[str, ...]
    kind: Kind
    members: int
    stall_seconds: float | None
    goes_alone: bool
    has_failed: bool = False


def pack_of(claims: Sequence[Claim]) -> Pack:
    """Give what is to be known of trials that are handed out together, all of one experiment."""
    first = claims[0]
    limits = [each.stall_timeout_seconds for each in claims if each.stall_timeout_seconds]
    return Pack(
        experiment_id=first.experiment_id,
        trial_ids=tuple(claim.lease.trial_id for claim in claims),
        kind=(first.experiment_id, first.pack_shape),
        members=min(first.strategy.members, len(claims)),
        stall_seconds=min(limits, default=None),
        goes_alone=any(claim.goes_alone for claim in claims),
    )


@dataclass(slots=True)
class Seat:
    """A hired worker: its size, its machine, and the leases of the packs that it has.

    `machine` is None until it is up, and `engine`, what it trains with, is empty. Of its `packs`
    the first is under way, the others wait behind it. A pack stays until the worker says that it
    is done, which is later than the last word on its trials. A benched seat keeps its place and
    gets no more packs. `epochs` are those that each of its trials is to be trained for,
    `epochs_done` those that were heard of.
    """

    resources: Resources
    hired_at: float
    heard_at: float
    streak: Streak = field(default_factory=Streak)
    machine: str | None = None
    engine: str = ""
    packs: deque[Pack] = field(default_factory=deque)
    leases: dict[str, Lease] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    epochs_done: dict[str, int] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    progress: int | None = None
    progressed_at: float = 0.0
    reached: str = "its start"
    succeeded_at: float | None = None
    benched_at: float | None = None

    @property
    def busy(self) -> bool:
        """Whether it has a pack that is not done."""
        return bool(self.packs)

    def is_well(self, now: float) -> bool:
        """Say whether it is up, heard of, and to be given trials."""
        return self.machine is not None and self.benched_at is None and not self.is_silent(now)

    def takes_packs(self, now: float) -> bool:
        """Say whether it can be handed a pack now, to begin it at once."""
        return not self.busy and self.is_well(now)

    @property
    def site(self) -> Site:
        """Where it trains, and with what; it must be up."""
        assert self.machine is not None
        return Site(self.machine, self.engine)

    def is_new(self, now: float) -> bool:
        """Say whether it was hired so lately that its start should first pay."""
        return now - self.hired_at < STAY_SECONDS

    def begin(self, claims: Iterable[Claim], *, now: float) -> None:
        """Take a pack, to be trained at once or behind those that it has."""
        claims = tuple(claims)
        pack = pack_of(claims)
        for claim in claims:
            trial_id = claim.lease.trial_id
            self.leases[trial_id], self.epochs[trial_id] = claim.lease, claim.config.epochs
            self.epochs_done.pop(trial_id, None)
        self.packs.append(pack)
        if len(self.packs) == 1:
            self._turn_to(pack, now=now)

    def finish(self, *, now: float) -> list[Lease]:
        """Take the first pack for done, and turn to the next; give the leases left of it."""
        pack = self.packs.popleft()
        left = [self.leases.pop(each) for each in pack.trial_ids if each in self.leases]
        for trial_id in pack.trial_ids:
            del self.epochs[trial_id]
            self.epochs_done.pop(trial_id, None)
        if self.packs:
            self._turn_to(self.packs[0], now=now)
        else:
            self.pace.rest()
        return left

    def _turn_to(self, pack: Pack, *, now: float) -> None:
        self.pace.turn_to(pack.kind, now=now)
        self.progress, self.progressed_at, self.reached = None, now, "its start"

    def beat(self, progress: int | None, *, now: float) -> None:
        """Take a heartbeat: the count of what was done, None while there is none."""
        if progress is None or progress != self.progress:
            self.progress, self.progressed_at = progress, now
        if progress is None:
            self.pace.restart(now=now)

    def note_place(self, said: Said) -> None:
        """Remember how far a trial is, to tell a person where it stopped, and how fast it gets on.

        Of a trial that has left nothing is remembered.
        """
        match said:
            case TrialBegun(trial_id, epoch) if trial_id in self.leases:
                self.epochs_done[trial_id] = epoch
            case PointsMeasured(trial_id, points) if points and trial_id in self.leases:
                num = points[-1].epoch - self.epochs_done.get(trial_id, 0)
                self.pace.count(num / self.epochs[trial_id], now=self.heard_at)
                self.epochs_done[trial_id] = points[-1].epoch
                self.reached = f"epoch {points[-1].epoch}, step {points[-1].step}"
            case CheckpointSaved():
                self.reached = f"epoch {said.epoch}, step {said.step}"

    @property
    def num_left(self) -> float:
        """How many trials' training is left of its packs: half a trial is trained for 0.5 more."""
        return self._num_left_of(self.leases)

    def seconds_left(self, now: float) -> float | None:
        """Foresee how long it will be busy, by the pace of late; None where that is not known."""
        seconds, unheard_seconds = 0.0, self.pace.unheard_seconds(now)
        for pack in self.packs:
            num_left, of_one = self._num_left_of(pack.trial_ids), self.pace.seconds(pack.kind)
            if not num_left:
                continue
            if of_one is None:
                return None
            # Only of the first: a worker that is stuck there does not get on with the others.
            seconds += max(0.0, of_one * num_left - unheard_seconds)
            unheard_seconds = 0.0
        return seconds

    def is_nearly_done(self, now: float, *, within_seconds: float) -> bool:
        """Say whether it is well and busy, and needs more to do within so many seconds.

        Nobody waits behind a trial that is to share its worker with no other.
        """
        if not self.busy or not self.is_well(now) or any(pack.goes_alone for pack in self.packs):
            return False
        seconds = self.seconds_left(now)
        return seconds is not None and seconds < within_seconds

    def free_places(self, now: float, *, within_seconds: float) -> int:
        """Count the places in the pack under way that others of its shape could take.

        None if it is nearly done: then a whole pack is worth more.
        """
        if not self.packs or self.packs[0].members < 2:
            return 0
        seconds = self.seconds_left(now)
        is_open = self.is_well(now) and not any(pack.goes_alone for pack in self.packs)
        if not is_open or seconds is None or seconds < within_seconds:
            return 0
        return max(0, self.packs[0].members - len(self.leases))

    def note_strategy(self, event: StrategiesTimed) -> None:
        """Remember how many of a pack are trained as one program, as was just measured."""
        pack = self.pack_with(event.trial_id)
        if pack is not None:
            pack.members = min(Strategy.parse(event.chosen).members, len(pack.trial_ids))

    def _num_left_of(self, trial_ids: Iterable[str]) -> float:
        return sum(
            1 - self.epochs_done.get(trial_id, 0) / self.epochs[trial_id]
            for trial_id in trial_ids
            if trial_id in self.leases
        )

    @property
    def not_begun(self) -> list[Lease]:
        """The leases of trials that wait in it, which nothing that happens to it is due to.

        Those of a pack behind another one of which not every trial has ended: what was heard of
        it may be late. Behind one whose trials have all ended, the next has begun perhaps.
        """
        packs = [pack for pack in self.packs if not self.leases.keys().isdisjoint(pack.trial_ids)]
        return [
            self.leases[trial_id]
            for pack in packs[1:]
            for trial_id in pack.trial_ids
            if trial_id in self.leases and trial_id not in self.epochs_done
        ]

    @property
    def under_way(self) -> list[Lease]:
        """The leases of trials that it has begun, or may have."""
        waiting = {*self.not_begun}
        return [lease for lease in self.leases.values() if lease not in waiting]

    def pack_with(self, trial_id: str) -> Pack | None:
        """Give the pack that a trial belongs to; None where that is done."""
        return next((pack for pack in self.packs if trial_id in pack.trial_ids), None)

    def hangs_at_start(self, now: float) -> bool:
        """Say whether it should have been up long ago."""
        return self.machine is None and now - self.hired_at >= START_SECONDS

    def is_silent(self, now: float) -> bool:
        """Say whether nothing was heard of it lately."""
        return now - self.heard_at >= SILENT_SECONDS

    def is_stalled(self, now: float) -> bool:
        """Say whether it is there, and yet its trials made no progress for too long."""
        # Of the first pack, and of those from which some have joined it.
        limits = [
            pack.stall_seconds
            for place, pack in enumerate(self.packs)
            if pack.stall_seconds is not None
            and (place == 0 or not self.epochs_done.keys().isdisjoint(pack.trial_ids))
        ]
        if not self.leases or not limits or self.is_silent(now):
            return False
        return now - self.progressed_at >= min(limits)

    def count_failure(self, trial_id: str, failure: Failure, *, now: float) -> None:
        """Add a failed trial to the streak, unless it was nobody's fault but its own.

        Of a pack only the first: what one program ran into is one failure, however many share it.
        """
        if failure.kind not in _MAY_BE_THE_WORKERS_FAULT:
            return
        pack = self.pack_with(trial_id)
        if pack is not None and not pack.has_failed:
            pack.has_failed = True
            if not self.streak.trial_ids:
                self.streak.began_at = now
            self.streak.trial_ids.add(trial_id)
            self.streak.message = failure.message

    def count_success(self, trial_id: str, *, now: float) -> None:
        """End the streak: the worker can do it."""
        self.pace.count(self._num_left_of([trial_id]), now=now)
        self.succeeded_at = now
        self.streak = Streak()


def suspects(seats: Mapping[str, Seat]) -> list[str]:
    """Name the seats where trial after trial failed while another of their size had a success.

    Without that success the trials themselves are more likely to be at fault: workers of
    another size train other experiments.
    """
    return [
        name
        for name, seat in seats.items()
        if seat.benched_at is None
        and len(seat.streak.trial_ids) >= MOST_FAILED_IN_A_ROW
        and any(
            other.succeeded_at is not None and other.succeeded_at > seat.streak.began_at
            for other_name, other in seats.items()
            if other_name != name and other.resources == seat.resources
        )
    ]
