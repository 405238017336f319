"""A plan as people read it in a terminal: networks, what varies, what is left out, the cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from dashboards.numbers import bytes_text, value_text
from dashboards.tables import plain_table, shown
from experiments.architectures.architecture import LayerSummary
from experiments.architectures.geometry import Shape, shape_text
from experiments.data.dataset_facts import MASK, VALUES, DatasetFacts
from experiments.hyperparameters import HYPERPARAMETERS, scalar
from experiments.planning.estimates import Estimate
from experiments.planning.plan import Plan
from experiments.planning.workload import top_level_index
from experiments.records import InitConfig
from experiments.tasks import MAXIMIZE, TASKS

_FEW_CLASSES: Final = 4  # so many are named, more are counted
_INDENT: Final = 10
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class _Line:
    """A word that says what the line is about, and its text; a long one goes on beside it."""

    word: str
    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = Text.from_markup(self.text, emoji=False)
        for number, part in enumerate(text.wrap(console, options.max_width - _INDENT)):
            word = Text.from_markup("" if number else self.word)
            part.rstrip()
            yield Text.assemble(word, " " * (_INDENT - len(word)), part)


def plan_view(plan: Plan, *, layers: bool) -> Iterator[RenderableType]:
    """Show a plan; with `layers`, each network layer by layer."""
    traces = {label: network.trace() for label, network in plan.architectures.items()}
    seeds = len({trial.seed for trial in plan.trials})
    yield (
        f"[bold]{shown(plan.experiment.name)}[/bold]  {_count(len(plan.variants), 'variant')} x "
        f"{_count(seeds, 'seed')} = {_count(len(plan.trials), 'trial')}"
    )
    yield from _question(plan)
    yield from _varying(plan)
    yield ""
    yield _networks(traces, plan)
    if layers:
        inits = {each.config.architecture.name: each.config.init for each in plan.trials}
        for label, trace in traces.items():
            yield ""
            yield _layers(label, trace, inits[label])
    yield ""
    yield from _left_out(plan)
    yield from _remarks(plan)
    yield from _cost(plan.estimate)


def _question(plan: Plan) -> Iterator[_Line]:
    objective = plan.experiment.objective
    better = "higher" if objective.goal == MAXIMIZE else "lower"
    yield _Line("task", f"{plan.task}: {TASKS[plan.task].doc}")
    yield _Line("data", shown(f"{_data(plan.data, plan.task)}: {_splits(plan)}"))
    judged = f"by {objective.metric} of each trial's {objective.select} epoch; {better} is better"
    yield _Line("judged", judged)


def _data(data: DatasetFacts, task: str) -> str:
    """Say what an example is, and what is to be learned of it."""
    shape = data.input_shape
    what = shape_text(shape) if data.is_images else _count(shape[0], "number")
    target = f"{len(data.class_names)} classes"
    if TASKS[task].target == "image":
        target = "the image itself"
    elif data.target == VALUES:
        target = ", ".join(data.target_names)
    elif len(data.class_names) <= _FEW_CLASSES:
        target = ", ".join(data.class_names)
    return f"{data.name} ({what} -> {target}{' a pixel' if data.target == MASK else ''})"


def _splits(plan: Plan) -> str:
    return (
        f"{plan.num_train:,} examples to train, {plan.num_val:,} to validate, "
        f"{plan.data.num_test:,} to test"
    )


def _varying(plan: Plan) -> Iterator[_Line]:
    """Tell what varies and what does not; a default that follows from others needs no word."""
    values: dict[str, dict[str, None]] = {}
    given: set[str] = set()
    for variant in plan.variants:
        for key, setting in variant.settings.items():
            values.setdefault(key, {})[value_text(scalar(key, setting.value))] = None
            if setting.node is not None:
                given.add(key)
    fixed = []
    for key in (key for key in HYPERPARAMETERS if key in values):
        its = list(values[key])
        if len(its) == 1 and its != ["none"]:
            fixed.append(f"{key} {its[0]}")
        elif key in given and len(its) > 1:
            yield _Line("varies", f"{key}: {shown(', '.join(its))}")
    if fixed:
        yield _Line("fixed", shown(", ".join(fixed)))


def _networks(traces: Mapping[str, Sequence[LayerSummary]], plan: Plan) -> Table:
    """Show each network in a line; what one trial of it takes where that is known."""
    image, seconds = plan.data.input_shape[1:], plan.estimate.trial_seconds
    columns = [
        "network",
        ">parameters",
        ">multiply-adds",
        ">activations",
        ">output",
        ">an output sees",
    ]
    table = plain_table(*columns, *([">a trial"] if seconds else []))
    for label, trace in traces.items():
        last = trace[-1]
        row = [shown(label), *_sums(trace), shape_text(last.output_shape), _sees(last, image)]
        table.add_row(*row, *([_seconds_text(seconds[label])] if label in seconds else []))
    return table


def _sums(trace: Sequence[LayerSummary]) -> tuple[str, str, str]:
    """Give the parameters, and for one example the multiply-adds and the activations' memory."""
    return (
        f"{sum(row.parameters for row in trace):,}",
        f"{sum(row.multiply_adds for row in trace):,}",
        bytes_text(sum(row.activation_bytes for row in trace)),
    )


def _sees(last: LayerSummary, image: Shape) -> str:
    """Say how much of the image one output sees: its receptive field, at most all of it."""
    field = last.receptive_field
    if field is None or all(f >= s for f, s in zip(field, image, strict=True)):
        return "all"
    return shape_text(field)


def _layers(label: str, trace: Sequence[LayerSummary], init: InitConfig | None) -> Table:
    """Show a network layer by layer, and which of its weights are another trial's."""
    table = plain_table(
        "layer",
        "",
        ">output",
        ">parameters",
        ">multiply-adds",
        ">activations",
        ">receptive field",
        title=shown(label),
    )
    for row in trace:
        field = "" if row.receptive_field is None else shape_text(row.receptive_field)
        table.add_row(
            row.path,
            shown("  " * row.depth + row.text + _origin(row, init)),
            shape_text(row.output_shape),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.multiply_adds:,}" if row.multiply_adds else "",
            bytes_text(row.activation_bytes) if row.activation_bytes else "",
            field,
        )
    table.add_row("", "[bold]total, of one example[/bold]", "", *_sums(trace), "")
    return table


def _origin(row: LayerSummary, init: InitConfig | None) -> str:
    index = top_level_index(row)
    if init is None or index >= init.num_layers or not row.parameters:
        return ""
    return f", from {init.source}{', frozen' if index < init.num_frozen else ''}"


def _left_out(plan: Plan) -> Iterator[_Line]:
    """Tell, for each reason, how many variants are left out, and one of them."""
    reasons: dict[str, list[str]] = {}
    for excluded in plan.excluded:
        reasons.setdefault(excluded.reason, []).append(excluded.variant)
    for reason, variants in reasons.items():
        such = f"such as {variants[0]}" if len(variants) > 1 else variants[0]
        text = f"{_count(len(variants), 'variant')} by {reason}: {such}"
        yield _Line("left out", shown(text))


def _remarks(plan: Plan) -> Iterator[_Line]:
    if plan.num_merged:
        yield _Line("merged", f"{_count(plan.num_merged, 'variant')} equal to others")
    if plan.is_submitted:
        yield _Line(
            "known", "this very experiment is in the store already: to submit it changes nothing"
        )
    elif plan.num_known:
        of_all = f"{plan.num_known:,} of {_count(len(plan.trials), 'trial')}"
        known = f"{of_all} have a result in the store already (same content key)"
        then = "it is used again" if plan.num_reused else "execution.reuse: false trains them again"
        yield _Line("known", f"{known}; {then}")
    for warning in plan.warnings:
        yield _Line("[yellow]note[/yellow]", shown(warning))


def _cost(estimate: Estimate) -> Iterator[_Line]:
    yield _Line("time", _time(estimate))
    if not estimate.peak_memory_bytes:
        return
    memory = f"about {bytes_text(estimate.peak_memory_bytes)} a worker"
    if estimate.base_memory_bytes is None:
        memory += " for weights and activations; Python and torch come on top"
    else:
        memory += ", with Python and torch"
    yield _Line("memory", memory)


def _time(estimate: Estimate) -> str:
    seconds = estimate.seconds
    if seconds is None:
        return "nothing to go by yet: no trial has finished on this machine"
    if not seconds.seconds:
        return "none: nothing is left to train"
    unit, size = _unit(seconds.seconds)
    low, middle, high = (
        _short(each / size) for each in (seconds.low, seconds.seconds, seconds.high)
    )
    text = (
        f"about {middle} {unit} ({low} to {high}) with {_count(estimate.num_workers, 'worker')}, "
        f"learned from {_count(estimate.learned_from, 'finished trial')} of this machine"
    )
    if seconds.is_unsure:
        text += f"; unsure: some trials are {_short(seconds.reach)} times as large or as small"
    return text


def _seconds_text(seconds: float) -> str:
    unit, size = _unit(seconds)
    return f"{_short(seconds / size)} {unit}"


def _unit(seconds: float) -> tuple[str, int]:
    """Give the unit in which a length of time is a number that people can take in."""
    return next((unit, size) for unit, size in _UNITS if seconds >= 1.5 * size or size == 1)


def _short(number: float) -> str:
    """Write a rough number: two digits at most below 10, none behind the point above."""
    return f"{number:.1f}".removesuffix(".0") if number < 10 else f"{number:,.0f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
