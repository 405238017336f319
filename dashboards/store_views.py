"""What the store holds, as people read it in a terminal: experiments, trials, one trial, ranks."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from dashboards.numbers import bytes_text, duration_text, value_text
from dashboards.pace import pace
from dashboards.tables import plain_table
from experiments.leaderboard import Standing
from experiments.records import Objective, TrialConfig, TrialState
from orchestrator.rows import AttemptRow, CheckpointRow, CurvePoint, Overview, TrialRow

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 60
_COLUMNS = ("val/accuracy", "val/loss", "test/accuracy")


def status_view(overviews: Sequence[Overview]) -> Iterator[RenderableType]:
    """Show each experiment in a row, and why one paused."""
    table = plain_table(
        "experiment", "id", "state", ">queued", ">running", ">succeeded", ">failed", ">other",
        "best", ">left",
    )  # fmt: skip
    for overview in overviews:
        counts = overview.counts
        failed = counts[TrialState.FAILED] + counts[TrialState.QUARANTINED]
        other = counts[TrialState.CANCELLED] + counts[TrialState.PRUNED]
        _, left = pace(overview)
        table.add_row(
            overview.experiment.name,
            overview.experiment.id,
            overview.state.value,
            *(
                f"{number:,}" if number else "-"
                for number in (
                    counts[TrialState.QUEUED],
                    counts[TrialState.LEASED],
                    counts[TrialState.SUCCEEDED],
                    failed,
                    other,
                )
            ),
            escape(_best(overview)),
            duration_text(left) if left else "",
        )
    yield table
    for overview in overviews:
        if overview.experiment.paused_reason is not None:
            yield escape(f"{overview.experiment.name} paused: {overview.experiment.paused_reason}")


def trials_table(rows: Sequence[TrialRow]) -> Table:
    """Show each trial in a row, with the metrics that people look for first."""
    table = plain_table(
        "trial", "variant", ">seed", "state", ">attempts", *(f">{name}" for name in _COLUMNS),
        ">seconds", "failure",
    )  # fmt: skip
    for row in rows:
        metrics = row.metrics or {}
        table.add_row(
            row.id,
            escape(row.variant),
            str(row.seed),
            "running" if row.state is TrialState.LEASED else row.state.value,
            str(row.num_attempts),
            *(f"{metrics[name]:.4f}" if name in metrics else "" for name in _COLUMNS),
            "" if row.duration_seconds is None else f"{row.duration_seconds:.1f}",
            "" if row.failure is None else escape(_first_line(row.failure.message)),
        )
    return table


def leaderboard_view(
    name: str, objective: Objective, standings: Sequence[Standing]
) -> Iterator[RenderableType]:
    """Show variants by rank, with mean, spread and interval of the objective."""
    table = plain_table(
        ">", "variant", f">{objective.metric}", ">std", ">95% interval", ">n", ">test/accuracy"
    )
    for place, standing in enumerate(standings, start=1):
        summary = standing.objective
        if summary is None:
            table.add_row("", escape(standing.variant), "no result", "", "", "0", "")
            continue
        interval = ""
        if summary.low is not None and summary.high is not None:
            interval = f"{summary.low:.4f} to {summary.high:.4f}"
        test = standing.others.get("test/accuracy")
        table.add_row(
            str(place),
            escape(standing.variant),
            f"{summary.mean:.4f}",
            "" if summary.std is None else f"{summary.std:.4f}",
            interval,
            str(summary.n),
            "" if test is None else f"{test:.4f}",
        )
    yield f"[bold]{name}[/bold]  {objective.metric}, mean over seeds, {objective.goal}"
    yield table
    fewest = min((s.objective.n for s in standings if s.objective), default=0)
    if fewest == 1:
        yield "One seed tells nothing of the spread: set `seeds` to 3 or more."
    incomplete = sum((s.objective.n if s.objective else 0) < s.num_trials for s in standings)
    if incomplete:
        yield f"{incomplete} variants lack the result of some seeds (n says how many they have)."
    yield (
        "The interval is Student's t for the mean. The first place was picked for its validation "
        "score, which flatters it; the test column was not used to pick."
    )


def trial_view(
    row: TrialRow,
    config: TrialConfig,
    *,
    attempts: Sequence[AttemptRow],
    points: Sequence[CurvePoint],
    checkpoints: Sequence[CheckpointRow],
) -> Iterator[RenderableType]:
    """Show one trial: what it trains, what it gave, its attempts, curve and failure."""
    state = "running" if row.state is TrialState.LEASED else row.state.value
    yield f"[bold]{row.id}[/bold]  {escape(row.variant)}, seed {row.seed}: {state}"
    yield escape("params   " + _pairs(row.params))
    network = config.architecture
    yield (
        f"network  {network.name}: {network.parameters:,} parameters, "
        f"{network.multiply_adds:,} multiply-adds an image"
    )
    yield f"data     {config.data.name}, digest {config.data.digest[:12]}"
    if row.metrics:
        yield escape(f"result   epoch {row.selected_epoch}: {_pairs(row.metrics)}")
    for attempt in attempts:
        yield escape(
            f"attempt  {attempt.fence}: {attempt.state} on {attempt.worker}{_took(attempt)}"
        )
    for name in dict.fromkeys(point.metric for point in points):
        values = [point.value for point in points if point.metric == name]
        ends = f"{value_text(values[0])} to {value_text(values[-1])}"
        yield f"curve    {name:18} {_bars(values)} {ends}"
    for item in checkpoints:
        size = bytes_text(item.num_bytes)
        yield escape(f"saved    {item.kind}: epoch {item.epoch}, {size}, {item.path}")
    if row.failure is not None:
        yield escape(
            f"failure  {row.failure.kind.value}: {row.failure.type}: {row.failure.message}"
        )
        if row.failure.traceback:
            yield escape(row.failure.traceback)


def _took(attempt: AttemptRow) -> str:
    took = "" if attempt.ended_at is None else f", {attempt.ended_at - attempt.started_at:.1f} s"
    why = "" if attempt.failure is None else f": {_first_line(attempt.failure.message)}"
    return took + why


def _best(overview: Overview) -> str:
    best = overview.best
    if best is None or best.objective_value is None:
        return ""
    metric = overview.experiment.objective.metric
    return f"{metric} {value_text(best.objective_value)} ({best.variant}, seed {best.seed})"


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value_text(value)}" for key, value in values.items())


def _first_line(text: str) -> str:
    return text.splitlines()[0] if text else ""


def _bars(values: Sequence[float]) -> str:
    """Draw a curve in a line of text, thinned to what fits."""
    stride = -(-len(values) // _MOST_BARS)
    shown = values[::stride]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in shown)
