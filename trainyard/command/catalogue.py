"""The verbs that list what a spec can name: tasks, models, datasets, losses, and so on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from trainyard import catalogue
from trainyard.command.output import json_option, print_json, say

if TYPE_CHECKING:
    from trainyard.catalogue import Row


@click.command(help="List the tasks, and what goes with them.")
@json_option
def tasks(as_json: bool) -> None:
    """List the tasks with their losses, metrics and models; and the metrics."""
    rows, metrics = catalogue.task_rows(), catalogue.metric_rows()
    if as_json:
        print_json({"tasks": rows, "metrics": metrics})
        return
    _show(rows)
    _show(metrics, title="Metrics")


@click.command(help="List the named architectures.")
@json_option
def models(as_json: bool) -> None:
    """List the named architectures with their tasks, options and short names."""
    rows, torchvision = catalogue.model_rows(), catalogue.torchvision_names()
    faults = catalogue.plugin_faults()
    if as_json:
        print_json({"models": rows, "torchvision": torchvision, "plugin_faults": faults})
        return
    _show(rows)
    click.echo(f"\ntorchvision's, for images of one or three channels:\n{', '.join(torchvision)}")
    say("\nNetworks of your own are written out under layers (docs/spec.md).")
    for fault in faults:
        say(f"\nleft out: {fault}")


@click.command(help="List the data sets.")
@json_option
def datasets(as_json: bool) -> None:
    """List the data sets with their targets and options, and what may be changed of one."""
    rows, changes = catalogue.dataset_rows(), catalogue.change_rows()
    if as_json:
        print_json({"datasets": rows, "changes": changes})
        return
    _show(rows)
    _show(changes, title="Changes of a data set")


@click.command(help="List the losses, and what they go with.")
@json_option
def losses(as_json: bool) -> None:
    """List the losses with their formulas, and the tasks and outputs that they go with."""
    rows, outputs = catalogue.loss_rows(), catalogue.output_activation_rows()
    if as_json:
        print_json({"losses": rows, "output_activations": outputs})
        return
    _show(rows)
    _show(outputs, title="Output activations")


@click.command(help="List the activations.")
@json_option
def activations(as_json: bool) -> None:
    """List the activation functions with their formulas and slopes."""
    rows = catalogue.activation_rows()
    if as_json:
        print_json({"activations": rows})
        return
    _show(rows)


@click.command(help="List optimizers, schedules and augmentations.")
@json_option
def optimizers(as_json: bool) -> None:
    """List the optimizers, the schedules of the learning rate, and the augmentations."""
    rows, schedules = catalogue.optimizer_rows(), catalogue.schedule_rows()
    augmentations = catalogue.augmentation_rows()
    if as_json:
        print_json({"optimizers": rows, "schedules": schedules, "augmentations": augmentations})
        return
    _show(rows)
    _show(schedules, title="Schedules")
    _show(augmentations, title="Augmentations")


def _show(rows: "Sequence[Row]", *, title: str = "") -> None:
    from dashboards.catalogue_view import catalogue_view
    from dashboards.tables import console

    screen = console()
    if title:
        screen.print(f"\n[bold]{title}[/bold]\n")
    screen.print(catalogue_view(rows))
