"""A report's files shown in MLflow, with the runs that it is about first of all.

They are noted in the outbox, so that MLflow may be away for as long as the folder stays.
"""

import logging
from pathlib import Path
from typing import Final

from orchestrator.measurements.results import Results
from orchestrator.mirroring.mirror import tell_the_rest
from orchestrator.mirroring.report_folder import report_files
from orchestrator.queueing.outbox import FILES, Outbox
from orchestrator.settings import Settings
from orchestrator.store.rows import ExperimentRow, TrialRow

NUM_RUNS: Final = 3

_log = logging.getLogger(__name__)


def attach(
    settings: Settings, results: Results, outbox: Outbox, *, experiment: str, folder: Path
) -> tuple[str, ...]:
    """Have a report's files shown with the best runs; give their trials, the best one first.

    A process that goes on by itself tells MLflow. Where that cannot be started, the next
    orchestrator or `trainyard mlflow` does.

    Raises:
        NotFoundError: There is no such experiment, or no report in the folder.
        StoreError: The SQL store cannot be used.
    """
    found = results.resolve_experiment(experiment)
    report_files(folder)
    best = [trial.id for trial in best_trials(results, found)[:NUM_RUNS]]
    outbox.add(FILES, [f"{trial_id}/{folder.absolute()}" for trial_id in best])
    try:
        tell_the_rest(settings)
    except OSError as error:
        _log.warning("MLflow will be told of %s later: %s", folder, error)
    return tuple(best)


def best_trials(results: Results, experiment: ExperimentRow) -> list[TrialRow]:
    """Give each variant's best trial by the objective, the best one first."""
    sign = -1.0 if experiment.objective.goal == "maximize" else 1.0
    scored = [
        (sign * trial.objective_value, trial)
        for trial in results.trials(experiment.id)
        if trial.objective_value is not None
    ]
    best: dict[str, TrialRow] = {}
    for _, trial in sorted(scored, key=lambda pair: pair[0]):  # the first of equals
        best.setdefault(trial.variant, trial)
    return list(best.values())
