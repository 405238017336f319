"""What the store holds, as people read it in a terminal: experiments, trials, one trial, ranks."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table

from dashboards.numbers import bytes_text, duration_text, value_text
from dashboards.pace import best_text, pace
from dashboards.tables import Column, fitted_table, shown
from experiments.leaderboard import Standing
from experiments.records import Objective, TrialConfig
from experiments.states import ExperimentState, TrialState
from orchestrator.rows import AttemptRow, CheckpointRow, CurvePoint, Overview, TrialRow

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 60
_LONGEST_SUMMARY = 100


def status_view(overviews: Sequence[Overview], *, width: int) -> Iterator[RenderableType]:
    """Show each experiment in a row, and why one paused."""
    columns = [
        Column("experiment", flexible=True),
        Column("id"),
        Column("state"),
        *(Column(f">{name}") for name in ("queued", "running", "succeeded", "failed", "other")),
        Column("best", drop=1, flexible=True),
        Column(">left", drop=2),
    ]
    yield fitted_table(columns, [_status_row(overview) for overview in overviews], width=width)
    for overview in overviews:
        if overview.state is ExperimentState.PAUSED:
            yield shown(f"{overview.experiment.name} paused: {overview.experiment.paused_reason}")


def _status_row(overview: Overview) -> list[str]:
    counts = overview.counts
    numbers = (
        counts[TrialState.QUEUED],
        counts[TrialState.LEASED],
        counts[TrialState.SUCCEEDED],
        counts[TrialState.FAILED] + counts[TrialState.QUARANTINED],
        counts[TrialState.CANCELLED] + counts[TrialState.PRUNED],
    )
    _, left = pace(overview)
    return [
        overview.experiment.name,
        overview.experiment.id,
        overview.state.value,
        *(f"{number:,}" if number else "-" for number in numbers),
        shown(best_text(overview)),
        duration_text(left) if left else "",
    ]


def trials_table(rows: Sequence[TrialRow], *, width: int) -> Table:
    """Show each trial in a row, with the metrics that people look for first."""
    columns = [
        Column("trial"),
        Column("variant", flexible=True),
        Column(">seed"),
        Column("state"),
        Column(">attempts", drop=3),
        Column(">val/accuracy"),
        Column(">val/loss", drop=2),
        Column(">test/accuracy", drop=1),
        Column(">seconds", drop=4),
        Column("failure", flexible=True),
    ]
    return fitted_table(columns, [_trial_row(row) for row in rows], width=width)


def _trial_row(row: TrialRow) -> list[str]:
    metrics = row.metrics or {}
    accuracy, loss, test = (
        f"{metrics[name]:.4f}" if name in metrics else ""
        for name in ("val/accuracy", "val/loss", "test/accuracy")
    )
    return [
        row.id,
        shown(row.variant),
        str(row.seed),
        "running" if row.state is TrialState.LEASED else row.state.value,
        str(row.num_attempts),
        accuracy,
        loss,
        test,
        "" if row.duration_seconds is None else f"{row.duration_seconds:.1f}",
        "" if row.failure is None else shown(_summary(row.failure.message)),
    ]


def leaderboard_view(
    name: str, objective: Objective, standings: Sequence[Standing], *, width: int
) -> Iterator[RenderableType]:
    """Show variants by rank, with mean, spread and interval of the objective."""
    columns = [
        Column(">"),
        Column("variant", flexible=True),
        Column(f">{objective.metric}"),
        Column(">std", drop=2),
        Column(">95% interval", drop=1),
        Column(">n"),
        Column(">test/accuracy"),
    ]
    yield f"[bold]{name}[/bold]  {objective.metric}, mean over seeds, {objective.goal}"
    rows = [_standing_row(place, standing) for place, standing in enumerate(standings, start=1)]
    yield fitted_table(columns, rows, width=width)
    yield from _caveats(standings)


def _standing_row(place: int, standing: Standing) -> list[str]:
    summary = standing.objective
    if summary is None:
        return ["", shown(standing.variant), "no result", "", "", "0", ""]
    interval = ""
    if summary.low is not None and summary.high is not None:
        interval = f"{summary.low:.4f} to {summary.high:.4f}"
    test = standing.others.get("test/accuracy")
    return [
        str(place),
        shown(standing.variant),
        f"{summary.mean:.4f}",
        "" if summary.std is None else f"{summary.std:.4f}",
        interval,
        str(summary.n),
        "" if test is None else f"{test:.4f}",
    ]


def _caveats(standings: Sequence[Standing]) -> Iterator[str]:
    fewest = min((s.objective.n for s in standings if s.objective), default=0)
    if fewest == 1:
        yield "One seed tells nothing of the spread: set `seeds` to 3 or more."
    incomplete = sum((s.objective.n if s.objective else 0) < s.num_trials for s in standings)
    if incomplete:
        noun = "variant lacks" if incomplete == 1 else "variants lack"
        yield f"{incomplete} {noun} the result of some seeds (n says how many there are)."
    if fewest:
        yield (
            "The interval is Student's t for the mean. The first place was picked for its "
            "validation score, which flatters it; the test column was not used to pick."
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
    yield f"[bold]{row.id}[/bold]  {shown(row.variant)}, seed {row.seed}: {state}"
    yield shown("params   " + _pairs(row.params))
    network = config.architecture
    yield (
        f"network  {network.name}: {network.parameters:,} parameters, "
        f"{network.multiply_adds:,} multiply-adds an image"
    )
    yield f"data     {config.data.name}, digest {config.data.digest[:12]}"
    if row.metrics:
        yield shown(f"result   epoch {row.selected_epoch}: {_pairs(row.metrics)}")
    for attempt in attempts:
        yield shown(
            f"attempt  {attempt.fence}: {attempt.state} on {attempt.worker}{_took(attempt)}"
        )
    for name in dict.fromkeys(point.metric for point in points):
        values = [point.value for point in points if point.metric == name]
        ends = f"{value_text(values[0])} to {value_text(values[-1])}"
        yield f"curve    {name:18} {_bars(values)} {ends}"
    for item in checkpoints:
        size = bytes_text(item.num_bytes)
        yield shown(f"saved    {item.kind}: epoch {item.epoch}, {size}, {item.path}")
    if row.failure is not None:
        yield shown(f"failure  {row.failure.kind.value}: {row.failure.type}: {row.failure.message}")
        if row.failure.traceback:
            yield shown(row.failure.traceback, keep="\n")


def _took(attempt: AttemptRow) -> str:
    took = "" if attempt.ended_at is None else f", {attempt.ended_at - attempt.started_at:.1f} s"
    why = "" if attempt.failure is None else f": {_summary(attempt.failure.message)}"
    return took + why


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value_text(value)}" for key, value in values.items())


def _summary(text: str) -> str:
    """Give the beginning of a message on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_SUMMARY else f"{line[:_LONGEST_SUMMARY]}..."


def _bars(values: Sequence[float]) -> str:
    """Draw a curve in a line of text, thinned to what fits."""
    stride = -(-len(values) // _MOST_BARS)
    kept = values[::stride]
    low, high = min(kept), max(kept)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in kept)
