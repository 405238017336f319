"""The Python API: what the command line does, as functions.

import trainyard as ty
ty.run("experiments/recipes/quickstart.yaml")
frame = ty.trials("quickstart")
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from experiments.errors import IncomparableError, NotFoundError, WaitTimeoutError
from experiments.planning.plan import Plan, make_plan
from experiments.spec import Spec, read_spec
from orchestrator.machine import capacity
from orchestrator.settings import from_environment
from trainyard.git_commit import git_commit
from trainyard.knowledge import Installation

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from dashboards.diagnoses import Diagnosis
    from experiments.comparison.comparison import Comparison
    from experiments.comparison.leaderboard import Outcome, Standing
    from experiments.records import Objective
    from orchestrator.mirroring.promotion import Promotion
    from orchestrator.queueing.interventions import Cancellation, Pause
    from orchestrator.store.rows import Overview
    from trainyard.reporting import Report
    from workers.portrait_records import Portrait

SpecSource = str | Path | Mapping[str, Any]
"""A spec: a file's path, YAML text, or plain values."""

_POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Submitted:
    """An experiment in the store. `new` is false where the same spec had been submitted.

    `num_reused` of its trials took a result that was known.
    """

    name: str
    experiment_id: str
    num_trials: int
    num_reused: int
    new: bool
    store: str


def plan(spec: SpecSource, *, reuse: bool | None = None) -> Plan:
    """Check a spec and list what would run; writes nothing.

    `reuse` stands in for the spec's `execution.reuse`, which makes it another experiment.

    Raises:
        SpecError: The spec is wrong; the error lists all faults.
        NotFoundError: There is no such file.
        StoreError: The store cannot be read, and `init` names something in it.
    """
    settings = from_environment()
    there = capacity() if settings.is_ray_embedded else None
    asked = read_spec(spec)
    if reuse is not None:
        asked = _with_reuse(asked, reuse)
    with Installation(settings) as knowledge:
        return make_plan(asked, data_root=settings.data, capacity=there, knowledge=knowledge)


def submit(spec: SpecSource, *, reuse: bool | None = None) -> Submitted:
    """Record an experiment and its trials, for an orchestrator to work on.

    The same spec again is the same experiment, and changes nothing. `reuse` as for `plan`.

    Raises:
        SpecError: The spec is wrong; nothing was written.
        StoreError: The store cannot be used.
    """
    from trainyard.workplace import Workplace

    planned = plan(spec, reuse=reuse)
    with Workplace() as workplace:
        done = workplace.queue.submit(
            planned.experiment,
            planned.trials,
            class_names=planned.data.class_names,
            git_commit=git_commit(spec),
        )
    return Submitted(
        name=planned.experiment.name,
        experiment_id=done.experiment_id,
        num_trials=len(planned.trials),
        num_reused=done.num_reused,
        new=done.new,
        store=workplace.settings.store_name,
    )


def run(
    spec: SpecSource,
    *,
    workers: int | None = None,
    reuse: bool | None = None,
    wait_for_mlflow: bool = False,
) -> "Overview":
    """Submit a spec and work until its experiment is finished; give its counts.

    `workers` is the most workers at a time (None: all that fit), `reuse` as for `plan`. A
    process of its own goes on telling MLflow, unless `wait_for_mlflow`.

    Raises:
        SpecError: The spec is wrong; nothing was written.
        DatasetError: The data set cannot be had here; nothing was written.
        StoreBusyError: Another orchestrator works on this store; nothing was written.
        KeyboardInterrupt: It was told to stop; what is finished stays finished.
    """
    from trainyard.working import work_on

    return work_on(
        plan(spec, reuse=reuse),
        num_workers=workers,
        git_commit=git_commit(spec),
        wait_for_mlflow=wait_for_mlflow,
    )


def wait(
    experiment: str,
    *,
    timeout_seconds: float | None = None,
    on_poll: Callable[["Overview"], None] | None = None,
) -> "Overview":
    """Wait until an experiment is finished, or paused with nothing under way; give its counts.

    Raises:
        NotFoundError: There is no such experiment.
        WaitTimeoutError: The time was up first.
    """
    from trainyard.working import is_over
    from trainyard.workplace import Workplace

    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    with Workplace() as workplace:
        found = workplace.results.resolve_experiment(experiment)
        while True:
            (overview,) = workplace.results.overviews([found.id])
            if on_poll is not None:
                on_poll(overview)
            if is_over(overview):
                return overview
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"{found.name}: {overview.num_open} trials are still open after "
                    f"{timeout_seconds:g} s"
                )
            time.sleep(_POLL_SECONDS)


def cancel(what: str) -> "Cancellation":
    """Cancel an experiment or a trial, by name or id: what waits at once, what runs soon.

    Raises:
        NotFoundError: There is neither.
    """
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        return workplace.cancel(what)


def pause(what: str) -> "Pause":
    """Begin nothing more of an experiment or a trial; what runs of it stops soon, and waits.

    Raises:
        NotFoundError: There is neither.
    """
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        return workplace.pause(what)


def resume(what: str) -> int:
    """Let go on what was paused, by `pause` or by failures; give how many trials wait again.

    Trials go on from their last checkpoints.

    Raises:
        NotFoundError: There is neither an experiment nor a trial of that name.
    """
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        return workplace.resume(what)


def retry(what: str, *, failed_only: bool = False) -> int:
    """Queue again what failed, and unless `failed_only` what was cancelled; give how many trials.

    Raises:
        NotFoundError: There is neither an experiment nor a trial of that name.
    """
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        return workplace.retry(what, failed_only=failed_only)


def trials(*experiments: str) -> "pd.DataFrame":
    """Give one row a trial, hyperparameters and metrics as columns (see docs/frames.md).

    Raises:
        NotFoundError: There is no such experiment.
    """
    from dashboards.frames import trials_frame
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        return trials_frame(workplace.results, workplace.experiments(*experiments))


def curves(*experiments: str) -> "pd.DataFrame":
    """Give every measured point, one a row (see docs/frames.md).

    Raises:
        NotFoundError: There is no such experiment.
    """
    from dashboards.frames import curves_frame
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        return curves_frame(workplace.results, workplace.experiments(*experiments))


def leaderboard(*experiments: str) -> "list[Standing]":
    """Rank the variants of an experiment, or of several, by their objective, over their seeds.

    Raises:
        NotFoundError: There is no such experiment.
        IncomparableError: They have not all the same task and objective.
    """
    from experiments.comparison.leaderboard import rank

    objective, outcomes = _outcomes(experiments)
    return rank(outcomes, objective)


def compare(*experiments: str, by: str, margin: float | None = None) -> "Comparison":
    """Compare the levels of a hyperparameter, paired on all the others and the seeds.

    `by` is its name; `variant` compares variants, and `experiment` several experiments. `margin` is
    the difference that is too small to matter (see docs/statistics.md).

    Raises:
        NotFoundError: There is no such experiment, or no trial has the hyperparameter.
        IncomparableError: The experiments have not all the same task and objective.
        ValueError: The margin is negative.
    """
    from experiments.comparison.comparison import compare as compare_levels

    if margin is not None and not margin >= 0:
        raise ValueError(f"margin must be 0 or more, got {margin}")
    objective, outcomes = _outcomes(experiments)
    try:
        return compare_levels(outcomes, by=by, objective=objective, margin=margin)
    except ValueError as error:
        raise NotFoundError(str(error)) from error


def export(
    *experiments: str, kind: str = "parquet", out: str | Path | None = None
) -> tuple[Path, ...]:
    """Write the frames of experiments as files of a kind (parquet, csv, json); give the files.

    All are written or none, into `out` (a folder of the home unless given); what else is in that
    folder stays.

    Raises:
        NotFoundError: There is no such experiment.
        OSError: The files cannot be written.
    """
    from dashboards.experiment_labels import folder_name
    from dashboards.export import write_frames
    from dashboards.frames import curves_frame, trials_frame
    from trainyard.workplace import Workplace
    from workers.files import whole_folder

    with Workplace() as workplace:
        found = workplace.experiments(*experiments)
        frames = {
            "trials": trials_frame(workplace.results, found),
            "curves": curves_frame(workplace.results, found),
        }
        folder = Path(out) if out is not None else workplace.settings.exports / folder_name(found)
    with whole_folder(folder) as partial:
        files = write_frames(partial, frames, formats=[kind])
    return tuple(folder / path.name for path in files)


def report(*experiments: str, out: str | Path | None = None, attach: bool = True) -> "Report":
    """Write the report of an experiment, or of several together; give where it is.

    It is one HTML page that needs nothing else, Markdown with pictures, the frames as CSV and
    Parquet, and a manifest; all are written or none, into `out` (a folder of the home unless
    given). Unless `attach` is false, MLflow comes to show them with the best runs of each
    experiment, as `attach_report` has it.

    Raises:
        NotFoundError: There is no such experiment.
        OSError: The files cannot be written.
    """
    from trainyard.reporting import write

    return write(experiments, out=None if out is None else Path(out), attach=attach)


def _outcomes(experiments: tuple[str, ...]) -> "tuple[Objective, list[Outcome]]":
    """Give the trials of experiments as comparisons see them, and what they are judged by."""
    from dashboards.experiment_labels import experiment_labels
    from dashboards.report.evidence import joined, outcomes_of, why_apart
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        found = workplace.experiments(*experiments)
        apart = why_apart(found)
        if apart:
            raise IncomparableError(f"these experiments cannot be compared: {apart}")
        outcomes = {row.id: outcomes_of(workplace.results, row) for row in found}
    labels = experiment_labels(found)
    if len(found) == 1:
        return found[0].objective, outcomes[found[0].id]
    return found[0].objective, joined({labels[id_]: each for id_, each in outcomes.items()})


def diagnose(experiment: str) -> "list[Diagnosis]":
    """Read the loss curves of an experiment's trials: what is sick, and what to change.

    One diagnosis a trial, in the order of the plan (docs/diagnosis.md).

    Raises:
        NotFoundError: There is no such experiment.
    """
    from dashboards.diagnoses import diagnoses
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        results = workplace.results
        found = results.resolve_experiment(experiment)
        return diagnoses(
            results.trials(found.id), results.configs(found.id), results.curve_columns(found.id)
        )


def load_model(trial_id: str) -> "torch.nn.Module":
    """Load a trial's network with the weights of its selected epoch, in evaluation mode.

    It takes raw inputs, as the data set stores them, and gives raw outputs, to which the
    trial's `output_activation` has not been applied; their shapes are those of the task (see
    `workers.predictor.load_predictor`).

    Raises:
        NotFoundError: There is no such trial, or it has no checkpoint.
        CheckpointError: The checkpoint is truncated or altered.
    """
    from orchestrator.measurements.known import selected_weights
    from trainyard.workplace import Workplace
    from workers.predictor import load_predictor

    with Workplace() as workplace:
        found = selected_weights(workplace.results, workplace.results.trial(trial_id))
    return load_predictor(Path(found.path), sha256=found.sha256)


def portrait(trial_id: str) -> "Portrait":
    """Show what a trial's network does on its test split: failures, filters, feature maps.

    The weights are those of its selected epoch. Its data is prepared here unless it is already,
    which may download it.

    Raises:
        NotFoundError: There is no such trial, or it has no checkpoint.
        CheckpointError: The checkpoint is truncated or altered.
        DatasetError: The data cannot be had here, or is not what the trial was trained on.
    """
    from orchestrator.measurements.known import selected_weights
    from trainyard.workplace import Workplace
    from workers.portrait import portray
    from workers.predictor import load_predictor
    from workers.staging import stage

    with Workplace() as workplace:
        row = workplace.results.trial(trial_id)
        found = selected_weights(workplace.results, row)
        config = workplace.results.config(row.id)
    data = stage(config.data, root=workplace.settings.data)
    return portray(load_predictor(Path(found.path), sha256=found.sha256), config, data)


def promote(experiment: str, *, trial: str | None = None) -> "Promotion":
    """Register the best trial's model (or that of `trial`) with MLflow, alias `champion`.

    The best trial has the best objective, on the validation split. MLflow is told of the trial at
    once, whatever else it has yet to be told. Asking twice is asking once.

    Raises:
        NotFoundError: There is no such experiment or trial, or it has no weights to promote.
        CheckpointError: The checkpoint is truncated or altered.
        MlflowUnavailableError: MLflow cannot be reached or used now.
    """
    from orchestrator.mirroring.promotion import promote as register
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        return register(
            workplace.settings, workplace.results, experiment=experiment, trial_id=trial
        )


def attach_report(experiment: str, folder: str | Path) -> tuple[str, ...]:
    """Have MLflow show a report with the experiment's best runs; give their trials.

    Those are the best trial of each of the three best variants, by the objective. A process of
    its own tells MLflow, which may be away for as long as the folder stays. Of the folder it shows
    what the report's manifest lists, and nothing else.

    Raises:
        NotFoundError: There is no such experiment, or no report in the folder.
    """
    from trainyard.reporting import attach_folder
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        return attach_folder(workplace, experiment, Path(folder))


def _with_reuse(spec: Spec, reuse: bool) -> Spec:
    """Give a spec as if `execution.reuse` had been written so."""
    if spec.execution.reuse == reuse:
        return spec
    execution = {**spec.plain.get("execution", {}), "reuse": reuse}
    told = f"# submitted with execution.reuse: {str(reuse).lower()}\n"
    return replace(
        spec,
        plain={**spec.plain, "execution": execution},
        execution=replace(spec.execution, reuse=reuse),
        text=spec.text and f"{spec.text.rstrip()}\n{told}",
    )
