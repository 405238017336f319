"""The verbs that show what is recorded: status, watch, trials, curves, show."""

import csv
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from experiments.errors import NotFoundError
from experiments.language.printable import spreadsheet_cell
from trainyard.command.documents import (
    attempt_fields,
    incident_fields,
    point_fields,
    status_fields,
    trial_fields,
)
from trainyard.command.output import experiment_argument, json_option, print_json, say

if TYPE_CHECKING:
    from orchestrator.measurements.results import Results
    from orchestrator.store.rows import IncidentRow, OrchestratorRow, Overview, TrialRow


@click.command(help="Show counts, best so far, time left.")
@click.argument("experiment", metavar="[EXPERIMENT]", required=False)
@json_option
def status(experiment: str | None, as_json: bool) -> None:
    """Show how one experiment stands, or all of them."""
    from dashboards.incident_view import LATELY_SECONDS
    from orchestrator.store.database import StoreMissingError
    from trainyard.workplace import Workplace, num_under_way

    workplace = Workplace()
    overviews: Sequence[Overview] = ()
    incidents: Sequence[IncidentRow] = ()
    orchestrators: Sequence[OrchestratorRow] = ()
    try:
        results = workplace.results
    except StoreMissingError:
        if experiment is not None:
            raise
    else:
        chosen = None if experiment is None else [results.resolve_experiment(experiment).id]
        overviews, orchestrators = results.overviews(chosen), results.orchestrators()
        about = {None, *(overview.experiment.id for overview in overviews)}
        lately = results.incidents(within_seconds=LATELY_SECONDS)
        incidents = [incident for incident in lately if incident.experiment_id in about]
    if as_json:
        print_json(status_fields(overviews, incidents=incidents, orchestrators=orchestrators))
        return
    if not overviews:
        say(f"Nothing has been submitted to {workplace.settings.store_name} yet.")
        say("Next: trainyard init, then trainyard run quickstart.yaml")
        return
    from dashboards.incident_view import is_alive
    from dashboards.store_views import status_view
    from dashboards.tables import console

    is_one_gone = not all(map(is_alive, orchestrators))
    num_left = num_under_way(workplace.results) if is_one_gone else {}
    screen = console()
    for part in status_view(
        overviews,
        incidents=incidents,
        orchestrators=orchestrators,
        num_left=num_left,
        now=time.time(),
        width=screen.width,
    ):
        screen.print(part)


@click.command(help="Follow an experiment live.")
@experiment_argument
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds to wait at most.")
def watch(experiment: str, timeout: float | None) -> int:
    """Follow an experiment until it is finished; Ctrl-C detaches and cancels nothing."""
    from dashboards.progress import ProgressView
    from trainyard.api import wait
    from trainyard.command.work import exit_code

    try:
        with ProgressView() as view:
            overview = wait(experiment, timeout_seconds=timeout, on_poll=view.show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("detached; the work goes on") from None
    return exit_code(overview)


@click.command(help="List an experiment's trials.")
@experiment_argument
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@json_option
def trials(experiment: str, as_csv: bool, as_json: bool) -> None:
    """List an experiment's trials, one row each."""
    from trainyard.workplace import Workplace

    results = Workplace().results
    found = results.resolve_experiment(experiment)
    rows = results.trials(found.id)
    if as_json:
        print_json({"trials": [trial_fields(row) for row in rows]})
    elif as_csv:
        _print_csv(_flat(row) for row in rows)
    else:
        from dashboards.store_views import trials_table
        from dashboards.tables import console

        screen = console()
        screen.print(trials_table(found, rows, width=screen.width))
        if any(row.failure is not None for row in rows):
            say("Why one failed: trainyard show TRIAL")


@click.command(help="Print an experiment's curves.")
@experiment_argument
@click.option("--metric", "metrics", multiple=True, help="Only this metric (may be repeated).")
@json_option
def curves(experiment: str, metrics: tuple[str, ...], as_json: bool) -> None:
    """Print every measured point of an experiment, as CSV unless JSON is asked for."""
    from trainyard.workplace import Workplace

    results = Workplace().results
    found = results.resolve_experiment(experiment)
    points = results.curves(experiment_id=found.id, metrics=metrics or None)
    if metrics and not points:
        known = sorted({point.metric for point in results.curves(experiment_id=found.id)})
        raise NotFoundError(
            f"{experiment} has no points of {', '.join(metrics)}; "
            f"it has {', '.join(known) or 'none'}"
        )
    if as_json:
        print_json({"points": [point_fields(point) for point in points]})
    else:
        _print_csv(point_fields(point) for point in points)


@click.command(help="Show one trial: configuration, result, attempts, curves, diagnosis.")
@click.argument("trial", metavar="TRIAL")
@json_option
def show(trial: str, as_json: bool) -> None:
    """Show one trial whole."""
    from dashboards.diagnoses import diagnosis_of
    from trainyard.workplace import Workplace

    results = Workplace().results
    row = results.trial(trial)
    attempts, points = results.attempts(row.id), results.curves(trial_id=row.id)
    checkpoints, confusion = results.checkpoints(row.id), results.confusion(row.id)
    incidents = results.incidents(trial_id=row.id)
    config = results.config(row.id)
    findings = diagnosis_of(row, config, points).findings
    if as_json:
        print_json(
            {
                "trial": trial_fields(row),
                "findings": [finding.to_data() for finding in findings],
                "config": config.to_data(),
                "attempts": [attempt_fields(attempt) for attempt in attempts],
                "checkpoints": [
                    {"kind": item.kind, "epoch": item.epoch, "path": item.path}
                    for item in checkpoints
                ],
                "points": [point_fields(point) for point in points],
                "confusion": confusion and confusion.to_data(),
                "incidents": [incident_fields(incident) for incident in incidents],
            }
        )
        return
    from dashboards.tables import console
    from dashboards.trial_view import trial_view

    screen = console()
    for part in trial_view(
        row,
        config,
        findings=findings,
        attempts=attempts,
        points=points,
        checkpoints=checkpoints,
        confusion=confusion,
        incidents=incidents,
        source=_source(results, row),
        now=time.time(),
        width=screen.width,
    ):
        screen.print(part)


def _source(results: "Results", row: "TrialRow") -> str:
    """Name the trial that a result was taken from, and its experiment; empty where it was not."""
    if row.reused_from is None:
        return ""
    source = results.trial(row.reused_from)
    return f"{source.id} of {results.experiment(source.experiment_id).name}"


def _flat(row: "TrialRow") -> dict[str, Any]:
    fields = trial_fields(row)
    failure = fields.pop("failure")
    params, metrics = fields.pop("params"), fields.pop("metrics")
    return {**fields, **params, **metrics, "failure": failure and failure["message"]}


def _print_csv(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows that may differ in their columns; the first row's columns come first."""
    listed = list(rows)
    columns = list(dict.fromkeys(key for row in listed for key in row))
    writer = csv.DictWriter(sys.stdout, columns, restval="", lineterminator="\n")
    writer.writerow({name: spreadsheet_cell(name) for name in columns})
    for row in listed:
        writer.writerow(
            {
                key: spreadsheet_cell(value) if isinstance(value, str) else value
                for key, value in row.items()
            }
        )
