"""The states of trials, attempts and experiments, and the one table of a trial's transitions.

Queue, scheduler and reports agree on them by using these.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class TrialState(StrEnum):
    """Where a trial stands; the last five are terminal."""

    QUEUED = "queued"
    """Waits for a worker (perhaps not before a point in time, after a failure)."""
    LEASED = "leased"
    """A worker has the right to it, until the lease expires."""
    SUCCEEDED = "succeeded"
    """Its result is recorded; nothing can change it."""
    FAILED = "failed"
    """It failed and may not be tried again (unless a person asks: `retry`)."""
    CANCELLED = "cancelled"
    """A person stopped it."""
    PRUNED = "pruned"
    """Early stopping ended it."""
    QUARANTINED = "quarantined"
    """It took its worker down again and again."""


TERMINAL_STATES: Final = frozenset(
    {
        TrialState.SUCCEEDED,
        TrialState.FAILED,
        TrialState.CANCELLED,
        TrialState.PRUNED,
        TrialState.QUARANTINED,
    }
)

TRANSITIONS: Final[Mapping[TrialState, frozenset[TrialState]]] = {
    # Straight to its end when the same configuration has given its result elsewhere.
    TrialState.QUEUED: frozenset({TrialState.LEASED, TrialState.CANCELLED, TrialState.SUCCEEDED}),
    TrialState.LEASED: frozenset({TrialState.QUEUED}) | TERMINAL_STATES,
    TrialState.SUCCEEDED: frozenset(),
    # Only a person's `retry` leads out of these; nothing that trainyard does by itself.
    TrialState.FAILED: frozenset({TrialState.QUEUED}),
    TrialState.CANCELLED: frozenset({TrialState.QUEUED}),
    TrialState.PRUNED: frozenset(),
    TrialState.QUARANTINED: frozenset({TrialState.QUEUED}),
}


class AttemptState(StrEnum):
    """How one execution of a trial stands."""

    RUNNING = "running"
    """Holds the trial's lease."""
    SUCCEEDED = "succeeded"
    """Recorded the trial's result."""
    FAILED = "failed"
    """Ended by a failure of its own."""
    EXPIRED = "expired"
    """Lost its worker, or did not renew its lease in time."""
    CANCELLED = "cancelled"
    """Stopped because the trial was cancelled, or handed back at a shutdown."""
    PRUNED = "pruned"
    """Stopped by early stopping."""
    FENCED = "fenced"
    """Reported after its lease had passed to another attempt; what it said was dropped."""


class ExperimentState(StrEnum):
    """Derived from an experiment's trials; stored nowhere."""

    QUEUED = "queued"
    """No trial has started yet."""
    RUNNING = "running"
    """Some trials are done or under way, others wait."""
    PAUSED = "paused"
    """No further trial is claimed, for the reason kept with the experiment."""
    FINISHED = "finished"
    """Every trial is terminal."""


class FailureKind(StrEnum):
    """Why an attempt failed; each kind has its own rule for trying again."""

    ERROR = "error"
    """The trial's own code raised."""
    LOST = "lost"
    """Its worker, or the worker's machine, went away."""
    OUT_OF_MEMORY = "out_of_memory"
    """Device or host memory ran out."""
    TIMEOUT = "timeout"
    """It took longer than `execution.timeout`."""
    NOT_FINITE = "not_finite"
    """The loss became infinite or not a number."""
    STALLED = "stalled"
    """It made no progress for `execution.stall_timeout`, although its worker was there."""
    DATA = "data"
    """The data set is not what it should be (one that cannot be had now is an `error`)."""


class IncidentKind(StrEnum):
    """What went wrong around the trials, and was dealt with: told by `status` and `doctor`."""

    WORKER_LOST = "worker_lost"
    """A worker died, its trial was queued again; or it never came up."""
    WORKER_SILENT = "worker_silent"
    """A worker was not heard of until its lease expired; its trial was queued again."""
    WORKER_BENCHED = "worker_benched"
    """Trial after trial failed on a worker while others did well; it gets no more of them."""
    TRIAL_STALLED = "trial_stalled"
    """A trial made no progress; its worker was ended."""
    TRIAL_TOO_LARGE = "trial_too_large"
    """Trials wait for more CPUs or GPUs than any machine has."""
    TRIAL_QUARANTINED = "trial_quarantined"
    """A trial took its worker down again and again; it was set aside."""
    EXPERIMENT_PAUSED = "experiment_paused"
    """Too many trials failed; nothing more of the experiment is begun."""
    CLUSTER_LOST = "cluster_lost"
    """Ray died; it was started again."""
    ORCHESTRATOR_LOST = "orchestrator_lost"
    """An orchestrator died; its trials were queued again."""
    STORE_UNREACHABLE = "store_unreachable"
    """The store could not be used for a while; what was to be written was kept until it could."""
    CHECKPOINT_NOT_WRITTEN = "checkpoint_not_written"
    """A checkpoint found no room; the training went on, the previous checkpoint stays good."""
    CHECKPOINT_REJECTED = "checkpoint_rejected"
    """A checkpoint was missing, truncated or altered; an earlier one was used, or none."""
