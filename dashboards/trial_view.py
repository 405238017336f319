"""One trial, as people read it in a terminal: what it trains, what it gave, how it went."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import RenderableType
from rich.padding import Padding

from dashboards.confusion_view import confusion_view
from dashboards.diagnosis_view import finding_lines
from dashboards.incident_view import clock_text, message_text
from dashboards.numbers import bytes_text, metric_text, value_text
from dashboards.store_views import state_text
from dashboards.tables import one_line, plain_table, shown
from experiments.diagnosis.finding import Finding
from experiments.records import TrialConfig
from orchestrator.store.rows import (
    AttemptRow,
    CheckpointRow,
    Confusion,
    CurvePoint,
    IncidentRow,
    TrialRow,
)

_BARS: Final = "▁▂▃▄▅▆▇█"
_NO_NUMBER: Final = "x"
_MOST_BARS: Final = 60
_INDENT: Final = 9  # where what a line says begins, after what it is about
_SPLITS: Final = ("train", "val", "test")


def trial_view(
    row: TrialRow,
    config: TrialConfig,
    *,
    attempts: Sequence[AttemptRow],
    points: Sequence[CurvePoint],
    checkpoints: Sequence[CheckpointRow],
    confusion: Confusion | None,
    incidents: Sequence[IncidentRow] = (),
    findings: Sequence[Finding] = (),
    source: str = "",
    now: float,
    width: int,
) -> Iterator[RenderableType]:
    """Show one trial: its configuration, result, attempts, curves, failure, what happened to it.

    `findings` are what the doctor reads off its curves.

    `source` names the trial whose result it has, if it was not trained itself.
    """
    yield f"[bold]{shown(row.id)}[/bold]  {shown(row.variant)}, seed {row.seed}: {state_text(row)}"
    yield from _configuration(row, config)
    if row.metrics is not None:
        yield f"result   epoch {row.selected_epoch}{_cost(row)}"
        yield _metrics_table(row.metrics)
    if source:
        yield shown(f"reused   from {source}, which was trained with the same configuration")
    for attempt in attempts:
        where = f"{attempt.state} on {shown(attempt.worker)}"
        yield f"attempt  {attempt.fence}: {where}{_begun(attempt)}{_took(attempt)}"
    for incident in reversed(incidents):
        when = clock_text(incident.at, now=now)
        yield shown(f"incident {when} {message_text(incident.message)}")
    yield from _curves(points, width=width)
    yield from (f"finding  {line}" for line in finding_lines(findings))
    if confusion is not None:
        yield from confusion_view(confusion, width=width)
    for item in checkpoints:
        size = bytes_text(item.num_bytes)
        yield shown(f"saved    {item.kind}: epoch {item.epoch}, {size}, {item.path}")
    if row.failure is not None:
        yield shown(f"failure  {row.failure.kind.value}: {row.failure.type}: {row.failure.message}")
        if row.failure.traceback:
            yield shown(row.failure.traceback, keep="\n")


def _configuration(row: TrialRow, config: TrialConfig) -> Iterator[str]:
    yield f"task     {config.task}: {config.loss} of {config.output_activation} outputs"
    yield shown(
        "params   " + ", ".join(f"{key} {value_text(value)}" for key, value in row.params.items())
    )
    network = config.architecture
    yield shown(
        f"network  {network.name}: {network.parameters:,} parameters, "
        f"{network.multiply_adds:,} multiply-adds an example"
    )
    if config.init is not None:
        yield shown(
            f"weights  the first {config.init.num_layers} layers start from {config.init.source}, "
            f"{config.init.num_frozen} of them are not trained"
        )
    yield shown(f"data     {config.data.name}, digest {config.data.digest[:12]}")


def _cost(row: TrialRow) -> str:
    """Say what the attempt that succeeded took, and where."""
    took = "" if row.duration_seconds is None else f", {row.duration_seconds:.1f} s"
    where = "" if row.machine is None else f" on {shown(row.machine)}"
    how = "" if row.strategy is None else f" ({shown(row.strategy)})"
    peak = row.peak_memory_bytes
    return took + where + how + ("" if peak is None else f", at most {bytes_text(peak)} of memory")


def _metrics_table(metrics: Mapping[str, float]) -> RenderableType:
    """Show metrics by name, a column for each split."""
    table = plain_table("metric", *(f">{split}" for split in _SPLITS))
    for name in dict.fromkeys(key.partition("/")[2] for key in metrics):
        keys = [f"{split}/{name}" for split in _SPLITS]
        table.add_row(name, *(metric_text(k, metrics[k]) if k in metrics else "" for k in keys))
    return Padding(table, (0, 0, 0, _INDENT), expand=False)


def _begun(attempt: AttemptRow) -> str:
    return f", went on from epoch {attempt.begun_epoch}" if attempt.begun_epoch else ""


def _took(attempt: AttemptRow) -> str:
    took = "" if attempt.ended_at is None else f", {attempt.ended_at - attempt.started_at:.1f} s"
    why = "" if attempt.failure is None else f": {one_line(attempt.failure.message)}"
    return took + why


def _curves(points: Sequence[CurvePoint], *, width: int) -> Iterator[str]:
    curves: dict[str, list[float]] = {}
    for point in points:
        curves.setdefault(point.metric, []).append(point.value)
    ends = {
        name: " to ".join(_value(name, value) for value in (values[0], values[-1]))
        for name, values in curves.items()
    }
    longest = max(map(len, curves), default=0)
    left = width - _INDENT - longest - 2 - max(map(len, ends.values()), default=0)
    for name, values in curves.items():
        bars = _bars(values, most=max(1, min(_MOST_BARS, left)))
        yield f"curve    {name:{longest}} {bars} {ends[name]}"


def _value(name: str, value: float) -> str:
    return value_text(value) if name == "lr" else metric_text(name, value)


def _bars(values: Sequence[float], *, most: int) -> str:
    """Draw a curve in a line of text, thinned to what fits; an x is no finite number."""
    kept = values[:: -(-len(values) // most)]
    finite = [value for value in kept if math.isfinite(value)]
    low, span = min(finite, default=0.0), max(finite, default=0.0) - min(finite, default=0.0)
    scale = (len(_BARS) - 1) / (span or 1.0)
    return "".join(
        _BARS[round((value - low) * scale)] if math.isfinite(value) else _NO_NUMBER
        for value in kept
    )
