"""The verbs that read a spec: plan and submit; and schema, which describes one."""

from pathlib import Path

import click

from experiments.language.printable import printable
from trainyard.command.documents import plan_fields
from trainyard.command.output import (
    count,
    json_option,
    no_cache_option,
    print_json,
    reuse_of,
    say,
    spec_argument,
)


@click.command(help="Check a spec and show what would run; write nothing.")
@spec_argument
@click.option("--layers", is_flag=True, help="Show each network layer by layer.")
@no_cache_option
@json_option
def plan(spec: Path, layers: bool, no_cache: bool, as_json: bool) -> None:
    """Check a spec and show what would run."""
    from trainyard.api import plan as make

    planned = make(spec, reuse=reuse_of(no_cache))
    if as_json:
        print_json(plan_fields(planned))
        return
    from dashboards.plan_view import plan_view
    from dashboards.tables import console

    screen = console()
    for part in plan_view(planned, layers=layers):
        screen.print(part)
    say(f"\nNothing was written. Next: trainyard run {spec}{' --no-cache' if no_cache else ''}")


@click.command(help="Record an experiment and its trials.")
@spec_argument
@no_cache_option
@json_option
def submit(spec: Path, no_cache: bool, as_json: bool) -> None:
    """Record an experiment; the same spec again is the same experiment."""
    from trainyard.api import submit as record

    done = record(spec, reuse=reuse_of(no_cache))
    if as_json:
        print_json(
            {
                "experiment": done.name,
                "id": done.experiment_id,
                "trials": done.num_trials,
                "reused": done.num_reused,
                "new": done.new,
            }
        )
        return
    news = "recorded" if done.new else "already recorded"
    if done.num_reused:
        news += f", {done.num_reused:,} of them with results that were known (not trained again)"
    num = count(done.num_trials, "trial")
    click.echo(printable(f"{done.name} ({done.experiment_id}): {num} {news}"))
    say(f"in {done.store}\nNext: trainyard up --until-idle, or trainyard status {done.name}")


@click.command(help="Print the JSON Schema of a spec.")
def schema() -> None:
    """Print the JSON Schema, for editors that check YAML while it is typed."""
    import json

    from experiments.spec import spec_schema

    click.echo(json.dumps(spec_schema(), indent=2, ensure_ascii=False))
