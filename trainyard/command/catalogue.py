"""The verbs that list what a spec can name: models, datasets, losses, activations, optimizers."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from trainyard.command.output import json_option, print_json


@click.command(help="List the named architectures.")
@json_option
def models(as_json: bool) -> None:
    """List the named architectures with their options and short names."""
    from experiments.fields import fields_of
    from experiments.zoo import models as known

    rows = [
        {
            "name": name,
            "options": ", ".join(fields_of(entry.options)),
            "short_names": ", ".join(f"{name}{depth}" for depth in entry.depths),
            "doc": entry.doc,
            "paper": entry.paper,
        }
        for name, entry in known().items()
    ]
    _show("models", rows, as_json=as_json)


@click.command(help="List the data sets.")
@json_option
def datasets(as_json: bool) -> None:
    """List the data sets with their options."""
    from experiments.datasets import DATASETS
    from experiments.fields import fields_of

    rows = [
        {"name": name, "options": ", ".join(fields_of(kind.options)), "doc": kind.doc}
        for name, kind in DATASETS.items()
    ]
    _show("datasets", rows, as_json=as_json)


@click.command(help="List the losses, and what they go with.")
@json_option
def losses(as_json: bool) -> None:
    """List the losses with the tasks and outputs that they go with."""
    from experiments.compatibility import LOSSES

    rows = [
        {
            "name": name,
            "tasks": ", ".join(rule.tasks),
            "output": rule.output,
            "formula": rule.formula,
            "doc": rule.doc,
        }
        for name, rule in LOSSES.items()
    ]
    _show("losses", rows, as_json=as_json)


@click.command(help="List the activations.")
@json_option
def activations(as_json: bool) -> None:
    """List the activation functions with their formulas."""
    from experiments.activations import ACTIVATIONS

    rows = [
        {"name": name, "formula": function.formula, "doc": function.doc}
        for name, function in ACTIVATIONS.items()
    ]
    _show("activations", rows, as_json=as_json)


@click.command(help="List optimizers and schedules.")
@json_option
def optimizers(as_json: bool) -> None:
    """List the optimizers and the learning-rate schedules."""
    from experiments.hyperparameters import HYPERPARAMETERS, OPTIMIZERS, SCHEDULES

    def takes(kind: str, name: str) -> str:
        return ", ".join(
            key for key, known in HYPERPARAMETERS.items() if known.where == f"{kind} {name}"
        )

    rows = [
        {"name": name, "kind": kind, "takes": takes(kind, name), "doc": doc}
        for kind, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES))
        for name, doc in known.items()
    ]
    _show("optimizers", rows, as_json=as_json)


def _show(title: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json({title: rows})
        return
    from rich.markup import escape

    from dashboards.tables import console, plain_table

    table = plain_table(*(column.replace("_", " ") for column in rows[0]))
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    console().print(table)
