"""A trial and a variant's best model as MLflow shall show them: plain values, read from the store.

MLflow itself is not needed here; `mlflow_mirror.py` sends what this module gives.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from experiments.architectures.architecture import Architecture
from experiments.errors import NotFoundError
from experiments.records import DataConfig, TrialConfig
from experiments.states import FailureKind, TrialState
from experiments.tasks import TASKS
from orchestrator.measurements.results import Results
from orchestrator.mirroring.report_folder import report_files
from orchestrator.store.rows import (
    CheckpointRow,
    Confusion,
    CurvePoint,
    ExperimentRow,
    TrialRow,
)

NOT_APPLICABLE: Final = "n/a"
"""A hyperparameter that other trials have: the parallel-coordinates chart drops runs without."""

_STATUS: Final = {
    TrialState.SUCCEEDED: "FINISHED",
    TrialState.CANCELLED: "KILLED",
    TrialState.PRUNED: "KILLED",
}
_OUR_TAGS: Final = frozenset({"experiment", "task", "variant", "seed", "diverged"})
_OUR_PREFIXES: Final = ("trainyard.", "mlflow.")
_BY_STEP: Final = "train/batch_loss"
_MOST_KEY_CHARACTERS: Final = 250
_MOST_VALUE_CHARACTERS: Final = 6000
_MOST_DIGEST_CHARACTERS: Final = 36


class Point(NamedTuple):
    """One number of a run; `step` is the epoch, or the step for losses of single batches."""

    key: str
    value: float
    timestamp_ms: int
    step: int


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """What a run was trained on. `profile` is JSON."""

    name: str
    digest: str
    profile: str


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A trial as a run."""

    experiment: str
    trial_id: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: tuple[Point, ...]
    confusion: Confusion | None
    dataset: DatasetRecord
    status: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A variant's best model: the weights of its best trial's selected epoch."""

    experiment: str
    trial_id: str
    name: str
    tags: Mapping[str, str]
    architecture: Architecture
    path: Path
    sha256: str
    epoch: int


@dataclass(frozen=True, slots=True)
class FilesRecord:
    """A report that is shown with a trial's run: its folder, and its files in that."""

    experiment: str
    trial_id: str
    folder: Path
    files: tuple[Path, ...]


class Records:
    """Reads runs and models from the store; keeps what is the same for all of an experiment."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._param_names: dict[str, frozenset[str]] = {}

    def run(self, trial_id: str) -> RunRecord | None:
        """Give a terminal trial with its whole curve; None while it is tried anew."""
        trial = self._results.trial(trial_id)
        if trial.finished_at is None:  # there will be more to say of it when it has ended
            return None
        return run_record(
            self._results.experiment(trial.experiment_id),
            trial,
            self._results.config(trial_id),
            curves=self._results.curves(trial_id=trial_id),
            confusion=self._results.confusion(trial_id),
            param_names=self._names(trial.experiment_id),
        )

    def model(self, experiment_id: str, variant: str) -> ModelRecord | None:
        """Give the checkpoint to show for a variant; None where none was kept."""
        experiment = self._results.experiment(experiment_id)
        trials = [
            (trial.objective_value, trial)
            for trial in self._results.trials(experiment_id, variant=variant)
            if trial.objective_value is not None
        ]
        if not trials:
            return None
        sign = 1 if experiment.objective.goal == "maximize" else -1
        _, best = max(trials, key=lambda pair: sign * pair[0])  # the first of equals
        return self.model_of(best)

    def model_of(self, trial: TrialRow) -> ModelRecord | None:
        """Give the checkpoint of a trial's selected epoch; None where none was kept."""
        chosen = self._results.selected_checkpoint(trial)
        if chosen is None:
            return None
        experiment = self._results.experiment(trial.experiment_id)
        architecture = self._results.config(trial.id).architecture
        return _model_record(experiment, trial, architecture, chosen)

    def files(self, trial_id: str, folder: Path) -> FilesRecord | None:
        """Give a report to show with a trial's run; None where it is not there any more."""
        try:
            files = report_files(folder)
        except NotFoundError:
            return None
        trial = self._results.trial(trial_id)
        experiment = self._results.experiment(trial.experiment_id)
        return FilesRecord(experiment.name, trial_id, folder, files)

    def _names(self, experiment_id: str) -> frozenset[str]:
        if experiment_id not in self._param_names:  # fixed since the submit
            self._param_names[experiment_id] = self._results.param_names(experiment_id)
        return self._param_names[experiment_id]


def run_record(
    experiment: ExperimentRow,
    trial: TrialRow,
    config: TrialConfig,
    *,
    curves: Iterable[CurvePoint],
    confusion: Confusion | None,
    param_names: Iterable[str],
) -> RunRecord:
    """Make a run of a terminal trial; `param_names` are all of its experiment's."""
    assert trial.finished_at is not None, f"trial {trial.id} has not ended"
    end_ms = _milliseconds(trial.finished_at)
    architecture = config.architecture
    params = {
        **dict.fromkeys(param_names, NOT_APPLICABLE),
        **trial.params,
        "parameters": architecture.parameters,
        "multiply_adds": architecture.multiply_adds,
    }
    # In this order MLflow keeps them, and the first metric is what its comparison begins with.
    points = [*_summary(experiment, trial, end_ms), *map(_point, curves)]
    return RunRecord(
        experiment=experiment.name,
        trial_id=trial.id,
        name=f"{trial.variant[:_MOST_KEY_CHARACTERS]} seed={trial.seed}",
        tags=_texts(_tags(experiment, trial)),
        params=_texts(params),
        # MLflow would store "not a number" as 0.
        points=tuple(point for point in points if math.isfinite(point.value)),
        confusion=confusion,
        dataset=_dataset(config.data),
        status=_STATUS.get(trial.state, "FAILED"),
        start_ms=_milliseconds(trial.started_at or trial.queued_at),
        end_ms=end_ms,
    )


def model_name(variant: str) -> str:
    """Spell a variant as MLflow lets a model be called."""
    return re.sub(r"[/:.%\"']", "_", variant)[:_MOST_KEY_CHARACTERS]


def _point(point: CurvePoint) -> Point:
    step = point.step if point.metric == _BY_STEP else point.epoch
    return Point(point.metric, point.value, point.timestamp_ms, step)


def _summary(experiment: ExperimentRow, trial: TrialRow, end_ms: int) -> Iterator[Point]:
    """Give the numbers that tables show: of the selected epoch, and of the test split.

    Of the former those alone that trials are judged by: a run's table has a column for each.
    All stand at step 0: of such metrics MLflow draws bars, a run each, and of others lines.
    """
    objective = experiment.objective.metric
    judged = {objective, f"val/{TASKS[experiment.task].headline}", "val/loss"}
    for name, value in sorted((trial.metrics or {}).items(), key=lambda each: each[0] != objective):
        if name.startswith("test/"):
            yield Point(name, value, end_ms, 0)
        elif name in judged:
            yield Point(f"best/{name}", value, end_ms, 0)


def _tags(experiment: ExperimentRow, trial: TrialRow) -> dict[str, Any]:
    tags = {
        **_users_tags(experiment.tags),
        "experiment": experiment.name,
        "task": experiment.task,
        "variant": trial.variant,
        "seed": trial.seed,
        "trainyard.experiment": experiment.name,
        "trainyard.experiment_id": experiment.id,
        "trainyard.trial": trial.id,
        "trainyard.fence": trial.num_attempts,
        "trainyard.variant": trial.variant,
        "trainyard.seed": trial.seed,
        "trainyard.state": trial.state,
        "mlflow.source.name": "trainyard",
        "mlflow.source.type": "LOCAL",
    }
    if experiment.git_commit is not None:
        tags["mlflow.source.git.commit"] = experiment.git_commit.removesuffix("-dirty")
        tags["mlflow.source.git.dirty"] = str(experiment.git_commit.endswith("-dirty"))
    if trial.reused_from is not None:
        tags["trainyard.reused_from"] = trial.reused_from
    if trial.selected_epoch is not None:
        tags["trainyard.selected_epoch"] = trial.selected_epoch
    if trial.strategy is not None:
        tags["trainyard.strategy"] = trial.strategy
    if trial.failure is not None:
        tags["trainyard.failure"] = trial.failure.kind
        tags["trainyard.failure.type"] = trial.failure.type
        tags["trainyard.failure.message"] = trial.failure.message
        if trial.failure.kind is FailureKind.NOT_FINITE:
            tags["diverged"] = "true"
    return tags


def _users_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Give a spec's tags as they are called in MLflow: where the name is ours, `spec.<name>`."""
    renamed: dict[str, str] = {}
    for tag, value in tags.items():
        name = _key(tag)
        while name in _OUR_TAGS or name.startswith(_OUR_PREFIXES) or name in renamed:
            name = f"spec.{name}"
        renamed[name] = value
    return renamed


def _dataset(data: DataConfig) -> DatasetRecord:
    profile = {name: getattr(data, name) for name in data.__dataclass_fields__}
    return DatasetRecord(data.name, data.digest[:_MOST_DIGEST_CHARACTERS], json.dumps(profile))


def _model_record(
    experiment: ExperimentRow, trial: TrialRow, architecture: Architecture, chosen: CheckpointRow
) -> ModelRecord:
    tags = {
        "variant": trial.variant,
        "seed": trial.seed,
        "trainyard.experiment_id": experiment.id,
        "trainyard.trial": trial.id,
    }
    return ModelRecord(
        experiment=experiment.name,
        trial_id=trial.id,
        name=model_name(trial.variant),
        tags=_texts(tags),
        architecture=architecture,
        path=Path(chosen.path),
        sha256=chosen.sha256,
        epoch=chosen.epoch,
    )


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Spell keys and values as MLflow takes them."""
    return {
        _key(key)[:_MOST_KEY_CHARACTERS]: str(value)[:_MOST_VALUE_CHARACTERS]
        for key, value in values.items()
    }


def _key(name: str) -> str:
    return re.sub(r"[^\w\-. :/]", "_", name)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
