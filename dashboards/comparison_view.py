"""Levels of a hyperparameter compared, as people read it in a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType

from dashboards.numbers import metric_text
from dashboards.tables import Column, fitted_table, shown
from experiments.comparison.comparison import Comparison, Pair
from experiments.comparison.levels import Level, level_label
from experiments.comparison.wording import p_text


def comparison_view(name: str, comparison: Comparison, *, width: int) -> Iterator[RenderableType]:
    """Show the levels, best first, then each pair of them with its verdict, then the caveats."""
    metric = comparison.metric
    yield f"[bold]{shown(name)}[/bold]  {metric} by {shown(comparison.by)}, {comparison.goal}"
    yield fitted_table(
        [
            Column(shown(comparison.by), flexible=True),
            Column(f">{metric}"),
            Column(">95% interval", drop=1),
            Column(">seeds"),
            Column(">results", drop=3),
            Column(">no number", drop=2),
        ],
        [_level_row(level, metric) for level in comparison.levels],
        width=width,
    )
    if comparison.pairs:
        yield ""
        yield fitted_table(
            [
                Column("a", flexible=True),
                Column("b", flexible=True),
                Column(">a - b"),
                Column(">95% interval", drop=1),
                Column(">p", drop=3),
                Column(">settings", drop=4),
                Column(">seeds", drop=2),
                Column("a is"),
            ],
            [_pair_row(pair, metric) for pair in comparison.pairs],
            width=width,
        )
        yield ""
        yield from (f"{shown(pair.words)}." for pair in comparison.pairs[:3])
    yield from map(shown, comparison.caveats)
    yield (
        "Pairs agree in all other hyperparameters and in the seed; p is corrected for their number "
        "(Holm)."
    )


def _level_row(level: Level, metric: str) -> list[str]:
    return [
        shown(level_label(level.level)),
        "no result" if level.mean is None else metric_text(metric, level.mean),
        _interval(level.low, level.high, metric),
        str(level.num_seeds),
        str(level.n),
        str(level.num_failed) if level.num_failed else "",
    ]


def _pair_row(pair: Pair, metric: str) -> list[str]:
    return [
        shown(level_label(pair.a)),
        shown(level_label(pair.b)),
        "" if pair.difference is None else metric_text(metric, pair.difference),
        _interval(pair.low, pair.high, metric),
        "" if pair.p_value is None else p_text(pair.p_value).removeprefix("p ").removeprefix("= "),
        str(pair.num_cells),
        str(pair.num_seeds),
        pair.verdict.value,
    ]


def _interval(low: float | None, high: float | None, metric: str) -> str:
    if low is None or high is None:
        return ""
    return f"{metric_text(metric, low)} to {metric_text(metric, high)}"
