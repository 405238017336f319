"""What all verbs share: arguments, and data to stdout, messages to stderr, JSON in one piece."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from experiments.language.printable import printable

SCHEMA_VERSION: Final = 1

json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document."
)

spec_argument: Callable[[Any], Any] = click.argument(
    "spec", metavar="SPEC", type=click.Path(path_type=Path)
)
no_cache_option: Callable[[Any], Any] = click.option(
    "--no-cache",
    is_flag=True,
    help="Train all, also what has a known result: execution.reuse false. Another experiment.",
)
experiment_argument: Callable[[Any], Any] = click.argument("experiment", metavar="EXPERIMENT")


def reuse_of(no_cache: bool) -> bool | None:
    """Give what `--no-cache` asks of `execution.reuse`; None leaves that to the spec."""
    return False if no_cache else None


def say(message: str) -> None:
    """Print a message for people to stderr."""
    click.echo(printable(message, keep="\n"), err=True)


def print_json(data: Mapping[str, Any]) -> None:
    """Print one JSON document; numbers that JSON has no word for become null."""
    document = {"schema_version": SCHEMA_VERSION, **data}
    click.echo(json.dumps(_finite(document), indent=2, allow_nan=False))


def count(number: int, noun: str) -> str:
    """Write a number with its noun: `1 trial`, `36 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
