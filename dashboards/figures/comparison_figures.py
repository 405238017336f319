"""Figures of comparisons: the leaderboard, levels of each factor, pairs of factors."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from dashboards.figures.chart import Axis, Bars, Cell, Cells, Chart, Line, Mark, Points, Table
from dashboards.figures.lettering import listed, rounded, shortened
from dashboards.figures.trial_groups import Goal, Mean, means_of, ranked, trials_by_group
from dashboards.figures.wording import axis_title, counted, metric_words
from dashboards.numbers import metric_text
from experiments.comparison.leaderboard import Standing
from experiments.records import Objective

if TYPE_CHECKING:
    import pandas as pd

_MOST_STANDINGS: Final = 20
_MOST_LEVELS: Final = 12
_MOST_CELL_TEXTS: Final = 12
_ROW_HEIGHT: Final = 26
_FRAME_HEIGHT: Final = 120


def leaderboard_chart(standings: Sequence[Standing], objective: Objective) -> Chart | None:
    """Show the best 20 variants, best on top: mean over seeds and its 95 % t-interval, n told.

    `standings` are ranked. None where no variant has a result.
    """
    ranks = [each for each in standings if each.objective is not None]
    if not ranks:
        return None
    shown = [(each.variant, each.objective) for each in ranks[:_MOST_STANDINGS] if each.objective]
    heights = tuple(float(-i) for i in range(len(shown)))
    summaries = [summary for _, summary in shown]
    words = metric_words(objective.metric)
    bounds = [(_or_nan(s.low), _or_nan(s.high)) for s in summaries]
    points = Points(
        x=tuple(s.mean for s in summaries),
        y=heights,
        texts=tuple(
            f"{name}\n{s.mean:.4g}{_interval_words(s.low, s.high)}\nn = {s.n}" for name, s in shown
        ),
        low=tuple(low for low, _ in bounds),
        high=tuple(high for _, high in bounds),
        along="x",
    )
    first = summaries[0]
    alone = sum(s.n == 1 for s in summaries)
    return Chart(
        name="leaderboard",
        title=f"{words[0].upper()}{words[1:]} of the best variants, with 95 % intervals",
        description=(
            f"{counted(len(shown), 'variant')}, best first: {shown[0][0]} leads with a mean of "
            f"{first.mean:.4g}{_interval_words(first.low, first.high)}, n = {first.n}; "
            f"the last one shown has {summaries[-1].mean:.4g}."
        ),
        x=Axis(
            axis_title(objective.metric), bounds=_around((*points.x, *points.low, *points.high))
        ),
        y=Axis(
            "",
            ticks=tuple(
                (height, f"{shortened(name, most=28)} (n={s.n})")
                for height, (name, s) in zip(heights, shown, strict=True)
            ),
            bounds=(-len(shown) + 0.4, 0.6),
        ),
        marks=(points,),
        table=Table(
            ("rank", "variant", "mean", "95 % low", "95 % high", "seeds (n)"),
            tuple(
                (i, name, rounded(s.mean), _known(s.low), _known(s.high), s.n)
                for i, (name, s) in enumerate(shown, start=1)
            ),
        ),
        note=_leaderboard_note(len(standings), len(ranks), len(shown), alone),
        height=_FRAME_HEIGHT + _ROW_HEIGHT * len(shown),
    )


def main_effects_chart(
    trials: "pd.DataFrame", *, factors: Sequence[str], metric: str, goal: Goal
) -> Chart | None:
    """Show the mean of a metric at each level of each factor, over all else that was varied.

    Factors stand beside each other with a gap between, their levels in the order of the plan
    (numbers: rising). Factors of one level or more than 12 are left out. None where none is left.
    """
    kept = {f: means for f in factors if (means := _levels(trials, f, metric)) is not None}
    if not kept:
        return None
    marks: list[Mark] = []
    ticks: list[tuple[float, str]] = []
    rows: list[tuple[Cell, ...]] = []
    at = 0.0
    for slot, (factor, means) in enumerate(kept.items()):
        places = tuple(at + i for i in range(len(means)))
        y = tuple(mean.mean for mean in means)
        marks.append(Line(places, y, name=factor, slot=slot % 6))
        ticks += [(x, shortened(m.name, most=16)) for x, m in zip(places, means, strict=True)]
        rows += [(factor, m.name, rounded(m.mean), m.n, m.num_trials - m.n) for m in means]
        at = places[-1] + 2.0
    spans = {
        f: max(m.mean for m in means) - min(m.mean for m in means) for f, means in kept.items()
    }
    widest = max(spans, key=lambda f: spans[f])
    words = metric_words(metric)
    best = ranked(kept[widest], goal)[0]
    dropped = [factor for factor in factors if factor not in kept]
    left = f" Left out, with one level or more than 12: {listed(dropped)}." if dropped else ""
    return Chart(
        name="main-effects",
        title=f"Mean {words} at each level of each factor",
        description=(
            f"Means of {words} by level of {listed(list(kept))}; levels differ most for {widest}, "
            f"by {spans[widest]:.3g}, and {best.name} is its best with {best.mean:.4g}."
        ),
        x=Axis("level of each factor", ticks=tuple(ticks), bounds=(-0.6, at - 1.4)),
        y=Axis(axis_title(metric)),
        marks=tuple(marks),
        table=Table(("factor", "level", "mean", "trials (n)", "without a number"), tuple(rows)),
        note=(
            "Means over all trials with a number at a level, whatever else they had: where not "
            f"every combination was tried, they mix effects.{left}"
        ),
        legend_title="factor",
    )


def interaction_chart(
    trials: "pd.DataFrame", *, rows: str, columns: str, metric: str, goal: Goal
) -> Chart | None:
    """Show the mean of a metric for each pair of levels of two factors.

    None where a factor has fewer than two or more than 12 levels with a number.
    """
    if rows not in trials or columns not in trials:
        return None
    both = trials[trials[rows].notna() & trials[columns].notna()]
    tops, sides = _levels(both, columns, metric), _levels(both, rows, metric)
    if tops is None or sides is None:
        return None
    by_row = {name: means_of(part, columns, metric) for name, part in _parts(trials, rows)}
    found = {(name, mean.name): mean for name, means in by_row.items() for mean in means}
    pairs = [[found.get((side.name, top.name)) for top in tops] for side in sides]
    values = tuple(tuple(m.mean if m else math.nan for m in line) for line in pairs)
    texts = tuple(
        tuple(f"{metric_text(metric, m.mean)}\nn={m.n}" if m and m.n else "" for m in line)
        for line in pairs
    )
    best = ranked([m for line in pairs for m in line if m], goal)
    if not best:
        return None
    corner = next(pair for pair, mean in found.items() if mean is best[0])
    words = metric_words(metric)
    return Chart(
        name=f"interaction-{rows}-{columns}".replace("_", "-"),
        title=f"Mean {words} by {rows} and {columns}",
        description=(
            f"A cell for each of {len(sides)} levels of {rows} and {len(tops)} of {columns}; best "
            f"is {corner[0]} with {corner[1]}, {best[0].mean:.4g} (n = {best[0].n})."
        ),
        x=Axis(columns, ticks=tuple((float(j), shortened(m.name, most=16)) for j, m in _at(tops))),
        y=Axis(rows, ticks=tuple((float(-i), shortened(m.name, most=22)) for i, m in _at(sides))),
        marks=(Cells(values, texts if len(tops) <= _MOST_CELL_TEXTS else (), words),),
        table=Table(
            (rows, columns, "mean", "lowest", "highest", "trials (n)"),
            tuple(
                (side.name, top.name)
                + (
                    (rounded(m.mean), rounded(m.low), rounded(m.high), m.n)
                    if m
                    else (None,) * 3 + (0,)
                )
                for side, line in zip(sides, pairs, strict=True)
                for top, m in zip(tops, line, strict=True)
            ),
        ),
        note="Means over seeds and all else that was varied; empty cells were not tried or failed.",
        height=_FRAME_HEIGHT + 30 + max(3, len(sides)) * 48,
    )


def shares_chart(shares: Mapping[str, float], *, metric: str, method: str) -> Chart | None:
    """Show how much of a metric's variance goes with each factor, pair or seed, largest on top.

    `shares` are of 1; `method` is a sentence on how they were had. None where there are none.
    """
    known = sorted(
        ((name, share) for name, share in shares.items() if math.isfinite(share)),
        key=lambda pair: -pair[1],
    )
    if not known:
        return None
    shown = known[:_MOST_STANDINGS]
    heights = tuple(float(-i) for i in range(len(shown)))
    words = metric_words(metric)
    left = len(known) - len(shown)
    return Chart(
        name="variance-shares",
        title=f"What {words} depends on: shares of its variance",
        description=(
            f"Bars of shares of variance, largest first: "
            f"{'; '.join(f'{name} {100 * share:.1f} %' for name, share in shown[:3])}."
        ),
        x=Axis("share of the variance (%)", bounds=(0.0, 118 * max(s for _, s in shown))),
        y=Axis(
            "",
            ticks=tuple(
                (h, shortened(n, most=28)) for h, (n, _) in zip(heights, shown, strict=True)
            ),
            bounds=(-len(shown) + 0.4, 0.6),
        ),
        marks=(
            Bars(
                y=heights,
                lengths=tuple(100 * share for _, share in shown),
                texts=tuple(f"{100 * share:.1f} %" for _, share in shown),
            ),
        ),
        table=Table(
            ("what", "share of the variance (%)"),
            tuple((name, rounded(100 * share)) for name, share in known),
        ),
        note=f"{method}{f' {left} smaller ones are in the table only.' if left else ''}",
        height=_FRAME_HEIGHT + _ROW_HEIGHT * len(shown),
    )


def _levels(trials: "pd.DataFrame", factor: str, metric: str) -> list[Mean] | None:
    if factor not in trials:
        return None
    means = [mean for mean in means_of(trials, factor, metric) if mean.n]
    if not 2 <= len(means) <= _MOST_LEVELS:
        return None
    return sorted(means, key=lambda m: float(m.name)) if _are_numbers(trials, factor) else means


def _are_numbers(trials: "pd.DataFrame", factor: str) -> bool:
    return trials[factor].dtype.kind in "iuf"


def _parts(trials: "pd.DataFrame", factor: str) -> list[tuple[str, "pd.DataFrame"]]:
    return list(trials_by_group(trials, factor).items())


def _at(means: list[Mean]) -> list[tuple[int, Mean]]:
    return list(enumerate(means))


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Give ends that leave a margin around values; NaN counts for nothing."""
    known = [value for value in values if not math.isnan(value)]
    margin = 0.06 * (max(known) - min(known)) or 0.05 * abs(known[0]) or 1.0
    return min(known) - margin, max(known) + margin


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _known(value: float | None) -> float | None:
    return None if value is None else rounded(value)


def _interval_words(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" (95 % interval {low:.4g} to {high:.4g})"


def _leaderboard_note(num_all: int, num_ranked: int, num_shown: int, alone: int) -> str:
    said = "Points are means over seeds, bars 95 % t-intervals of the mean"
    parts = [f"{said}; where all seeds agree there is none."]
    if alone:
        parts.append(f"{counted(alone, 'variant')} with one seed only: no interval.")
    if num_ranked > num_shown:
        parts.append(f"{counted(num_ranked - num_shown, 'variant')} further down not shown.")
    if num_all > num_ranked:
        parts.append(f"{counted(num_all - num_ranked, 'variant')} without a result.")
    return " ".join(parts)
