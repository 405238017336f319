"""What the store's readers give: one frozen record a row, as the tables have them."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from experiments.events import Failure
from experiments.records import Objective
from experiments.states import TERMINAL_STATES, ExperimentState, IncidentKind, TrialState

OPEN_STATES: Final = tuple(state for state in TrialState if state not in TERMINAL_STATES)
"""The states of a trial that waits or is under way."""


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """A submitted experiment. Times are Unix seconds; `paused_reason` None means it goes on."""

    id: str
    name: str
    tags: Mapping[str, str]
    task: str
    objective: Objective
    num_trials: int
    created_at: float
    git_commit: str | None
    paused_reason: str | None


@dataclass(frozen=True, slots=True)
class RecordedSpec:
    """An experiment's spec: as plain data, and as the user wrote it (empty: given as values)."""

    plain: Mapping[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A trial as it stands; `metrics` are of the selected epoch, None unless it succeeded.

    So are `duration_seconds`, `peak_memory_bytes`, `machine` and `strategy` of the attempt that
    did; a trial that took another's result has no strategy, and of a pack the duration is shared.
    `num_attempts` counts executions so far, `failure` is the last one's. `reused_from` is the
    trial whose result this one took; `is_paused`, that it waits until a person says `resume`.
    """

    id: str
    experiment_id: str
    number: int
    variant: str
    seed: int
    params: Mapping[str, str | int | float | bool]
    state: TrialState
    num_attempts: int
    worker: str | None
    metrics: Mapping[str, float] | None
    objective_value: float | None
    selected_epoch: int | None
    duration_seconds: float | None
    peak_memory_bytes: int | None
    machine: str | None
    strategy: str | None
    failure: Failure | None
    stop_requested: bool
    is_paused: bool
    reused_from: str | None
    queued_at: float
    started_at: float | None
    finished_at: float | None


class TrialColumns(NamedTuple):
    """Trials as they stand, by column, as a frame takes them; the items of one place are a trial.

    The fields are those of `TrialRow`; `params` and `metrics` are JSON texts, since many trials
    have equal ones (of hyperparameters), or are read faster all at once; `failure` is its message.
    """

    id: list[str]
    number: list[int]
    variant: list[str]
    seed: list[int]
    params: list[str]
    state: list[str]
    num_attempts: list[int]
    reused_from: list[str | None]
    metrics: list[str | None]
    selected_epoch: list[int | None]
    duration_seconds: list[float | None]
    peak_memory_bytes: list[int | None]
    machine: list[str | None]
    strategy: list[str | None]
    queued_at: list[float]
    started_at: list[float | None]
    finished_at: list[float | None]
    failure: list[str | None]


@dataclass(frozen=True, slots=True)
class Confusion:
    """How a succeeded trial's network answered on the test split.

    `counts[i][j]` examples (pixels, for masks) of class i were taken for class j.
    """

    class_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def to_data(self) -> dict[str, Any]:
        """Give the record as JSON-ready data."""
        return {"classes": list(self.class_names), "counts": [list(row) for row in self.counts]}

    def precision(self, index: int) -> float | None:
        """Give the share of a class's answers that are right; None where it is never answered."""
        return _share(self.counts[index][index], of=sum(row[index] for row in self.counts))

    def recall(self, index: int) -> float | None:
        """Give the share of a class's examples that are found; None where it has none."""
        return _share(self.counts[index][index], of=sum(self.counts[index]))


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One execution of a trial.

    `begun_epoch` is that of the checkpoint that it went on from; 0 for a start, None until it
    has begun. `orchestrator` is empty where an older version did not note it.
    """

    trial_id: str
    fence: int
    state: str
    worker: str
    orchestrator: str
    begun_epoch: int | None
    started_at: float
    ended_at: float | None
    failure: Failure | None


class CurvePoint(NamedTuple):
    """One measured number; a tuple, since a million of them are read at once."""

    trial_id: str
    metric: str
    epoch: int
    step: int
    value: float
    timestamp_ms: int


class CurveColumns(NamedTuple):
    """Measured numbers by column, as a frame takes them; the items of one place are a point.

    The fields are those of `CurvePoint`; integers of 64 bits ("q"), values as doubles ("d").
    """

    trial_id: list[str]
    metric: list[str]
    epoch: "array[int]"
    step: "array[int]"
    value: "array[float]"
    timestamp_ms: "array[int]"

    @classmethod
    def empty(cls) -> "CurveColumns":
        """Give columns to which points are added."""
        return cls([], [], array("q"), array("q"), array("d"), array("q"))


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A checkpoint on record, of a kind ("best", "last"); `trial_id` is the trial that wrote it."""

    trial_id: str
    kind: str
    fence: int
    epoch: int
    step: int
    path: str
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class RecordedFiles:
    """Which checkpoints of a trial are on record: its fence now, and each one's with its path."""

    trial_id: str
    state: TrialState
    fence: int
    files: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """What went wrong, and what was done about it; `at` in Unix seconds."""

    at: float
    kind: IncidentKind
    experiment_id: str | None
    trial_id: str | None
    message: str


@dataclass(frozen=True, slots=True)
class OrchestratorRow:
    """Who works, or worked until it died, on the store: last seen `age_seconds` ago.

    Its process can be looked for in its `place` (`instance.place_on`), which is on `host`.
    """

    id: str
    host: str
    place: str
    process: str
    started_at: float
    seen_at: float
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Overview:
    """An experiment at a glance.

    `counts` has every state. `num_reused` trials took a result that was known, `num_paused`
    open ones wait for a person. `num_recent` ended within the window that was asked for, the
    last at `last_finished_at`; reused ones took no time, and are left out of both.
    `best` is None until a trial has succeeded.
    """

    experiment: ExperimentRow
    counts: Mapping[TrialState, int]
    num_reused: int
    num_paused: int
    best: TrialRow | None
    num_recent: int
    first_started_at: float | None
    last_finished_at: float | None

    @property
    def num_open(self) -> int:
        """How many trials wait or are under way."""
        return sum(self.counts[state] for state in OPEN_STATES)

    @property
    def state(self) -> ExperimentState:
        """The experiment's state, which follows from its trials'."""
        if self.num_open == 0:
            return ExperimentState.FINISHED
        if self.experiment.paused_reason is not None or self.num_paused == self.num_open:
            return ExperimentState.PAUSED
        started = self.first_started_at is not None
        return ExperimentState.RUNNING if started else ExperimentState.QUEUED


def _share(part: int, *, of: int) -> float | None:
    return part / of if of else None


def encode_metrics(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Give metrics as JSON can hold them: numbers that are not finite as words."""
    return {name: value if math.isfinite(value) else repr(value) for name, value in metrics.items()}


def decode_metrics(data: Mapping[str, float | str] | None) -> dict[str, float] | None:
    """Give back what `encode_metrics` was given."""
    return None if data is None else {name: float(value) for name, value in data.items()}
