"""The figure of a metric against the learning rate."""

from typing import TYPE_CHECKING

import numpy as np

from dashboards.figures.chart import Axis, Chart, Line, Mark, Table
from dashboards.figures.lettering import rounded, shortened
from dashboards.figures.palette import NUM_SLOTS
from dashboards.figures.trial_groups import (
    Goal,
    Mean,
    best_groups,
    finite,
    means_of,
    trials_by_group,
)
from dashboards.figures.wording import axis_title, counted, metric_words
from experiments.tasks import natural_goal

if TYPE_CHECKING:
    import pandas as pd


def rate_chart(
    trials: "pd.DataFrame",
    *,
    metric: str,
    objective: str,
    goal: Goal,
    rate: str = "lr",
    group: str = "model",
) -> Chart | None:
    """Show a metric, such as `val/loss`, against the learning rate on a logarithmic axis.

    Lines join the means at each rate, one for each of the six best values of `group` by mean
    `objective`, with a band from the lowest to the highest trial. Trials that gave no number
    (diverged, failed) are counted at their rate. None where fewer than two rates gave one.
    """
    if rate not in trials or group not in trials:
        return None
    numbers = trials.assign(**{rate: finite(trials[rate])})
    numbers = numbers[numbers[rate] > 0].sort_values(rate, kind="stable")
    known = numbers[~np.isnan(finite(numbers[metric]))]
    if known[rate].nunique() < 2:
        return None
    groups = trials_by_group(numbers, group)
    names = best_groups(known, group, objective, goal, NUM_SLOTS)
    marks: list[Mark] = []
    found: list[tuple[str, Mean]] = []
    for slot, name in enumerate(names):
        means = means_of(groups[name], rate, metric)
        rates = tuple(float(mean.name) for mean in means)
        spread = any(mean.n > 1 for mean in means)
        marks.append(
            Line(
                x=rates,
                y=tuple(mean.mean for mean in means),
                name=name,
                slot=slot,
                low=tuple(mean.low for mean in means) if spread else (),
                high=tuple(mean.high for mean in means) if spread else (),
            )
        )
        found += [(name, mean) for mean in means]
    return _drawn(known, marks, found, metric=metric, rate=rate, group=group, left=len(groups))


def _drawn(
    known: "pd.DataFrame",
    marks: list[Mark],
    found: list[tuple[str, Mean]],
    *,
    metric: str,
    rate: str,
    group: str,
    left: int,
) -> Chart:
    rates = sorted({float(mean.name) for _, mean in found})
    lost = sum(mean.num_trials - mean.n for _, mean in found)
    rows = tuple(
        (
            name,
            float(m.name),
            rounded(m.mean),
            rounded(m.low),
            rounded(m.high),
            m.n,
            m.num_trials - m.n,
        )
        for name, m in found
    )
    values = finite(known[metric])
    words, at = metric_words(metric), metric_words(rate)
    is_log = metric.endswith("loss") and values.min() > 0 and values.max() / values.min() > 30
    more = f" The best {len(marks)} of {left} are shown." if left > len(marks) else ""
    gave = f" {counted(lost, 'trial')} gave no number (see the table)." if lost else ""
    return Chart(
        name=f"{metric.replace('/', '-')}-against-{rate}".replace("_", "-"),
        title=f"{words[0].upper()}{words[1:]} against {at}",
        description=(
            f"{words[0].upper()}{words[1:]} for each {group} at the rates "
            f"{', '.join(f'{rate:g}' for rate in rates)}: {_best(found, metric)}"
        ),
        x=Axis(
            at, scale="log", ticks=tuple((r, f"{r:g}") for r in rates) if len(rates) < 8 else ()
        ),
        y=Axis(axis_title(metric), scale="log" if is_log else "linear"),
        marks=tuple(marks),
        table=Table(
            (group, at, "mean", "lowest", "highest", "trials (n)", "without a number"), rows
        ),
        note=f"Lines are means over all trials at a rate, bands their range.{gave}{more}",
        legend_title=group,
    )


def _best(found: list[tuple[str, Mean]], metric: str) -> str:
    """Say where each group is best."""
    sign, word = (-1.0, "lowest") if natural_goal(metric) == "minimize" else (1.0, "highest")
    best: dict[str, Mean] = {}
    for name, mean in found:
        if mean.n and (name not in best or sign * mean.mean > sign * best[name].mean):
            best[name] = mean
    told = "; ".join(f"{shortened(name)} is {word} at {m.name}" for name, m in best.items())
    return f"{told}."
