"""The verb that reads loss curves: diagnose."""

from collections import Counter

import click

from trainyard.command.documents import diagnosis_fields
from trainyard.command.output import experiment_argument, json_option, print_json, say


@click.command(help="Say what each loss curve shows, and what to change.")
@experiment_argument
@json_option
def diagnose(experiment: str, as_json: bool) -> None:
    """Read the curves of an experiment's trials: what is sick, by which numbers, what to try."""
    from trainyard.api import diagnose as read_curves
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        found = workplace.results.resolve_experiment(experiment)
    diagnoses = read_curves(found.id)
    if as_json:
        counts = Counter(finding.code.value for each in diagnoses for finding in each.findings)
        print_json(
            {
                "experiment": found.name,
                "counts": dict(counts),
                "trials": [diagnosis_fields(each) for each in diagnoses],
            }
        )
        return
    from dashboards.diagnosis_view import diagnosis_view
    from dashboards.tables import console

    screen = console()
    for part in diagnosis_view(found.name, diagnoses, width=screen.width):
        screen.print(part)
    if any(each.findings for each in diagnoses):
        say("The numbers behind them: trainyard show TRIAL, or --json")
