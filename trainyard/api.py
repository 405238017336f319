"""The Python API: what the command line does, as functions.

import trainyard as ty
ty.run("experiments/recipes/quickstart.yaml")
frame = ty.trials("quickstart")
"""

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from experiments.errors import WaitTimeoutError
from experiments.planning.plan import Plan, make_plan
from experiments.spec import Spec, read_spec
from orchestrator.machine import capacity
from orchestrator.settings import from_environment
from trainyard.knowledge import Installation

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from experiments.comparison.leaderboard import Standing
    from orchestrator.queueing.interventions import Cancellation, Pause
    from orchestrator.store.rows import Overview

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


def leaderboard(experiment: str) -> "list[Standing]":
    """Rank an experiment's variants by its objective, over their seeds.

    Raises:
        NotFoundError: There is no such experiment.
    """
    from experiments.comparison.leaderboard import Outcome, rank
    from experiments.states import TERMINAL_STATES
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        found = workplace.results.resolve_experiment(experiment)
        rows = workplace.results.trials(found.id)
    outcomes = [
        Outcome(row.variant, row.params, row.seed, row.metrics or {}, row.state in TERMINAL_STATES)
        for row in rows
    ]
    return rank(outcomes, found.objective)


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


def git_commit(spec: SpecSource) -> str | None:
    """Give the commit of the repository that the spec (or else the process) stands in."""
    folder = Path.cwd()
    if not isinstance(spec, Mapping) and "\n" not in str(spec):
        folder = Path(spec).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "--verify", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
