"""The verbs that look after the installation: mlflow, doctor, db."""

import os
import sys

import click

from trainyard.command.output import json_option, print_json, say


@click.command(help="Open the MLflow UI on the right store.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def mlflow(port: int) -> None:
    """Serve MLflow's pages on this machine, on the store that the mirror writes."""
    from orchestrator.mlflow_server import command, environment, served_at
    from orchestrator.settings import from_environment, redacted

    settings = from_environment()
    if (address := served_at(settings)) is not None:
        say("MLflow is served already (MLFLOW_TRACKING_URI):")
        click.echo(address)
        return
    say(f"MLflow on {redacted(settings.mlflow_uri)}, until Ctrl-C:")
    click.echo(f"http://127.0.0.1:{port}")
    os.execve(sys.executable, command(settings, port=port), environment(settings))


@click.command(help="Say what is wrong here and how to mend it.")
@json_option
def doctor(as_json: bool) -> int:
    """Check Python, packages, home, store, data, Ray address and MLflow; exit 1 on a fault."""
    from orchestrator.settings import from_environment
    from trainyard.checks import check_installation

    checks = check_installation(from_environment())
    if as_json:
        fields = [{"check": c.name, "ok": c.ok, "found": c.found, "mend": c.mend} for c in checks]
        print_json({"checks": fields})
    else:
        for check in checks:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.found}")
            if check.mend:
                click.echo(f"      {check.mend}")
    return 0 if all(check.ok for check in checks) else 1


@click.group(help="Look after the store's schema.")
def db() -> None:
    """Look after the store's schema."""


@db.command(help="Bring the store to this version.")
def upgrade() -> None:
    """Bring the store to this version; an up-to-date one is left as it is."""
    from orchestrator.database import upgrade as bring_up
    from orchestrator.settings import from_environment

    settings = from_environment()
    bring_up(settings.database_url)
    click.echo(f"{settings.store_name} is up to date")
