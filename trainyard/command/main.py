"""The `trainyard` command: finds the verb, runs it, and turns errors into exit codes."""

import errno
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from experiments.errors import SpecError, StoreUnavailableError, TrainyardError
from trainyard.command.output import say
from trainyard.version import VERSION

INTERRUPTED: Final = 130
INTERNAL: Final = 1

VERBS: Final = {
    # Start.
    "recipes": ("recipes", "List the recipes, or print one."),
    "init": ("recipes", "Copy a recipe to this folder, to start from."),
    # Ask.
    "plan": ("ask", "Check a spec and show what would run; write nothing."),
    "submit": ("ask", "Record an experiment and its trials."),
    "schema": ("ask", "Print the JSON Schema of a spec."),
    # Work.
    "run": ("work", "Submit, and work until it is finished."),
    "up": ("work", "Work on whatever is queued."),
    # Steer.
    "pause": ("steer", "Let an experiment or a trial wait."),
    "resume": ("steer", "Let go on what was paused."),
    "cancel": ("steer", "Stop an experiment or a trial."),
    "retry": ("steer", "Queue failed trials again."),
    # Look.
    "status": ("look", "Show counts, best so far, time left."),
    "watch": ("look", "Follow an experiment live."),
    "trials": ("look", "List an experiment's trials."),
    "curves": ("look", "Print an experiment's curves."),
    "show": ("look", "Show one trial: configuration, attempts, curve."),
    # Compare.
    "leaderboard": ("compare", "Rank variants over their seeds."),
    "compare": ("compare", "Compare the levels of one hyperparameter."),
    "report": ("compare", "Write the answer and its evidence as a page."),
    "export": ("compare", "Write trials and curves as files."),
    # Diagnose.
    "diagnose": ("diagnose", "Say what each loss curve shows, and what to change."),
    # Catalogue.
    "tasks": ("catalogue", "List the tasks, and what they are measured by."),
    "models": ("catalogue", "List the named architectures."),
    "datasets": ("catalogue", "List the data sets."),
    "losses": ("catalogue", "List the losses, and what they go with."),
    "activations": ("catalogue", "List the activations."),
    "optimizers": ("catalogue", "List optimizers, schedules and augmentations."),
    # House.
    "promote": ("house", "Register the best model with MLflow, as champion."),
    "mlflow": ("house", "Open the MLflow UI on the right store."),
    "doctor": ("house", "Say what is wrong here and how to mend it."),
    "gc": ("house", "Remove files of no more use."),
    "db": ("house", "Back up or upgrade the store."),
}
"""Verb -> the module of `trainyard.command` that holds it, and its line of help."""

_HEADINGS: Final = {
    "recipes": "Start",
    "ask": "Ask",
    "work": "Work",
    "steer": "Steer",
    "look": "Look",
    "compare": "Compare",
    "diagnose": "Diagnose",
    "catalogue": "Catalogue",
    "house": "House",
}


class _Verbs(click.Group):
    """Knows all verbs by name and imports a verb's module when it is typed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"trainyard.command.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for module, heading in _HEADINGS.items():
            rows = [(verb, text) for verb, (where, text) in VERBS.items() if where == module]
            with formatter.section(heading):
                formatter.write_dl(rows)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: trainyard init, and then: trainyard plan quickstart.yaml",
)
@click.version_option(VERSION, prog_name="trainyard")
def trainyard() -> None:
    """Answer questions about networks: a spec goes in, trained and compared trials come out."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code (see `docs/command-line.md`)."""
    try:
        result = trainyard.main(arguments, prog_name="trainyard", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        say(told.getvalue().rstrip("\n"))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as interruption:
        say(f"interrupted: {interruption}" if str(interruption) else "interrupted")
        return INTERRUPTED
    except SpecError as error:
        count = len(error.faults)
        say(f"{error}\n{count} {'fault' if count == 1 else 'faults'}; nothing was written")
        return error.exit_code
    except StoreUnavailableError as error:
        from orchestrator.store.outages import when_given_up  # who raised it has imported it

        say(f"trainyard: {when_given_up(error)}")
        return error.exit_code
    except TrainyardError as error:
        say(f"trainyard: {error}")
        return error.exit_code
    except (BrokenPipeError, SystemExit):
        # The reader (head, less) left; click and rich make a SystemExit of that. Python must
        # not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EBADF):
            return _cannot_write(error)
        say(
            f"{traceback.format_exc()}\ntrainyard: internal error (a bug of trainyard's, see above)"
        )
        return INTERNAL
    return result if isinstance(result, int) else 0


def _cannot_write(error: OSError) -> int:
    """Say that the output could not be written (a full disk, a closed stdout)."""
    say(f"trainyard: cannot write: {error.strerror}")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nor could what is still buffered
    return INTERNAL
