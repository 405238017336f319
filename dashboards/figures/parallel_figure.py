"""Parallel coordinates: every variant as a line through its hyperparameters and its result.

Drawn with plain lines: plotly's own trace of that kind needs WebGL, which a printed or old page
does not have (Inselberg 1985 is the idea).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from dashboards.figures.chart import Axis, Chart, Labels, Line, Mark, Table
from dashboards.figures.lettering import rounded, shortened
from dashboards.figures.thinning import spread_out
from dashboards.figures.trial_groups import Goal, finite, value_name
from dashboards.figures.wording import counted, metric_words

if TYPE_CHECKING:
    import pandas as pd

_MOST_AXES: Final = 8
_MOST_TICKS: Final = 12
_MOST_LINES: Final = 500
_BEST: Final = 3
_NOT_APPLICABLE: Final = "n/a"


def parallel_chart(
    trials: "pd.DataFrame", *, factors: Sequence[str], metric: str, goal: Goal
) -> Chart | None:
    """Show each variant as a line from axis to axis: the factors, then its mean metric.

    The three best are drawn strong, up to 500 others faint. Levels lie evenly on their axes,
    numbers rising, and at most 12 of them are named. A factor that does not apply to a variant
    has the level `n/a`. At most 8 factors; None where none varies or no trial has a number.
    """
    import pandas as pd

    known = trials[~np.isnan(finite(trials[metric]))]
    varied = [f for f in factors if f in known and _texts(known, f).nunique() > 1]
    shown = varied[:_MOST_AXES]
    if not shown:
        return None
    columns = {f: _texts(known, f) for f in shown}
    table = pd.DataFrame({"variant": known["variant"].astype(str), **columns})
    table["metric"] = finite(known[metric])
    groups = table.groupby("variant", sort=False)
    lines = groups.first()[list(columns)].assign(metric=groups["metric"].mean())
    lines = lines.sort_values("metric", ascending=goal == "minimize", kind="stable")
    heights, marks = _axes(lines, shown, known)
    drawn = [i + _BEST for i in spread_out(len(lines) - _BEST, most=_MOST_LINES)]
    words = metric_words(metric)
    return Chart(
        name="parallel-coordinates",
        title=f"Every variant from its hyperparameters to its {words}",
        description=_described(lines, shown, words),
        x=Axis(
            "",
            ticks=tuple((float(i), a) for i, a in enumerate([*shown, words])),
            bounds=(-0.15, len(shown) + 0.4),
        ),
        y=Axis("", shown=False, bounds=(-0.06, 1.06)),
        marks=(_faint(heights, drawn), *marks, *_best(lines, heights)),
        table=_table(lines, shown, groups["metric"].size(), words),
        note=_note(len(lines), len(drawn), len(varied) - len(shown)),
        height=440,
        legend_title="the best",
    )


def _texts(trials: "pd.DataFrame", factor: str) -> "pd.Series[str]":
    column = trials[factor]
    return column.map(value_name).where(column.notna(), _NOT_APPLICABLE).astype(str)


def _axes(
    lines: "pd.DataFrame", factors: Sequence[str], trials: "pd.DataFrame"
) -> tuple[np.ndarray, list[Mark]]:
    """Give the height of each line (row) on each axis (column), and the axes with their texts."""
    heights = np.empty((len(lines), len(factors) + 1))
    marks: list[Mark] = []
    for i, factor in enumerate(factors):
        levels = _ordered(lines[factor].unique().tolist(), trials[factor].dtype.kind in "iuf")
        places = {name: k / max(1, len(levels) - 1) for k, name in enumerate(levels)}
        heights[:, i] = [places[name] for name in lines[factor]]
        ticks = [levels[k] for k in spread_out(len(levels), most=_MOST_TICKS)]
        marks += [
            Line((float(i),) * 2, (0.0, 1.0), style="rule"),
            Labels(
                (float(i),) * len(ticks),
                tuple(places[name] for name in ticks),
                tuple(shortened(name, most=16) for name in ticks),
            ),
        ]
    values = lines["metric"].to_numpy(dtype=float)
    low, high = float(values.min()), float(values.max())
    span = high - low or 1.0
    heights[:, -1] = (values - low) / span if high > low else 0.5
    last = float(len(factors))
    ends = (0.0, 0.25, 0.5, 0.75, 1.0) if high > low else (0.5,)
    texts = tuple(f"{low + end * span if high > low else low:.4g}" for end in ends)
    marks += [
        Line((last,) * 2, (0.0, 1.0), style="rule"),
        Labels((last,) * len(ends), ends, texts),
    ]
    return heights, marks


def _ordered(levels: list[str], are_numbers: bool) -> list[str]:
    if not are_numbers:
        return levels
    known = sorted((name for name in levels if name != _NOT_APPLICABLE), key=float)
    return known + [_NOT_APPLICABLE] * (_NOT_APPLICABLE in levels)


def _faint(heights: np.ndarray, drawn: list[int]) -> Line:
    x: list[float] = []
    y: list[float] = []
    num_axes = heights.shape[1]
    for i in drawn:
        x += [*map(float, range(num_axes)), num_axes - 1.0]
        y += [*heights[i].tolist(), np.nan]
    return Line(tuple(x), tuple(y), style="faint", name="others" if drawn else "")


def _best(lines: "pd.DataFrame", heights: np.ndarray) -> list[Mark]:
    x = tuple(map(float, range(heights.shape[1])))
    return [
        Line(x, tuple(heights[i].tolist()), name=f"{i + 1}. {lines.index[i]}", slot=i)
        for i in range(min(_BEST, len(lines)))
    ]


def _described(lines: "pd.DataFrame", factors: Sequence[str], words: str) -> str:
    best = ", ".join(f"{factor} {lines[factor].iloc[0]}" for factor in factors)
    return (
        f"{counted(len(lines), 'variant')} as lines through {counted(len(factors), 'factor')}; the "
        f"best has {best} and {words} {lines['metric'].iloc[0]:.4g}."
    )


def _table(
    lines: "pd.DataFrame", factors: Sequence[str], counts: "pd.Series[int]", words: str
) -> Table:
    rows = tuple(
        (name, *(row[factor] for factor in factors), rounded(row["metric"]), int(counts[name]))
        for name, row in zip(lines.index, lines.to_dict("records"), strict=True)
    )
    return Table(("variant", *factors, words, "trials (n)"), rows)


def _note(num_lines: int, num_drawn: int, num_left: int) -> str:
    parts = ["The end of a line is the mean over its trials; n/a: does not apply."]
    if num_lines - _BEST > num_drawn:
        parts.append(f"Of {num_lines - _BEST} others, {num_drawn} are drawn.")
    if num_left:
        parts.append(f"{counted(num_left, 'further factor')} not drawn.")
    return " ".join(parts)
