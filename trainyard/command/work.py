"""The verbs that make trials move: run, up, cancel, retry."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from experiments.errors import NotFoundError
from experiments.states import ExperimentState, TrialState
from trainyard.command.documents import status_fields
from trainyard.command.output import count, json_option, print_json, say, spec_argument

if TYPE_CHECKING:
    from orchestrator.rows import Overview

SOME_FAILED: Final = 4
INTERRUPTED: Final = 130

_workers_option = click.option("--workers", type=click.IntRange(1), help="Most workers at a time.")
_what_argument = click.argument("what", metavar="EXPERIMENT|TRIAL")


@click.command(help="Submit, and work until it is finished.")
@spec_argument
@_workers_option
@json_option
def run(spec: Path, workers: int | None, as_json: bool) -> int:
    """Submit a spec and work until its experiment is finished."""
    from dashboards.progress import ProgressView
    from orchestrator.settings import from_environment
    from trainyard.api import git_commit, plan
    from trainyard.working import work_on

    planned, store = plan(spec), from_environment().store_name

    def submitted(overview: "Overview") -> None:
        done = overview.experiment.num_trials - overview.num_open
        before = f", {done} of them done before" if done else ""
        what = f"{planned.experiment.name}: {count(len(planned.trials), 'trial')}{before}"
        say(f"{what}, recorded in {store}")

    overview = work_on(
        planned,
        num_workers=workers,
        git_commit=git_commit(spec),
        watcher=ProgressView(),
        on_submitted=submitted,
    )
    if as_json:
        print_json(status_fields([overview]))
    else:
        _say_what_came_of_it(overview)
    return exit_code(overview)


@click.command(help="Work on whatever is queued.")
@click.option("--until-idle", is_flag=True, help="End when nothing is left to do.")
@_workers_option
def up(until_idle: bool, workers: int | None) -> int:
    """Work on whatever is queued, until stopped or (if asked) until nothing is left."""
    from dashboards.progress import ProgressLog, mirror_late_text
    from orchestrator.rows import Overview
    from orchestrator.settings import from_environment
    from trainyard.working import work_on_everything

    say(f"working on {from_environment().store_name}; Ctrl-C stops gracefully")
    log, worked_on = ProgressLog(), dict[str, Overview]()

    def look(overviews: Sequence[Overview]) -> None:
        log.show(overviews)
        for overview in overviews:
            if overview.num_open or overview.experiment.id in worked_on:
                worked_on[overview.experiment.id] = overview

    done = work_on_everything(num_workers=workers, until_idle=until_idle, on_look=look)
    for overview in worked_on.values():
        if overview.state is ExperimentState.PAUSED:
            say(f"{overview.experiment.name} paused: {overview.experiment.paused_reason}")
    if not done.finished:
        say("stopped; trials under way are queued again")
        return INTERRUPTED
    if done.num_left_for_mlflow:
        say(mirror_late_text(done.num_left_for_mlflow))
    say("nothing is left to do. Next: trainyard status")
    return max((exit_code(overview) for overview in worked_on.values()), default=0)


@click.command(help="Stop an experiment or a trial.")
@_what_argument
def cancel(what: str) -> None:
    """Cancel what is queued at once, and ask what is running to stop."""
    from trainyard.workplace import Workplace

    done = Workplace().cancel(what)
    said = [f"{count(done.num_cancelled, 'trial')} cancelled"]
    if done.num_stopping:
        said.append(f"{done.num_stopping} running asked to stop")
    click.echo(f"{what}: {', '.join(said)}")


@click.command(help="Queue failed trials again.")
@_what_argument
@click.option("--failed", is_flag=True, help="Only failed ones (not those that were cancelled).")
def retry(what: str, failed: bool) -> None:
    """Queue again what failed or was cancelled, with a fresh number of attempts."""
    from trainyard.workplace import Workplace

    states = [TrialState.FAILED, TrialState.QUARANTINED]
    if not failed:
        states.append(TrialState.CANCELLED)
    queued = Workplace().retry(what, states=states)
    if not queued:
        raise NotFoundError(f"{what}: no trial ended in one of: {', '.join(states)}")
    click.echo(f"{what}: {count(queued, 'trial')} queued again")
    say("Next: trainyard up --until-idle (unless an orchestrator is up)")


def exit_code(overview: "Overview") -> int:
    """Give 0 where all went well, 4 where trials failed or the experiment paused."""
    failed = overview.counts[TrialState.FAILED] + overview.counts[TrialState.QUARANTINED]
    return SOME_FAILED if failed or overview.state is ExperimentState.PAUSED else 0


def _say_what_came_of_it(overview: "Overview") -> None:
    name = overview.experiment.name
    click.echo(f"{name} is {overview.state.value}: {_ended(overview)}")
    if overview.state is ExperimentState.PAUSED:
        say(f"It paused: {overview.experiment.paused_reason}")
    if exit_code(overview):
        say(f"Why: trainyard trials {name}. When it is mended: trainyard retry {name} --failed")
    say(f"Next: trainyard leaderboard {name}, or trainyard mlflow")


def _ended(overview: "Overview") -> str:
    parts: Sequence[str] = [
        f"{number} {state.value}" for state, number in overview.counts.items() if number
    ]
    return ", ".join(parts)
