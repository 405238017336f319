"""A plan as people read it in a terminal: networks, what varies, what is left out, the cost."""

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from dashboards.numbers import bytes_text, value_text
from dashboards.tables import plain_table
from experiments.architecture import Architecture
from experiments.geometry import shape_text
from experiments.hyperparameters import HYPERPARAMETERS, scalar
from experiments.plan import Plan

_MOST_EXCLUDED = 10


def plan_view(plan: Plan, *, layers: bool) -> Iterator[RenderableType]:
    """Show a plan; with `layers`, each network layer by layer."""
    data = plan.data
    seeds = len({trial.seed for trial in plan.trials})
    yield (
        f"[bold]{plan.experiment.name}[/bold]  {len(plan.variants)} variants x {seeds} seeds = "
        f"{len(plan.trials):,} trials"
    )
    yield (
        f"data    {data.name} {shape_text(data.input_shape)}, {len(data.class_names)} classes: "
        f"{plan.num_train:,} images to train, {plan.num_val:,} to validate, "
        f"{data.num_test:,} to test"
    )
    yield from _varying(plan)
    yield _networks(plan.architectures)
    if layers:
        for label, architecture in plan.architectures.items():
            yield _layers(label, architecture)
    yield from _remarks(plan)


def _varying(plan: Plan) -> Iterator[RenderableType]:
    columns: dict[str, list[str]] = {}
    for variant in plan.variants:
        for key, setting in variant.settings.items():
            shown = value_text(scalar(key, setting.value))
            if shown not in columns.setdefault(key, []):
                columns[key].append(shown)
    fixed = []
    for key in HYPERPARAMETERS:
        values = columns.get(key, [])
        if len(values) > 1:
            yield f"varies  {key}: {escape(', '.join(values))}"
        elif values:
            fixed.append(f"{key} {values[0]}")
    if fixed:
        yield f"fixed   {escape(', '.join(fixed))}"


def _networks(architectures: Mapping[str, Architecture]) -> Table:
    table = plain_table("network", ">parameters", ">multiply-adds", ">output", ">receptive field")
    for label, architecture in architectures.items():
        field = architecture.receptive_field
        table.add_row(
            escape(label),
            f"{architecture.parameters:,}",
            f"{architecture.multiply_adds:,}",
            shape_text(architecture.output_shape),
            "all" if field is None else shape_text(field),
        )
    return table


def _layers(label: str, architecture: Architecture) -> Table:
    table = plain_table(
        "layer", "", ">output", ">parameters", ">multiply-adds", ">receptive field", title=label
    )
    for row in architecture.trace():
        field = "" if row.receptive_field is None else shape_text(row.receptive_field)
        table.add_row(
            row.path,
            escape("  " * row.depth + row.text),
            shape_text(row.output_shape),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.multiply_adds:,}" if row.multiply_adds else "",
            field,
        )
    return table


def _remarks(plan: Plan) -> Iterator[RenderableType]:
    for excluded in plan.excluded[:_MOST_EXCLUDED]:
        yield escape(f"left out  {excluded.variant} ({excluded.reason})")
    if len(plan.excluded) > _MOST_EXCLUDED:
        yield f"left out  and {len(plan.excluded) - _MOST_EXCLUDED} more"
    if plan.num_merged:
        yield f"merged  {plan.num_merged} variants that were equal to others"
    for warning in plan.warnings:
        yield f"[yellow]note[/yellow]    {escape(warning)}"
    memory = bytes_text(plan.estimate.peak_memory_bytes)
    yield f"cost    no estimate of time yet; memory: {memory} a worker beside Python and torch"
