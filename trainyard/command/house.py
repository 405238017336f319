"""The verbs that look after the installation, and MLflow: promote, mlflow, doctor, gc, db."""

import os
import sys
from pathlib import Path

import click

from experiments.errors import TrainyardError
from experiments.language.printable import printable
from trainyard.command.output import count, experiment_argument, json_option, print_json, say


@click.command(help="Register the best model with MLflow, as champion.")
@experiment_argument
@click.option("--trial", metavar="ID", help="This trial's model, not the best one's.")
@json_option
def promote(experiment: str, trial: str | None, as_json: bool) -> None:
    """Register a model in MLflow's registry under the experiment's name, alias `champion`.

    It is the one of the best trial by the objective, on the validation split.
    """
    from dashboards.diagnoses import diagnosis_of
    from experiments.diagnosis.finding import TITLES
    from trainyard.api import promote as act
    from trainyard.workplace import Workplace

    say("telling MLflow, which takes some seconds")
    done = act(experiment, trial=trial)
    with Workplace() as workplace:
        results = workplace.results
        row, points = results.trial(done.trial_id), results.curves(trial_id=done.trial_id)
        findings = diagnosis_of(row, results.config(row.id), points).findings
    if as_json:
        print_json(
            {
                "name": done.name,
                "version": done.version,
                "alias": "champion",
                "uri": done.uri,
                "store": done.store,
                "trial": done.trial_id,
                "variant": done.variant,
                "seed": done.seed,
                "metric": done.metric,
                "value": done.value,
                "replaced": done.replaced,
                "new": done.new,
                "findings": [finding.to_data() for finding in findings],
            }
        )
        return
    known = "" if done.new else ", which was registered before"
    click.echo(printable(f"{done.name} version {done.version} is the champion{known}"))
    score = "" if done.value is None else f"; {done.metric} {done.value:.4g} on validation"
    click.echo(printable(f"  trial   {done.trial_id}: {done.variant}, seed {done.seed}{score}"))
    if done.replaced is not None:
        click.echo(f"  before  version {done.replaced}")
    click.echo(printable(f"  where   {done.uri} in {done.store}"))
    for finding in findings:
        if finding.is_sick:
            say(f"Mind its curves: {TITLES[finding.code]}: {finding.words}")
    say(f'Next: mlflow.pytorch.load_model("{done.uri}"), or look at it: trainyard mlflow')


@click.command(help="Open the MLflow UI on the right store.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def mlflow(port: int) -> None:
    """Serve MLflow's pages on this machine, on the store that the mirror writes."""
    from dashboards.progress import untold_text
    from orchestrator.mirroring.mirror import tell_the_rest
    from orchestrator.mirroring.mlflow_server import command, environment, served_at
    from orchestrator.settings import from_environment, redacted
    from orchestrator.store.database import StoreMissingError

    settings = from_environment()
    try:
        if (untold := tell_the_rest(settings)).num:
            say(untold_text(untold))
    except StoreMissingError:
        pass  # nothing was ever submitted
    except (TrainyardError, OSError) as error:  # its pages can be looked at all the same
        say(f"MLflow is told nothing for now: {error}")
    if (address := served_at(settings)) is not None:
        say("MLflow is served already (MLFLOW_TRACKING_URI):")
        click.echo(printable(address))
        return
    say(f"MLflow on {redacted(settings.mlflow_uri)}, until Ctrl-C:")
    click.echo(f"http://127.0.0.1:{port}")
    os.execve(sys.executable, command(settings, port=port), environment(settings))


@click.command(help="Say what is wrong here and how to mend it.")
@json_option
def doctor(as_json: bool) -> int:
    """Check what trainyard stands on, and what went wrong of late; exit 1 on a fault."""
    from orchestrator.settings import from_environment
    from trainyard.checks import check_installation

    checks = check_installation(from_environment())
    if as_json:
        fields = [{"check": c.name, "ok": c.ok, "found": c.found, "mend": c.mend} for c in checks]
        print_json({"checks": fields})
    else:
        for check in checks:
            click.echo(printable(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.found}"))
            if check.mend:
                click.echo(printable(f"      {check.mend}"))
    return 0 if all(check.ok for check in checks) else 1


@click.command(help="Remove files of no more use.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def gc(dry_run: bool, as_json: bool) -> None:
    """Remove what lies in the home and is of no more use; safe while an orchestrator is up.

    That is: checkpoints that no result and no trial under way needs, files that were never
    finished, logs that are a month old. What is on record stays, and so does whatever belongs
    to trials of another store.
    """
    from dashboards.numbers import bytes_text
    from orchestrator.cleaning import collect
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        done = collect(workplace.results, workplace.settings, dry_run=dry_run)
    groups = done.groups()
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "bytes": done.num_bytes,
                "removed": [
                    {"what": what, "files": len(its), "bytes": sum(each.num_bytes for each in its)}
                    for what, its in groups.items()
                ],
                "unknown_trials": done.num_unknown,
            }
        )
        return
    for what, its in groups.items():
        size = bytes_text(sum(each.num_bytes for each in its))
        click.echo(f"{len(its):,} {what}: {size}")
    would = "would be removed" if dry_run else "removed"
    click.echo(f"{bytes_text(done.num_bytes)} {would}" if groups else "nothing to remove")
    if done.num_unknown:
        folders = count(done.num_unknown, "folder")
        say(f"{folders} of trials that are not in {workplace.settings.store_name} left alone")


@click.group(help="Back up or upgrade the store.")
def db() -> None:
    """Look after the store."""


@db.command(help="Bring the store to this version.")
def upgrade() -> None:
    """Bring the store to this version; an up-to-date one is left as it is."""
    from orchestrator.settings import from_environment
    from orchestrator.store.database import upgrade as bring_up

    settings = from_environment()
    bring_up(settings.database_url)
    click.echo(printable(f"{settings.store_name} is up to date"))


@db.command(help="Copy the store to a file, also while it is in use.")
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy a SQLite store, whole and as of one moment, to a file that is not there yet."""
    from orchestrator.settings import from_environment
    from orchestrator.store.backup import back_up
    from orchestrator.store.engines import connect

    settings = from_environment()
    connect(settings.database_url).dispose()  # which refuses what is no store's address
    back_up(settings.database_url, file)
    click.echo(printable(str(file)))
    say(f"{settings.store_name} is backed up; checkpoints are not in it (docs/durability.md)")
