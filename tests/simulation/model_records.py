"""What the model remembers of experiments, trials and orchestrators."""

from collections import Counter
from dataclasses import dataclass, field

from experiments.records import CheckpointPolicy, Execution, Resources
from experiments.states import TERMINAL_STATES, AttemptState, FailureKind, TrialState


@dataclass
class ModelExperiment:
    """An experiment as asked for; `paused_by` is empty, "person" or "failures"."""

    id: str
    execution: Execution
    resources: Resources
    checkpoints: CheckpointPolicy
    paused_by: str = ""
    forgiven: int = 0


@dataclass
class ModelTrial:
    """A trial and everything that was acknowledged of it.

    `stop` is empty, "cancel" or "pause". `available_from` is when it may be claimed again at
    the earliest and at the latest. `points` are (value, fence) by (metric, step);
    `checkpoints` are those on record, as (kind, fence, epoch).
    """

    id: str
    experiment_id: str
    variant: str
    content_key: str
    shares: bool
    pack_shape: str | None
    state: TrialState = TrialState.QUEUED
    fence: int = 0
    orchestrator: str = ""
    expires_at: float = 0.0
    stop: str = ""
    is_paused: bool = False
    available_from: tuple[float, float] = (0.0, 0.0)
    spent: Counter[FailureKind] = field(default_factory=Counter)
    result: float | None = None
    reused_from: str | None = None
    is_told: bool = False
    attempts: dict[int, AttemptState] = field(default_factory=dict)
    points: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)
    checkpoints: set[tuple[str, int, int]] = field(default_factory=set)

    @property
    def is_terminal(self) -> bool:
        return self.state in TERMINAL_STATES


@dataclass
class ModelOrchestrator:
    """Who works on the store, as the table `orchestrator` has it."""

    id: str
    host: str
    process: str
    seen_at: float
