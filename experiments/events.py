"""What a worker may say of a trial, and to whom.

Plain frozen dataclasses, which are pickled on their way to the orchestrator. What a worker is
given is in `records.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from experiments.states import FailureKind, IncidentKind

MAX_CONFUSION_CLASSES: Final = 100


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, kept with the trial and its attempt."""

    kind: FailureKind
    type: str
    message: str
    traceback: str = ""

    def to_data(self) -> dict[str, str]:
        """Give the record as JSON-ready data."""
        return {
            "kind": self.kind.value,
            "type": self.type,
            "message": self.message,
            "traceback": self.traceback,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, str]) -> "Failure":
        """Rebuild the record from `to_data`'s result."""
        return cls(FailureKind(data["kind"]), data["type"], data["message"], data["traceback"])


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One measured number; time is Unix ms.

    `step` counts the finished steps. `epoch` counts the finished epochs; the point of a single
    step (`train/batch_loss`) carries the epoch under way.
    """

    metric: str
    epoch: int
    step: int
    value: float
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class TrialBegun:
    """Training starts, after so many finished epochs and steps: 0 unless from a checkpoint.

    What earlier attempts measured after that step no longer counts.
    """

    trial_id: str
    epoch: int
    step: int


@dataclass(frozen=True, slots=True)
class TrialNoted:
    """Something a person should know of, that did not end the trial."""

    trial_id: str
    kind: IncidentKind
    message: str


@dataclass(frozen=True, slots=True)
class StrategiesTimed:
    """Before a trial began, its worker measured how fast each way to train its shape is.

    `step_seconds` are those of a member's step, by the strategy's text; None of one that failed.
    `chosen` is the one that such trials should be trained by on this machine. It was measured
    for trials of `num_steps` steps together; `is_thorough` if there was time for all there are.
    """

    trial_id: str
    step_seconds: Mapping[str, float | None]
    chosen: str
    num_steps: int
    is_thorough: bool


@dataclass(frozen=True, slots=True)
class PointsMeasured:
    """A trial's curve grew (at the end of an epoch)."""

    trial_id: str
    points: tuple[MetricPoint, ...]


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """A checkpoint lies on disk, whole. `kind` is "best" or "last"."""

    trial_id: str
    kind: str
    epoch: int
    step: int
    path: str
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class TrialSucceeded:
    """A trial is done. `metrics` are those of the selected epoch, and the test split's.

    `confusion` counts the test split's examples (pixels, for masks): a row a true class, a
    column an answer; None where there are no classes, or more than `MAX_CONFUSION_CLASSES`.
    `duration_seconds` are those of the training that counts: before a checkpoint that the
    attempt went on from, too.
    `peak_memory_bytes` is the most that the worker's process (on a GPU: the device) held.
    `strategy` says how it ran (`strategies.Strategy.text`): "plain", or "fused, K members" where
    it was one of a pack of at most so many.
    """

    trial_id: str
    metrics: Mapping[str, float]
    selected_epoch: int
    duration_seconds: float
    confusion: tuple[tuple[int, ...], ...] | None = None
    peak_memory_bytes: int | None = None
    strategy: str = "plain"


@dataclass(frozen=True, slots=True)
class TrialFailed:
    """A trial ended by a failure; what it reported before stands."""

    trial_id: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class TrialStopped:
    """A trial ended because it was asked to stop."""

    trial_id: str


Said = TrialBegun | TrialNoted | PointsMeasured | CheckpointSaved
"""What a worker may say of a trial that goes on."""

Ending = TrialSucceeded | TrialFailed | TrialStopped
"""What ends a trial."""

Event = StrategiesTimed | Said | Ending
"""What a worker may say of a trial."""


class Reporter(Protocol):
    """Where a worker says what happens to its trials."""

    def report(self, event: Event) -> None:
        """Take one event; must not block the training."""

    def stop_requested(self, trial_id: str) -> bool:
        """Say whether the trial should end now; asked between steps."""
