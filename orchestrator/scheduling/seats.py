"""What the scheduler knows of each hired worker: what it works on, and whether it is well.

Plain objects and no clock: whoever asks says what time it is, in seconds that only rise.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from experiments.events import CheckpointSaved, Failure, PointsMeasured, Said, TrialBegun
from experiments.records import Resources
from experiments.states import FailureKind
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.timings import Site

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
class Seat:
    """A hired worker: its size, its machine, and the leases of the pack it works on.

    `machine` is None until it is up, and `engine`, what it trains with, is empty. `busy` lasts
    until the worker says that its pack is done, which is later than the last word on its trials: a
    pack handed out in between would be taken for the old one. A benched seat keeps its place and
    gets no more packs.
    `epochs` are those that each trial of its pack is to be trained for, `epochs_done` those that
    were heard of.
    """

    resources: Resources
    hired_at: float
    heard_at: float
    streak: Streak = field(default_factory=Streak)
    machine: str | None = None
    engine: str = ""
    busy: bool = False
    experiment_id: str | None = None
    leases: dict[str, Lease] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)
    epochs_done: dict[str, int] = field(default_factory=dict)
    pack_has_failed: bool = False
    stall_seconds: float | None = None
    progress: int | None = None
    progressed_at: float = 0.0
    reached: str = "its start"
    succeeded_at: float | None = None
    benched_at: float | None = None

    def takes_packs(self, now: float) -> bool:
        """Say whether it can be handed a pack now."""
        is_idle = self.machine is not None and not self.busy
        return is_idle and self.benched_at is None and not self.is_silent(now)

    @property
    def site(self) -> Site:
        """Where it trains, and with what; it must be up."""
        assert self.machine is not None
        return Site(self.machine, self.engine)

    def is_new(self, now: float) -> bool:
        """Say whether it was hired so lately that its start should first pay."""
        return now - self.hired_at < STAY_SECONDS

    def begin(self, claims: Iterable[Claim], *, now: float) -> None:
        """Take a pack, all of one experiment; its shortest `stall_timeout` counts."""
        claims = tuple(claims)
        self.busy = True
        self.experiment_id = next((claim.experiment_id for claim in claims), None)
        self.leases = {claim.lease.trial_id: claim.lease for claim in claims}
        self.epochs = {claim.lease.trial_id: claim.config.epochs for claim in claims}
        self.epochs_done = {}
        self.pack_has_failed = False
        limits = [each.stall_timeout_seconds for each in claims if each.stall_timeout_seconds]
        self.stall_seconds = min(limits, default=None)
        self.progress, self.progressed_at, self.reached = None, now, "its start"

    def beat(self, progress: int | None, *, now: float) -> None:
        """Take a heartbeat: the count of what was done, None while there is none."""
        if progress is None or progress != self.progress:
            self.progress, self.progressed_at = progress, now

    def note_place(self, said: Said) -> None:
        """Remember how far a trial is, to tell a person where it stopped."""
        match said:
            case TrialBegun(trial_id, epoch):
                self.epochs_done[trial_id] = epoch
            case PointsMeasured(trial_id, points) if points:
                self.epochs_done[trial_id] = points[-1].epoch
                self.reached = f"epoch {points[-1].epoch}, step {points[-1].step}"
            case CheckpointSaved():
                self.reached = f"epoch {said.epoch}, step {said.step}"

    @property
    def num_left(self) -> float:
        """How many trials' training is left of its pack: half a trial is trained for 0.5 more."""
        return sum(
            1 - self.epochs_done.get(trial_id, 0) / self.epochs[trial_id]
            for trial_id in self.leases
        )

    def hangs_at_start(self, now: float) -> bool:
        """Say whether it should have been up long ago."""
        return self.machine is None and now - self.hired_at >= START_SECONDS

    def is_silent(self, now: float) -> bool:
        """Say whether nothing was heard of it lately."""
        return now - self.heard_at >= SILENT_SECONDS

    def is_stalled(self, now: float) -> bool:
        """Say whether it is there, and yet its trials made no progress for too long."""
        if not self.leases or self.stall_seconds is None or self.is_silent(now):
            return False
        return now - self.progressed_at >= self.stall_seconds

    def count_failure(self, trial_id: str, failure: Failure, *, now: float) -> None:
        """Add a failed trial to the streak, unless it was nobody's fault but its own.

        Of a pack only the first: what one program ran into is one failure, however many share it.
        """
        if failure.kind in _MAY_BE_THE_WORKERS_FAULT and not self.pack_has_failed:
            self.pack_has_failed = True
            if not self.streak.trial_ids:
                self.streak.began_at = now
            self.streak.trial_ids.add(trial_id)
            self.streak.message = failure.message

    def count_success(self, *, now: float) -> None:
        """End the streak: the worker can do it."""
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
