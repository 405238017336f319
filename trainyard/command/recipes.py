"""The verbs to start with: recipes lists specs that ask something, init copies one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainyard.command.output import json_option, print_json, say

if TYPE_CHECKING:
    from experiments.cookbook import Recipe


@click.command(help="List the recipes, or print one.")
@click.argument("name", metavar="[RECIPE]", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes with their questions, or print the text of one."""
    from experiments.cookbook import recipe
    from experiments.cookbook import recipes as known

    if name is not None:
        found = recipe(name)
        if as_json:
            print_json(_fields(found) | {"text": found.text})
        else:
            click.echo(found.text, nl=False)
            say(f"\nNext: trainyard init {name}")
        return
    found_all = known()
    if as_json:
        print_json({"recipes": [_fields(item) for item in found_all]})
        return
    _show(found_all)
    say("\nNext: trainyard recipes NAME shows one, trainyard init NAME copies it to this folder")


@click.command(help="Copy a recipe to this folder, to start from.")
@click.argument("name", metavar="[RECIPE]", default="quickstart")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Where it is written.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def init(name: str, target: Path | None, force: bool) -> None:
    """Copy a recipe (the quickstart without a name); what is there is not overwritten."""
    from experiments.cookbook import recipe

    found = recipe(name)
    path = Path(f"{name}.yaml") if target is None else target
    if target is not None and target.is_dir():
        path = target / f"{name}.yaml"
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(found.text)
    except FileExistsError:
        raise click.UsageError(
            f"{path} is there already; --to FILE writes elsewhere, --force overwrites it"
        ) from None
    except OSError as error:
        raise click.FileError(str(path), hint=error.strerror) from error
    click.echo(str(path))
    say(f"{found.question}\nNext: change what you like, then trainyard plan {path}")


def _fields(recipe: "Recipe") -> dict[str, str]:
    return {
        "name": recipe.name,
        "topic": recipe.topic,
        "question": recipe.question,
        "expect": recipe.expect,
        "takes": recipe.takes,
    }


def _show(found: "tuple[Recipe, ...]") -> None:
    from dashboards.tables import console, plain_table

    table = plain_table("recipe", "asks", "takes")
    for item in found:
        table.add_row(item.name, item.question, item.time)
    console().print(table)
