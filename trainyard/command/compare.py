"""The verbs that give answers: leaderboard, compare, report; and export, for other programs."""

import errno
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from experiments.language.printable import printable
from trainyard.command.documents import comparison_fields, standing_fields
from trainyard.command.output import json_option, print_json, say


def _folder(_context: click.Context, _option: click.Parameter, text: str | None) -> Path | None:
    if text == "":
        raise click.BadParameter("it is empty; `.` is the folder you are in")
    return None if text is None else Path(text)


def _finite(
    _context: click.Context, _option: click.Parameter, number: float | None
) -> float | None:
    if number is not None and not math.isfinite(number):
        raise click.BadParameter(f"{number} is no number that a difference could have")
    return number


_experiments_argument: Callable[[Any], Any] = click.argument(
    "experiments", metavar="EXPERIMENT...", nargs=-1, required=True
)
_out_option: Callable[[Any], Any] = click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False),
    callback=_folder,
    help="The folder to write into; one in the home unless given.",
)

_FORMATS: Final = ("parquet", "csv", "json")


@click.command(help="Rank variants over their seeds.")
@_experiments_argument
@json_option
def leaderboard(experiments: tuple[str, ...], as_json: bool) -> None:
    """Rank the variants of one experiment, or of several together, by their objective."""
    from dashboards.experiment_labels import experiment_labels
    from trainyard.api import leaderboard as rank
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        found = workplace.experiments(*experiments)
    standings = rank(*(row.id for row in found))
    name, objective = " and ".join(experiment_labels(found).values()), found[0].objective
    if as_json:
        print_json(
            {
                "experiment": name,
                "metric": objective.metric,
                "variants": [
                    standing_fields(standing, metric=objective.metric) for standing in standings
                ],
            }
        )
        return
    from dashboards.store_views import leaderboard_view
    from dashboards.tables import console

    screen = console()
    for part in leaderboard_view(name, objective, standings, width=screen.width):
        screen.print(part)
    say(f"Next: trainyard report {' '.join(experiments)}")


@click.command(help="Compare the levels of one hyperparameter.")
@_experiments_argument
@click.option(
    "--by",
    metavar="KEY",
    required=True,
    help="The hyperparameter; or `variant`, or `experiment` where several are named.",
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    callback=_finite,
    help="The difference that is too small to matter, in the objective's unit.",
)
@json_option
def compare(experiments: tuple[str, ...], by: str, margin: float | None, as_json: bool) -> None:
    """Compare levels pair by pair, on trials that agree in all else and in the seed."""
    from dashboards.experiment_labels import experiment_labels
    from trainyard.api import compare as act
    from trainyard.workplace import Workplace

    with Workplace() as workplace:
        found = workplace.experiments(*experiments)
    comparison = act(*(row.id for row in found), by=by, margin=margin)
    name = " and ".join(experiment_labels(found).values())
    if as_json:
        print_json({"experiment": name, **comparison_fields(comparison)})
        return
    from dashboards.comparison_view import comparison_view
    from dashboards.tables import console

    screen = console()
    for part in comparison_view(name, comparison, width=screen.width):
        screen.print(part)


@click.command(help="Write trials and curves as files.")
@_experiments_argument
@click.option(
    "--format",
    "kind",
    type=click.Choice(_FORMATS),
    default="parquet",
    show_default=True,
    help="Of the files.",
)
@_out_option
@json_option
def export(experiments: tuple[str, ...], kind: str, out: Path | None, as_json: bool) -> None:
    """Write the frames of `ty.trials` and `ty.curves`, all of it or nothing."""
    from trainyard.api import export as act

    with _writing(out):
        files = act(*experiments, kind=kind, out=out)
    if as_json:
        print_json({"files": [str(path) for path in files]})
        return
    for path in files:
        click.echo(printable(str(path)))


@click.command(help="Write the answer and its evidence as a page.")
@_experiments_argument
@_out_option
@click.option(
    "--no-mlflow",
    "is_kept_back",
    is_flag=True,
    help="Do not have MLflow show it with the best runs.",
)
@json_option
def report(
    experiments: tuple[str, ...], out: Path | None, is_kept_back: bool, as_json: bool
) -> None:
    """Write one HTML page that needs nothing else, Markdown, tables and a manifest."""
    from trainyard.api import report as act

    with _writing(out):
        done = act(*experiments, out=out, attach=not is_kept_back)
    if as_json:
        print_json(
            {
                "folder": str(done.folder),
                "files": [str(done.folder / name) for name in done.files],
                "answer": list(done.sentences),
                "attached": list(done.attached),
                "not_attached": done.not_attached or None,
            }
        )
        return
    for sentence in done.sentences:
        click.echo(printable(sentence))
    say(f"\nWritten: {done.folder} ({len(done.files)} files)")
    if done.not_attached:
        say(f"MLflow will not show it: {done.not_attached}")
    if done.attached:
        runs = "run" if len(done.attached) == 1 else "runs"
        say(f"MLflow will show it with the {runs} of {', '.join(done.attached)}")
    say(f"Next: open {done.folder / done.files[0]}, or trainyard mlflow")


@contextmanager
def _writing(out: Path | None) -> Iterator[None]:
    """Say which folder cannot be written; nothing is there then that was not before."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise click.UsageError(
            f"cannot write into the folder {out or error.filename}: {error.strerror}"
        ) from error
