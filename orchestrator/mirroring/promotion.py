"""The best trial's model registered with MLflow as the champion, when a person asks for it.

It is told at once, with its run, by the process that was asked, however far the mirror has
come: all that MLflow is told may be told twice, and by two at a time.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from experiments.errors import MlflowUnavailableError, NotFoundError, TrainyardError
from orchestrator.measurements.known import selected_weights
from orchestrator.measurements.results import Results
from orchestrator.mirroring.mirror import mlflow_habits
from orchestrator.mirroring.mlflow_drain import reason_of
from orchestrator.mirroring.mlflow_records import Records
from orchestrator.mirroring.private_log import secrets_of
from orchestrator.settings import Settings, redacted
from orchestrator.store.rows import ExperimentRow, TrialRow

CHAMPION: Final = "champion"
"""The alias of the version that was promoted last."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What MLflow's registry has now: `name` in version `version`, at `uri` for whoever loads it.

    `value` is the trial's objective `metric`. `replaced` is the version that was the champion
    before, if another; `new` is false where this version had been registered already.
    """

    name: str
    version: int
    uri: str
    store: str
    trial_id: str
    variant: str
    seed: int
    metric: str
    value: float | None
    replaced: int | None
    new: bool


def promote(
    settings: Settings, results: Results, *, experiment: str, trial_id: str | None = None
) -> Promotion:
    """Register the model of an experiment's best trial, or of the one named, as champion.

    The best one has the best objective, which is of the validation split. Asking twice is asking
    once.

    Raises:
        NotFoundError: There is no such experiment or trial, or it has no weights to promote.
        CheckpointError: The weights are missing or altered.
        MlflowUnavailableError: MLflow cannot be reached or used now.
        StoreError: The SQL store cannot be used.
    """
    found = results.resolve_experiment(experiment)
    trial = _best(results, found) if trial_id is None else _named(results, found, trial_id)
    selected_weights(results, trial)  # which says what is missing
    records = Records(results)
    run, model = records.run(trial.id), records.model_of(trial)
    assert run is not None
    assert model is not None
    with _asking(settings):
        from orchestrator.mirroring.mlflow_mirror import Mlflow

        mlflow = Mlflow(settings)
        mlflow.check()
        mlflow.write_run(run)
        version, before, new = mlflow.promote(model, alias=CHAMPION, about=_about(found, trial))
    return Promotion(
        name=found.name,
        version=version,
        uri=f"models:/{found.name}@{CHAMPION}",
        store=redacted(settings.mlflow_uri),
        trial_id=trial.id,
        variant=trial.variant,
        seed=trial.seed,
        metric=found.objective.metric,
        value=trial.objective_value,
        replaced=None if before == version else before,
        new=new,
    )


def _best(results: Results, experiment: ExperimentRow) -> TrialRow:
    (overview,) = results.overviews([experiment.id])
    if overview.best is None:
        raise NotFoundError(
            f"{experiment.name}: no trial has succeeded, so there is no model to promote; "
            f"`trainyard status {experiment.name}` says how they stand"
        )
    return overview.best


def _named(results: Results, experiment: ExperimentRow, trial_id: str) -> TrialRow:
    trial = results.trial(trial_id)
    if trial.experiment_id != experiment.id:
        raise NotFoundError(
            f"{trial.id} is no trial of {experiment.name} ({experiment.id}); "
            f"`trainyard trials {experiment.name}` lists them"
        )
    return trial


def _about(experiment: ExperimentRow, trial: TrialRow) -> str:
    """Describe a version for MLflow's pages: which trial, and its scores."""
    told = [f"Trial {trial.id}: {trial.variant}, seed {trial.seed}, epoch {trial.selected_epoch}."]
    if trial.objective_value is not None:
        told.append(f"Chosen by {experiment.objective.metric} = {trial.objective_value:.6g}.")
    scores = [
        f"{name} = {value:.6g}"
        for name, value in sorted((trial.metrics or {}).items())
        if name.startswith("test/")
    ]
    if scores:
        told.append(f"On the test split: {', '.join(scores)}.")
    return " ".join(told)


@contextmanager
def _asking(settings: Settings) -> Generator[None]:
    """Have MLflow be quick or fail, and say of a failure of its what it is."""
    habits = {name: value for name, value in mlflow_habits().items() if name not in os.environ}
    os.environ.update(habits)
    try:
        yield
    except TrainyardError:
        raise
    except Exception as error:  # what a server that is away or another version raises is open
        secrets = secrets_of((settings.mlflow_uri,), os.environ)
        reason = " ".join(reason_of(error, secrets=secrets).split())
        raise MlflowUnavailableError(
            f"MLflow at {redacted(settings.mlflow_uri)} cannot be told now: {reason}; "
            "MLFLOW_TRACKING_URI names it; nothing was changed here, so ask again"
        ) from error
    finally:
        for name in habits:
            os.environ.pop(name, None)
