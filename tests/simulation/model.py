"""What the queue promises, in plain dictionaries: no SQL, no locks, nothing of ours but records.

The simulation does the same to the model and to the real store, and compares the two after
every step. Where the promise leaves a choice open (which trial is next, how long a retry
waits), the model takes over what the store chose, after checking that it might.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

from experiments.events import CheckpointSaved, PointsMeasured, Said, TrialBegun
from experiments.planning.pack_shapes import pack_shape
from experiments.records import Experiment, Resources, ResumePoint, Trial
from experiments.states import AttemptState, FailureKind, TrialState
from orchestrator.queueing.leases import Lease
from tests.simulation.model_records import ModelExperiment, ModelOrchestrator, ModelTrial

GONE_SECONDS: Final = 60.0
LONGEST_DELAY_SECONDS: Final = 60.0

ONE_MORE: Final = (FailureKind.OUT_OF_MEMORY, FailureKind.STALLED)
NEVER: Final = (FailureKind.TIMEOUT, FailureKind.NOT_FINITE, FailureKind.DATA)
BAD: Final = (TrialState.FAILED, TrialState.QUARANTINED)


class Model:
    """The store as it must be."""

    def __init__(self) -> None:
        self.now = 0.0
        self.experiments: dict[str, ModelExperiment] = {}
        self.trials: dict[str, ModelTrial] = {}
        self.orchestrators: dict[str, ModelOrchestrator] = {}

    # --- what is asked of it

    def of(self, experiment_id: str) -> Iterator[ModelTrial]:
        return (each for each in self.trials.values() if each.experiment_id == experiment_id)

    def holds(self, lease: Lease) -> bool:
        trial = self.trials[lease.trial_id]
        return trial.state is TrialState.LEASED and trial.fence == lease.fence

    def leased(self) -> list[ModelTrial]:
        return [each for each in self.trials.values() if each.state is TrialState.LEASED]

    def sources(self, taker: ModelTrial) -> set[str]:
        """Give the trials whose own result a trial may take: all that it keeps was kept there."""
        keep = self.experiments[taker.experiment_id].checkpoints.keep
        return {
            each.id
            for each in self.trials.values()
            if taker.shares
            and each.content_key == taker.content_key
            and each.result is not None
            and not each.reused_from
            and set(keep) <= {kind for kind, *_ in each.checkpoints}
        }

    def may_be_claimed(self, trial: ModelTrial, resources: Resources) -> bool:
        """Say whether a claim breaks no promise by leasing the trial."""
        experiment = self.experiments[trial.experiment_id]
        return (
            trial.state is TrialState.QUEUED
            and not trial.is_paused
            and not experiment.paused_by
            and experiment.resources == resources
            and trial.available_from[0] <= self.now
            and not self._is_trained_now(trial)
            and not self.sources(trial)
        )

    def must_be_claimed(self, trial: ModelTrial, resources: Resources) -> bool:
        """Say whether a claim that leaves the trial in the line would starve it."""
        return trial.available_from[1] <= self.now and self.may_be_claimed(trial, resources)

    def goes_alone(self, trial: ModelTrial) -> bool:
        """Say whether a trial is trained with no other."""
        execution = self.experiments[trial.experiment_id].execution
        return execution.strategy == "plain" or self.must_go_alone(trial)

    def must_go_alone(self, trial: ModelTrial) -> bool:
        """Say whether a trial may share its worker with no other."""
        execution = self.experiments[trial.experiment_id].execution
        return trial.spent[FailureKind.LOST] >= execution.max_losses or any(
            trial.spent[kind] > 0 for kind in ONE_MORE
        )

    def _is_trained_now(self, trial: ModelTrial) -> bool:
        """Say whether another one is leased that will share its result."""
        return trial.shares and any(
            other.shares and other.content_key == trial.content_key for other in self.leased()
        )

    def resume_points(self, trial: ModelTrial) -> list[tuple[int, int]]:
        """Give (fence, epoch) of the checkpoints that a claim hands on, the newest first."""
        last = [(fence, epoch) for kind, fence, epoch in trial.checkpoints if kind == "last"]
        return sorted(last, reverse=True)[:2]

    def gone(self, *, me: str, alone: bool, host: str, alive: Collection[str]) -> set[str]:
        """Give the orchestrators that `me` may take for dead."""
        others = [each for each in self.orchestrators.values() if each.id != me]
        return {
            each.id
            for each in others
            if alone
            or each.seen_at < self.now - GONE_SECONDS
            or (each.host == host and each.process not in alive)
        }

    # --- what happens to it

    def lease(self, trial: ModelTrial, *, orchestrator: str, seconds: float) -> Lease:
        trial.state = TrialState.LEASED
        trial.fence += 1
        trial.orchestrator = orchestrator
        trial.expires_at = self.now + seconds
        trial.attempts[trial.fence] = AttemptState.RUNNING
        return Lease(trial.id, trial.fence)

    def _move(
        self, trial: ModelTrial, state: TrialState, attempt: AttemptState, *, delay: float = 0.0
    ) -> None:
        """End the running attempt; the trial goes to `state`, or where it was asked to go."""
        if state is TrialState.QUEUED and trial.stop == "cancel":
            state = TrialState.CANCELLED
        trial.attempts[trial.fence] = attempt
        trial.state = state
        trial.stop = ""
        trial.available_from = (0.0, self.now + delay if delay else 0.0)
        trial.is_told = False

    def succeed(self, lease: Lease, value: float, *, selected_epoch: int) -> None:
        trial = self.trials[lease.trial_id]
        self._move(trial, TrialState.SUCCEEDED, AttemptState.SUCCEEDED)
        trial.result = value
        self._settle_checkpoints(trial, selected_epoch)

    def _settle_checkpoints(self, trial: ModelTrial, selected_epoch: int) -> None:
        keep = self.experiments[trial.experiment_id].checkpoints.keep
        newest: set[tuple[str, int, int]] = set()
        for kind in keep:
            rows = [row for row in trial.checkpoints if row[0] == kind]
            if kind == "best":
                rows = [row for row in rows if row[2] == selected_epoch]
            newest |= set(sorted(rows)[-1:])
        trial.checkpoints = newest

    def fail(self, lease: Lease, kind: FailureKind) -> TrialState:
        """Charge the failure to its budget, and give the state that follows."""
        trial = self.trials[lease.trial_id]
        execution = self.experiments[trial.experiment_id].execution
        if kind is FailureKind.LOST and self._got_further(trial):
            trial.spent[kind] = 0
        trial.spent[kind] += 1
        limit = {FailureKind.ERROR: execution.retries, FailureKind.LOST: execution.max_losses}
        allowed = limit.get(kind, 1 if kind in ONE_MORE else 0)
        to = TrialState.QUEUED
        if trial.spent[kind] > allowed:
            to = TrialState.QUARANTINED if kind is FailureKind.LOST else TrialState.FAILED
        lost = kind is FailureKind.LOST
        attempt = AttemptState.EXPIRED if lost else AttemptState.FAILED
        self._move(trial, to, attempt, delay=LONGEST_DELAY_SECONDS)
        if to in BAD:
            self._pause_if_too_many_failed(self.experiments[trial.experiment_id])
        return trial.state

    def _got_further(self, trial: ModelTrial) -> bool:
        """Say whether the running attempt has saved a later epoch than all before it."""
        epochs = dict.fromkeys((trial.fence, 0), 0)
        for kind, fence, epoch in trial.checkpoints:
            if kind == "last":
                epochs[fence] = max(epochs.get(fence, 0), epoch)
        return epochs.pop(trial.fence) > max(epochs.values())

    def _pause_if_too_many_failed(self, experiment: ModelExperiment) -> None:
        allowed = experiment.execution.max_failed_trials
        if allowed is not None and self.num_bad(experiment.id) - experiment.forgiven >= allowed:
            experiment.paused_by = experiment.paused_by or "failures"

    def num_bad(self, experiment_id: str) -> int:
        return sum(each.state in BAD for each in self.of(experiment_id))

    def hand_back(self, lease: Lease, attempt: AttemptState) -> None:
        """End an attempt that is nobody's fault."""
        self._move(self.trials[lease.trial_id], TrialState.QUEUED, attempt)

    def speak_late(self, lease: Lease, said: AttemptState) -> None:
        """Note that an attempt which had expired spoke after all."""
        attempts = self.trials[lease.trial_id].attempts
        if attempts[lease.fence] is AttemptState.EXPIRED and said is not AttemptState.EXPIRED:
            attempts[lease.fence] = AttemptState.FENCED

    def begin(self, lease: Lease, *, step: int) -> None:
        points = self.trials[lease.trial_id].points
        for key, (_, fence) in list(points.items()):
            if key[1] > step and fence < lease.fence:
                del points[key]

    def measure(self, lease: Lease, metric: str, step: int, value: float) -> None:
        self.trials[lease.trial_id].points[metric, step] = (value, lease.fence)

    def save(self, lease: Lease, kind: str, epoch: int) -> None:
        trial = self.trials[lease.trial_id]
        trial.checkpoints.add((kind, lease.fence, epoch))
        rows = sorted(row for row in trial.checkpoints if row[0] == kind)
        trial.checkpoints -= set(rows[:-2])

    def reuse(self, trial: ModelTrial, source: str) -> None:
        """Give a trial another one's result; what it had measured itself goes."""
        assert source in self.sources(trial), f"{trial.id}: {source} has not all that it keeps"
        trial.state = TrialState.SUCCEEDED
        trial.reused_from = source
        trial.result = self.trials[source].result
        trial.points.clear()
        trial.checkpoints.clear()
        trial.is_told = False

    def cancel(self, trial: ModelTrial) -> None:
        if trial.state is TrialState.QUEUED:
            trial.state = TrialState.CANCELLED
            trial.is_told = False
        elif trial.state is TrialState.LEASED:
            trial.stop = "cancel"

    def retry(self, ended: Collection[ModelTrial]) -> None:
        """Queue ended trials again with fresh budgets; their experiments go on."""
        for experiment_id in {trial.experiment_id for trial in ended}:
            experiment = self.experiments[experiment_id]
            experiment.paused_by = ""
        for trial in ended:
            trial.state = TrialState.QUEUED
            trial.available_from = (0.0, 0.0)
            trial.spent.clear()
            trial.is_paused = False
        for experiment_id in {trial.experiment_id for trial in ended}:
            self.experiments[experiment_id].forgiven = self.num_bad(experiment_id)

    # --- people

    def submit(
        self, experiment: Experiment, trials: Sequence[Trial], row_of: Callable[[str], Any]
    ) -> int:
        """Take an experiment in; what is known already is reused. Gives how many trials."""
        self.experiments[experiment.id] = ModelExperiment(
            experiment.id, experiment.execution, experiment.resources, experiment.checkpoints
        )
        new = [
            ModelTrial(
                trial.id,
                experiment.id,
                trial.variant,
                trial.content_key,
                shares=experiment.execution.reuse,
                pack_shape=pack_shape(trial.config),
            )
            for trial in trials
        ]
        known = [trial for trial in new if self.sources(trial)]
        self.trials |= {trial.id: trial for trial in new}
        for trial in known:
            self.reuse(trial, row_of(trial.id).reused_from)
        return len(known)

    def pause(self, trial: ModelTrial, *, whole: bool) -> None:
        """Pause a trial, or its experiment: what runs is asked to stop."""
        theirs = list(self.of(trial.experiment_id)) if whole else [trial]
        if whole:
            self.experiments[trial.experiment_id].paused_by = "person"
        for each in theirs:
            if each.state is TrialState.LEASED and not each.stop:
                each.stop = "pause"
        if not whole and not trial.is_terminal:
            trial.is_paused = True

    def resume(self, trial: ModelTrial, *, whole: bool) -> None:
        """Let it go on; failures count from here."""
        experiment = self.experiments[trial.experiment_id]
        if whole:
            experiment.paused_by = ""
            experiment.forgiven = self.num_bad(experiment.id)
        else:
            trial.is_paused = False

    def hear(self, lease: Lease, event: Said) -> None:
        """Take what a worker says under a valid lease."""
        match event:
            case TrialBegun():
                self.begin(lease, step=event.step)
            case PointsMeasured():
                for point in event.points:
                    self.measure(lease, point.metric, point.step, point.value)
            case CheckpointSaved():
                self.save(lease, event.kind, event.epoch)

    def is_seen(self, orchestrator: str) -> bool:
        known = self.orchestrators.get(orchestrator)
        return known is not None and known.seen_at >= self.now - GONE_SECONDS

    def see(self, presence: ModelOrchestrator) -> None:
        """Take a sign of life; one that was struck off is registered again."""
        self.orchestrators[presence.id] = presence


def resume_epochs(points: Collection[ResumePoint]) -> list[tuple[int, int]]:
    """Give (fence, epoch) of what a claim hands on; the path of a sample carries the fence."""
    return [(int(point.path.split("/")[1]), point.epoch) for point in points]
