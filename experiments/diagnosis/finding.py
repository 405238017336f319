"""What the doctor finds, and what it suggests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Code(StrEnum):
    """What may be found."""

    DIVERGED = "diverged"
    STUCK_AT_CHANCE = "stuck_at_chance"
    NOT_LEARNING = "not_learning"
    DEAD_UNITS = "dead_units"
    TOO_SLOW = "too_slow"
    OSCILLATING = "oscillating"
    OVERFITTING = "overfitting"
    STILL_FALLING = "still_falling"
    JUMPS = "jumps"
    VAL_BELOW_TRAIN = "val_below_train"


class Severity(StrEnum):
    """How much it matters."""

    SICK = "sick"
    """The result is not what this variant could give: change something."""
    NOTE = "note"
    """Looks odd and is harmless."""


TITLES: Final[Mapping[Code, str]] = {
    Code.DIVERGED: "diverged",
    Code.STUCK_AT_CHANCE: "stuck at chance",
    Code.NOT_LEARNING: "not learning",
    Code.DEAD_UNITS: "dead units",
    Code.TOO_SLOW: "falling too slowly",
    Code.OSCILLATING: "oscillating",
    Code.OVERFITTING: "overfitting",
    Code.STILL_FALLING: "still falling at the end",
    Code.JUMPS: "jumps",
    Code.VAL_BELOW_TRAIN: "validation below training",
}
"""What people read; the worst first."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What to do about a finding: in words, and as hyperparameters of the spec (docs/spec.md).

    `change` is empty where nothing needs to, or where no hyperparameter would mend it.
    """

    words: str
    change: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a trial's curves say.

    `epoch` and `step` (from 1) are where it begins, None where it has no such place.
    `evidence` holds the numbers that it was decided by, by name.
    """

    code: Code
    severity: Severity
    evidence: Mapping[str, float]
    words: str
    suggestion: Suggestion
    epoch: int | None = None
    step: int | None = None

    @property
    def is_sick(self) -> bool:
        """Whether something should be changed."""
        return self.severity is Severity.SICK

    def to_data(self) -> dict[str, Any]:
        """Give the record as JSON-ready data."""
        return {
            "code": self.code.value,
            "severity": self.severity.value,
            "epoch": self.epoch,
            "step": self.step,
            "evidence": dict(self.evidence),
            "words": self.words,
            "suggestion": {
                "words": self.suggestion.words,
                "change": dict(self.suggestion.change),
            },
        }
