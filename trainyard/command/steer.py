"""The verbs that change what is recorded: pause, resume, cancel, retry; also while it runs."""

import click

from experiments.errors import NotFoundError
from experiments.language.printable import printable
from trainyard.command.output import count, json_option, print_json, say

_what_argument = click.argument("what", metavar="EXPERIMENT|TRIAL")


@click.command(help="Let an experiment or a trial wait.")
@_what_argument
@json_option
def pause(what: str, as_json: bool) -> None:
    """Begin nothing more of it, and have what runs of it stop at its next step and wait.

    Trials go on from their last checkpoints after `resume`.
    """
    from trainyard.api import pause as act

    done = act(what)
    if as_json:
        print_json({"queued": done.num_queued, "stopping": done.num_stopping})
        return
    if not done.num_queued and not done.num_stopping:
        click.echo(printable(f"{what} is finished; nothing to pause"))
        return
    said = [f"paused; {count(done.num_queued, 'queued trial')} will wait"]
    if done.num_stopping:
        said.append(f"{done.num_stopping} running asked to stop and wait")
    _tell(what, ", ".join(said))
    say(f"Next, to go on: trainyard resume {what}")


@click.command(help="Let go on what was paused.")
@_what_argument
@json_option
def resume(what: str, as_json: bool) -> None:
    """Let go on what was paused, by `pause` or by execution.max_failed_trials.

    Of an experiment, trials that were paused one by one are resumed one by one.
    """
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        num = workplace.resume(what)
        is_over = not num and workplace.is_over(what)
    if as_json:
        print_json({"queued": num})
        return
    if is_over:
        click.echo(printable(f"{what} is finished; nothing to resume"))
        return
    if not num:
        _tell(what, "nothing had been waiting")
        return
    _tell(what, f"goes on; {count(num, 'trial')} had been waiting")
    say("Next: trainyard up --until-idle (unless an orchestrator is up)")


@click.command(help="Stop an experiment or a trial.")
@_what_argument
@json_option
def cancel(what: str, as_json: bool) -> None:
    """Cancel what is queued at once, and ask what is running to stop."""
    from trainyard.api import cancel as act

    done = act(what)
    if as_json:
        print_json({"cancelled": done.num_cancelled, "stopping": done.num_stopping})
        return
    said = [f"{count(done.num_cancelled, 'trial')} cancelled"]
    if done.num_stopping:
        said.append(f"{done.num_stopping} running asked to stop")
    _tell(what, ", ".join(said))


@click.command(help="Queue failed trials again.")
@_what_argument
@click.option("--failed", is_flag=True, help="Only failed ones (not those that were cancelled).")
@json_option
def retry(what: str, failed: bool, as_json: bool) -> None:
    """Queue again what failed or was cancelled, with a fresh number of attempts."""
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        num = workplace.retry(what, failed_only=failed)
    if not num and not workplace.is_in_doubt:
        how = "failed" if failed else "failed or was cancelled"
        raise NotFoundError(f"{what}: no trial of it {how}; `trainyard status` counts them")
    if as_json:
        print_json({"queued": num})
        return
    if num:  # or stderr has said that nobody knows
        _tell(what, f"{count(num, 'trial')} queued again")
    say("Next: trainyard up --until-idle (unless an orchestrator is up)")


def _tell(what: str, done: str) -> None:
    click.echo(printable(f"{what}: {done}"))
