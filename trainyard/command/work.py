"""The verbs that work on trials: run, up."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from experiments.language.printable import printable
from experiments.states import ExperimentState, TrialState
from trainyard.command.documents import status_fields
from trainyard.command.output import (
    count,
    json_option,
    no_cache_option,
    print_json,
    reuse_of,
    say,
    spec_argument,
)

if TYPE_CHECKING:
    from orchestrator.store.rows import IncidentRow, Overview

SOME_FAILED: Final = 4
INTERRUPTED: Final = 130

_wait_option = click.option(
    "--wait-for-mlflow", is_flag=True, help="End when MLflow has been told everything, too."
)
_workers_option = click.option("--workers", type=click.IntRange(1), help="Most workers at a time.")


@click.command(help="Submit, and work until it is finished.")
@spec_argument
@_workers_option
@_wait_option
@no_cache_option
@json_option
def run(
    spec: Path, workers: int | None, wait_for_mlflow: bool, no_cache: bool, as_json: bool
) -> int:
    """Submit a spec and work until its experiment is finished."""
    from orchestrator.instance import new_orchestrator
    from orchestrator.pools.pool_process import PoolProcess
    from orchestrator.settings import from_environment
    from trainyard.api import plan
    from trainyard.git_commit import git_commit

    planned, settings = plan(spec, reuse=reuse_of(no_cache)), from_environment()
    pool = PoolProcess(settings, orchestrator=new_orchestrator(), num_workers=workers)
    pool.launch()  # it imports Ray while this process imports all that follows
    from dashboards.progress import ProgressView
    from trainyard.working import work_on

    started = time.monotonic()

    def submitted(overview: "Overview") -> None:
        done = overview.experiment.num_trials - overview.num_open
        before = f", {done:,} of them done before" if done else ""
        if overview.num_reused:
            before += f" ({overview.num_reused:,} for other experiments)"
        what = f"{planned.experiment.name}: {count(len(planned.trials), 'trial')}{before}"
        say(f"{what}, recorded in {settings.store_name}")

    overview = work_on(
        planned,
        num_workers=workers,
        git_commit=git_commit(spec),
        wait_for_mlflow=wait_for_mlflow,
        pool=pool,
        watcher=ProgressView(),
        on_submitted=submitted,
    )
    incidents = _incidents(overview, seconds=time.monotonic() - started)
    if as_json:
        print_json(status_fields([overview], incidents=incidents))
    else:
        _say_what_came_of_it(overview, incidents)
    return exit_code(overview)


@click.command(help="Work on whatever is queued.")
@click.option("--until-idle", is_flag=True, help="End when nothing is left to do.")
@_workers_option
@_wait_option
def up(until_idle: bool, workers: int | None, wait_for_mlflow: bool) -> int:
    """Work on whatever is queued, until stopped or (if asked) until nothing is left."""
    from dashboards.pace import paused_text
    from dashboards.progress import ProgressLog, untold_text
    from orchestrator.settings import from_environment
    from orchestrator.store.rows import Overview
    from trainyard.working import work_on_everything

    if wait_for_mlflow and not until_idle:
        raise click.UsageError(
            "--wait-for-mlflow goes with --until-idle: `up` has no end otherwise"
        )
    say(f"working on {from_environment().store_name}; Ctrl-C stops gracefully")
    log, worked_on = ProgressLog(), dict[str, Overview]()

    def look(overviews: Sequence[Overview]) -> None:
        log.show(overviews)
        for overview in overviews:
            if overview.num_open or overview.experiment.id in worked_on:
                worked_on[overview.experiment.id] = overview

    done = work_on_everything(
        num_workers=workers, until_idle=until_idle, on_look=look, wait_for_mlflow=wait_for_mlflow
    )
    for overview in worked_on.values():
        if overview.state is ExperimentState.PAUSED:
            say(f"{overview.experiment.name} paused: {paused_text(overview)}")
    if not done.finished:
        say("stopped; trials under way are queued again")
        return INTERRUPTED
    if done.untold.num:
        say(untold_text(done.untold))
    say("nothing is left to do. Next: trainyard status")
    return max((exit_code(overview) for overview in worked_on.values()), default=0)


def exit_code(overview: "Overview") -> int:
    """Give 0 where all went well, 4 where trials failed or the experiment paused."""
    is_paused = overview.state is ExperimentState.PAUSED
    return SOME_FAILED if _num_failed(overview) or is_paused else 0


def _num_failed(overview: "Overview") -> int:
    return overview.counts[TrialState.FAILED] + overview.counts[TrialState.QUARANTINED]


def _incidents(overview: "Overview", *, seconds: float) -> "Sequence[IncidentRow]":
    """Give what happened to an experiment, and around it, within the last seconds."""
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        lately = workplace.results.incidents(within_seconds=seconds)
    about = (None, overview.experiment.id)
    return [incident for incident in lately if incident.experiment_id in about]


def _say_what_came_of_it(overview: "Overview", incidents: "Sequence[IncidentRow]") -> None:
    from dashboards.incident_view import incident_lines
    from dashboards.pace import paused_text

    name = printable(overview.experiment.name)
    click.echo(f"{name} is {overview.state.value}: {_ended(overview)}")
    for line in incident_lines(incidents, now=time.time()):
        say(line)
    if _num_failed(overview):
        say(f"Why: trainyard trials {name}. When it is mended: trainyard retry {name} --failed")
    if overview.state is ExperimentState.PAUSED:
        say(f"It paused: {paused_text(overview)}. To go on: trainyard resume {name}")
    say(f"Next: trainyard leaderboard {name}, or trainyard mlflow")


def _ended(overview: "Overview") -> str:
    parts: Sequence[str] = [
        f"{number} {state.value}" for state, number in overview.counts.items() if number
    ]
    return ", ".join(parts)
