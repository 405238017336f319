"""Figures of what was measured during training: metrics by epoch, losses by step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dashboards.figures.chart import Axis, Chart, Line, Table
from dashboards.figures.lettering import rounded, shortened
from dashboards.figures.palette import NUM_SLOTS
from dashboards.figures.thinning import spread_out, thinned
from dashboards.figures.trial_groups import Goal, best_groups, trials_by_group
from dashboards.figures.wording import axis_title, counted, metric_words

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS: Final = 60
_MOST_MEMBERS: Final = 5
_MOST_BATCH_LOSSES: Final = 4
_MOST_OTHERS: Final = 60
_OTHERS_POINTS: Final = 30
_LOG_FROM: Final = 30.0
_Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class _Band:
    """Mean, lowest and highest of n curves at x."""

    name: str
    x: _Array
    mean: _Array
    low: _Array
    high: _Array
    n: int


def curves_chart(
    trials: "pd.DataFrame",
    curves: "pd.DataFrame",
    *,
    metric: str,
    objective: str,
    goal: Goal,
    by: str = "variant",
) -> Chart | None:
    """Show a metric by epoch: mean and range over the trials of each variant (or level of `by`).

    The best six by mean `objective` are lines with a band from the lowest to the highest trial
    and up to five faint members each; of the others at most 60 means are faint. A mean ends
    where the first of its trials ends, so that it is always one of the same trials. None where
    the curves have no number of this metric.
    """
    wide = _wide(curves, metric, index="epoch")
    if wide is None:
        return None
    groups = trials_by_group(trials, by)
    order = best_groups(trials, by, objective, goal, len(groups))
    shown = [b for name in order if (b := _band(name, _members(wide, groups[name]))) is not None]
    if not shown:
        return None
    best, others = shown[:NUM_SLOTS], shown[NUM_SLOTS:]
    faint = [_faint_others(others)] if others else []
    for band in best:
        members = _members(wide, groups[band.name])
        if band.n > 1:
            faint.append(_faint_members(members))
    lines = [_series(band, slot) for slot, band in enumerate(best)]
    what = "variant" if by == "variant" else by
    axis = _value_axis(metric, best, zooms=True)
    words = metric_words(metric)
    return Chart(
        name=f"curves-{metric.replace('/', '-').replace('_', '-')}",
        title=f"{words[0].upper()}{words[1:]} by epoch",
        description=_ends_in_words(f"Lines of {words}, best {what} first", best),
        x=Axis("epoch"),
        y=axis,
        marks=(*faint, *lines),
        table=_table(what, "epoch", lines, [band.n for band in best], [b.name for b in best]),
        note=f"{_note(what, best, others)}{_cut_words(axis)}",
        legend_title=what,
    )


def batch_loss_chart(
    trials: "pd.DataFrame", curves: "pd.DataFrame", *, objective: str, goal: Goal
) -> Chart | None:
    """Show the loss of single batches by optimizer step, for the best four variants.

    Steps are gathered into at most 60 stretches: the line is the mean of the batches of all
    seeds in a stretch, the band goes from the lowest to the highest. None where no batch's loss
    was kept.
    """
    rows = curves[curves["metric"] == "train/batch_loss"]
    groups = trials_by_group(trials, "variant")
    bands = []
    for name in best_groups(trials, "variant", objective, goal, _MOST_BATCH_LOSSES):
        ids = groups[name]["trial"]
        mine = rows[rows["trial"].isin(set(ids))]
        band = _binned(name, mine["step"].to_numpy(dtype=float), _values(mine), len(ids))
        if band is not None:
            bands.append(band)
    if not bands:
        return None
    lines = [_series(band, slot) for slot, band in enumerate(bands)]
    dropped = len(groups) - len(bands)
    left = f" {counted(dropped, 'variant')} not shown." if dropped else ""
    note = (
        "Lines are means over stretches of steps and over seeds; bands go from the lowest to the "
        f"highest batch of a stretch.{left}"
    )
    return Chart(
        name="batch-loss",
        title="Training loss of single batches by step",
        description=_ends_in_words("Lines of batch loss, best variant first", bands, at="step"),
        x=Axis("optimizer step"),
        y=_value_axis("train/batch_loss", bands),
        marks=tuple(lines),
        table=_table("variant", "step", lines, [b.n for b in bands], [b.name for b in bands]),
        note=note,
        legend_title="variant",
    )


def trial_chart(curves: "pd.DataFrame", *, trial: str, metrics: tuple[str, ...]) -> Chart | None:
    """Show some metrics of one trial by epoch, such as its losses on both splits.

    They share an axis, which has the title of the first. None where there is no number.
    """
    mine = curves[curves["trial"] == trial]
    bands = []
    for metric in metrics:
        wide = _wide(mine, metric, index="epoch")
        if wide is not None:
            values = wide.to_numpy()[:, 0]
            x = wide.index.to_numpy(dtype=float)
            bands.append(_Band(metric_words(metric), x, values, values, values, 1))
    if not bands:
        return None
    lines = [_series(band, slot) for slot, band in enumerate(bands)]
    lost = sum(int(np.isnan(band.mean).sum()) for band in bands)
    return Chart(
        name=f"trial-{trial}",
        title=f"Trial {shortened(trial)}: {' and '.join(b.name for b in bands)} by epoch",
        description=_ends_in_words("Lines of one trial", bands),
        x=Axis("epoch"),
        y=_value_axis(metrics[0], bands),
        marks=tuple(lines),
        table=_table("metric", "epoch", lines, [1] * len(bands), [b.name for b in bands]),
        note=f"{counted(lost, 'value')} that are no numbers left out." if lost else "",
        height=300,
        legend_title="",
    )


def _wide(curves: "pd.DataFrame", metric: str, *, index: str) -> "pd.DataFrame | None":
    """Give a metric with a row an epoch and a column a trial; None where it has no number."""
    rows = curves[curves["metric"] == metric]
    if rows.empty or np.isnan(_values(rows)).all():
        return None
    table = rows.assign(value=_values(rows)).drop_duplicates(["trial", index], keep="last")
    wide = table.pivot(index=index, columns="trial", values="value")
    return wide.sort_index().astype(float)


def _values(rows: "pd.DataFrame") -> _Array:
    values = rows["value"].to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _members(wide: "pd.DataFrame", group: "pd.DataFrame") -> "pd.DataFrame":
    """Give the curves of a group's trials: of those that succeeded, or of all where none did."""
    succeeded = group[group["state"] == "succeeded"]
    for rows in (succeeded, group):
        members = wide[[name for name in rows["trial"] if name in wide.columns]]
        if members.notna().to_numpy().any():
            return members
    return wide.iloc[:, :0]


def _band(name: str, members: "pd.DataFrame") -> _Band | None:
    complete = members.dropna()
    if complete.empty or members.shape[1] == 0:
        return None
    values = complete.to_numpy()
    x = complete.index.to_numpy(dtype=float)
    return _Band(
        name, x, values.mean(axis=1), values.min(axis=1), values.max(axis=1), values.shape[1]
    )


def _binned(name: str, step: _Array, value: _Array, num_trials: int) -> _Band | None:
    step, value = step[~np.isnan(value)], value[~np.isnan(value)]
    if not step.size:
        return None
    order = np.argsort(step, kind="stable")
    step, value = step[order], value[order]
    distinct = np.unique(step)
    stretches = np.array_split(distinct, min(MOST_POINTS, distinct.size))
    starts = np.searchsorted(step, [stretch[0] for stretch in stretches])
    counts = np.diff(np.append(starts, step.size))
    return _Band(
        name,
        np.array([stretch.mean() for stretch in stretches]),
        np.add.reduceat(value, starts) / counts,
        np.minimum.reduceat(value, starts),
        np.maximum.reduceat(value, starts),
        num_trials,
    )


def _series(band: _Band, slot: int) -> Line:
    places = thinned(band.mean.tolist(), most=MOST_POINTS)

    def chosen(values: _Array) -> tuple[float, ...]:
        return tuple(values[places].tolist())

    alone = bool((band.low == band.high).all()) or np.isnan(band.mean).any()
    return Line(
        x=chosen(band.x),
        y=chosen(band.mean),
        name=band.name,
        slot=slot,
        low=() if alone else chosen(band.low),
        high=() if alone else chosen(band.high),
    )


def _faint_members(members: "pd.DataFrame") -> Line:
    x = members.index.to_numpy(dtype=float)
    columns = [members[name].to_numpy() for name in members.columns[:_MOST_MEMBERS]]
    return _joined([(x, column) for column in columns])


def _faint_others(others: list[_Band]) -> Line:
    shown = [others[i] for i in spread_out(len(others), most=_MOST_OTHERS)]
    name = f"{counted(len(others), 'other')}, means"
    return _joined([(band.x, band.mean) for band in shown], name=name)


def _joined(curves: list[tuple[_Array, _Array]], *, name: str = "") -> Line:
    """Make one line of several, with gaps between: one mark costs less than sixty."""
    x: list[float] = []
    y: list[float] = []
    for xs, ys in curves:
        places = thinned(ys.tolist(), most=_OTHERS_POINTS)
        x += [*xs[places].tolist(), xs[places[-1]]]
        y += [*ys[places].tolist(), np.nan]
    return Line(tuple(x), tuple(y), name=name, style="faint")


def _value_axis(metric: str, bands: list[_Band], *, zooms: bool = False) -> Axis:
    """Give an axis for a metric: logarithmic for losses that span more than a factor of 30."""
    values = np.concatenate([np.concatenate([b.low, b.mean, b.high]) for b in bands])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if metric.endswith("loss") and low > 0 and high / low > _LOG_FROM:
        return Axis(axis_title(metric), scale="log")
    zoom = None if metric.endswith("loss") or not zooms else _zoomed(bands, low, high)
    return Axis(axis_title(metric), bounds=zoom)


def _zoomed(bands: list[_Band], low: float, high: float) -> tuple[float, float] | None:
    """Give the ends of a scale on which differences are seen after the first epochs.

    None where the whole range does: where what comes after the first quarter of the epochs
    takes more than a third of it.
    """
    late = np.concatenate(
        [values[len(values) // 4 :] for b in bands for values in (b.low, b.mean, b.high)]
    )
    late_low, late_high = float(np.nanmin(late)), float(np.nanmax(late))
    span = late_high - late_low
    if span == 0 or span > (high - low) / 3:
        return None
    bottom, top = max(low, late_low - 0.5 * span), min(high, late_high + 0.5 * span)
    return bottom - 0.05 * span, top + 0.05 * span


def _table(what: str, at: str, lines: list[Line], counts: list[int], names: list[str]) -> Table:
    rows = []
    for line, n, name in zip(lines, counts, names, strict=True):
        lows, highs = line.low or line.y, line.high or line.y
        rows += [
            (name, rounded(x), rounded(y), rounded(low), rounded(high), n)
            for x, y, low, high in zip(line.x, line.y, lows, highs, strict=True)
        ]
    return Table((what, at, "mean", "lowest", "highest", "trials (n)"), tuple(rows))


def _ends_in_words(what: str, bands: list[_Band], *, at: str = "epoch") -> str:
    """Describe curves by where they begin and end, the first three of them."""
    ends = []
    for band in bands[:3]:
        known = np.flatnonzero(~np.isnan(band.mean))
        first, last = known[0], known[-1]
        ends.append(
            f"{shortened(band.name)} goes from {band.mean[first]:.4g} at {at} "
            f"{band.x[first]:.0f} to {band.mean[last]:.4g} at {at} {band.x[last]:.0f}"
        )
    more = len(bands) - len(ends)
    rest = f"; {more} more {'is' if more == 1 else 'are'} drawn" if more else ""
    return f"{what}: {'; '.join(ends)}{rest}."


def _cut_words(axis: Axis) -> str:
    if axis.bounds is None:
        return ""
    return (
        f" The scale ends at {axis.bounds[0]:.3g} and {axis.bounds[1]:.3g}; the first epochs may "
        "lie outside (the table has them)."
    )


def _note(what: str, best: list[_Band], others: list[_Band]) -> str:
    parts = []
    if any(band.n > 1 for band in best):
        counts = sorted({band.n for band in best})
        n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        parts.append(
            f"Lines are means over {n} trials (n), bands go from the lowest to the highest of "
            f"them; thin grey lines are single trials, at most {_MOST_MEMBERS} of each {what}. "
            "A mean ends where the first of its trials ends."
        )
    else:
        parts.append("Each line is a single trial (n = 1): nothing is known of its spread.")
    if others:
        drawn = min(len(others), _MOST_OTHERS)
        whose = f"{drawn} of the {len(others)}" if drawn < len(others) else f"the {drawn}"
        parts.append(f"Thin grey lines are the means of {whose} other {what}s.")
    return " ".join(parts)
