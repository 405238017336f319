"""Figures of what quality costs: computation, parameters, speed, batch size."""

from typing import TYPE_CHECKING, Final

import numpy as np

from dashboards.figures.chart import Axis, Chart, Line, Mark, Points, Table
from dashboards.figures.lettering import large_number_text, listed, rounded, shortened
from dashboards.figures.palette import NUM_SLOTS
from dashboards.figures.pareto import pareto_front
from dashboards.figures.trial_groups import Goal, finite, means_of, ranked, value_name
from dashboards.figures.wording import axis_title, counted, metric_words

if TYPE_CHECKING:
    import pandas as pd

_LOG_FROM: Final = 5.0
_MOST_TOLD: Final = 6
_CHEAP_IS_HIGH: Final = frozenset({"images_per_second", "batch_size"})
OTHERS: Final = "others"


def with_speed(trials: "pd.DataFrame", curves: "pd.DataFrame") -> "pd.DataFrame":
    """Add the column `images_per_second`: each trial's median over its epochs.

    The median, because the first epoch of a process is slow. Missing where none was measured.
    """
    rows = curves[curves["metric"] == "images_per_second"]
    medians = rows.groupby("trial")["value"].median()
    return trials.assign(images_per_second=trials["trial"].map(medians).astype(float))


def cost_chart(
    trials: "pd.DataFrame", *, cost: str, metric: str, goal: Goal, group: str = "model"
) -> Chart | None:
    """Show variants by a metric against a cost, with the Pareto front.

    `cost` is a column: `multiply_adds`, `images_per_second` (see `with_speed`), `batch_size`,
    `seconds`, or another number. A point is a variant, both numbers means over its trials that
    have both; its area is that of its `parameters`, where trials have that column. Colour and
    symbol are the value of `group`, those after the sixth best being one group. The front joins
    what no other variant beats at less cost; of images a second, and of the batch size, which
    keeps more of a machine busy, more is cheaper. None where the column is missing, or no trial
    has both numbers.
    """
    if cost not in trials:
        return None
    table = _variant_means(trials, cost=cost, metric=metric, group=group)
    if table.empty:
        return None
    gains = table["metric"] if goal == "maximize" else -table["metric"]
    on_front = pareto_front(
        table["cost"].tolist(), gains.tolist(), cheap_is_low=cost not in _CHEAP_IS_HIGH
    )
    costs = table["cost"].to_numpy()
    is_log = bool(costs.min() > 0 and costs.max() / costs.min() > _LOG_FROM)
    front = table.iloc[on_front]
    has_size = bool(table["parameters"].notna().all())
    border = Line(tuple(front["cost"]), tuple(front["metric"]), name="Pareto front", style="front")
    words = metric_words(metric)
    return Chart(
        name=f"{metric.replace('/', '-')}-against-{cost}".replace("_", "-"),
        title=f"{words[0].upper()}{words[1:]} against {metric_words(cost)}",
        description=(
            f"{counted(len(table), 'variant')} as points, {words} against {metric_words(cost)}; "
            f"the Pareto front is {_walk(table, on_front)}."
        ),
        x=Axis(axis_title(cost), scale="log" if is_log else "linear"),
        y=Axis(axis_title(metric)),
        marks=(border, *_points(table, group, goal, on_front, has_size=has_size)),
        table=_table(table, on_front, cost=cost, metric=metric, has_size=has_size),
        note=_note(table, on_front, has_size=has_size, cost=cost),
        height=420,
        legend_title=group,
    )


def _variant_means(trials: "pd.DataFrame", *, cost: str, metric: str, group: str) -> "pd.DataFrame":
    """Give a row a variant: name, group, mean cost, mean metric, parameters, n; best first not."""
    import pandas as pd

    numbers = pd.DataFrame(
        {
            "variant": trials["variant"].astype(str),
            "group": trials[group].map(value_name) if group in trials else "all",
            "cost": finite(trials[cost]),
            "metric": finite(trials[metric]),
            "parameters": finite(trials["parameters"]) if "parameters" in trials else np.nan,
        }
    ).dropna(subset=["cost", "metric"])
    groups = numbers.groupby("variant", sort=False)
    means = groups.agg(
        group=("group", "first"),
        cost=("cost", "mean"),
        metric=("metric", "mean"),
        parameters=("parameters", "mean"),
        n=("metric", "size"),
    )
    return means.reset_index()


def _points(
    table: "pd.DataFrame", group: str, goal: Goal, front: list[int], *, has_size: bool
) -> list[Mark]:
    """Give the points by group, the largest bubbles first so that small ones lie above them."""
    names = [mean.name for mean in ranked(means_of(table, "group", "metric"), goal)]
    if len(names) > NUM_SLOTS:
        names = [*names[: NUM_SLOTS - 1], OTHERS]
    kind = table["group"].where(table["group"].isin(names), OTHERS)
    marks: list[Mark] = []
    for slot, name in enumerate(names):
        mine = table[kind == name]
        if has_size:
            mine = mine.sort_values("parameters", ascending=False, kind="stable")
        marks.append(
            Points(
                x=tuple(mine["cost"]),
                y=tuple(mine["metric"]),
                name=f"{name} ({group})" if len(names) == 1 else name,
                slot=slot,
                texts=tuple(_told(row) for row in mine.itertuples()),
                labels=tuple(str(front.index(i) + 1) if i in front else "" for i in mine.index),
                weights=tuple(mine["parameters"]) if has_size else (),
            )
        )
    return marks


def _told(row: object) -> str:
    values = row._asdict()  # type: ignore[attr-defined]  # a row of itertuples
    size = values["parameters"]
    known = "" if np.isnan(size) else f"\n{large_number_text(size)} parameters"
    return (
        f"{values['variant']}\n{values['metric']:.4g} at {large_number_text(values['cost'])}"
        f"{known}\nn = {values['n']}"
    )


def _walk(table: "pd.DataFrame", front: list[int]) -> str:
    steps = [
        f"{shortened(table['variant'][i])} ({table['metric'][i]:.4g} at "
        f"{large_number_text(table['cost'][i])})"
        for i in front
    ]
    if len(steps) > _MOST_TOLD:
        steps = [*steps[:2], f"{len(steps) - 3} more", steps[-1]]
    return listed(steps)


def _table(
    table: "pd.DataFrame", front: list[int], *, cost: str, metric: str, has_size: bool
) -> Table:
    columns = ("variant", axis_title(cost), axis_title(metric), "place on the front", "trials (n)")
    rows = []
    for i, row in enumerate(table.to_dict("records")):
        known = (rounded(row["parameters"]),) if has_size else ()
        place = front.index(i) + 1 if i in front else None
        rows.append(
            (row["variant"], rounded(row["cost"]), rounded(row["metric"]), place, row["n"], *known)
        )
    return Table((*columns, *(("parameters",) if has_size else ())), tuple(rows))


def _note(table: "pd.DataFrame", front: list[int], *, has_size: bool, cost: str) -> str:
    area = " Areas grow with the number of parameters." if has_size else ""
    way = " Further right is cheaper." if cost in _CHEAP_IS_HIGH else ""
    told = [f"{k} {shortened(table['variant'][i])}" for k, i in enumerate(front[:_MOST_TOLD], 1)]
    more = " (the others: see the table)" if len(front) > len(told) else ""
    return (
        f"A point is a variant, both numbers means over its trials.{area}{way} On the Pareto "
        f"front, which nothing beats at less cost: {', '.join(told)}{more}."
    )
