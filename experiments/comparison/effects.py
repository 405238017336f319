"""What mattered most: how much of the differences between results goes with which hyperparameter.

On a balanced grid (every combination, with the same number of seeds) by analysis of variance;
on anything else by a random forest (`forest.py`). The method is always named.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.comparison.forest import forest_importances
from experiments.comparison.leaderboard import Outcome
from experiments.comparison.level_keys import keyed
from experiments.comparison.multiplicity import holm
from experiments.comparison.repeated_measures import effects_of
from experiments.comparison.wording import count, p_text, percent

if TYPE_CHECKING:
    import numpy as np

ANALYSIS_OF_VARIANCE = "analysis of variance"
FOREST = "random forest"
RELIABLE_R2 = 0.3
"""A forest that explains less of unseen trials says nothing of what matters."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one hyperparameter (or two together) accounts for.

    Attributes:
        names: One hyperparameter, or the two of an interaction.
        share: Of the variance, 0 to 1 (analysis of variance: eta squared, SS / SS total); of the
            forest, its part of all importances.
        omega_squared: The share without what chance has added to it; None for the forest, and
            where there is one seed.
        p_value: Of the F test against its interaction with the seeds, by Holm over all effects;
            None as above. `raw_p_value` is its own.
    """

    names: tuple[str, ...]
    share: float
    omega_squared: float | None = None
    p_value: float | None = None
    raw_p_value: float | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """What mattered, most first: by omega squared where there is one, else by the share.

    Attributes:
        method: "analysis of variance", "random forest", or "none" where nothing can be said.
        seeds_share: Of the variance, what seeds make, alone and together with settings; None for
            the forest, and where there is one seed.
        higher_share: Interactions of three and more; with one seed the error is in it.
        out_of_bag_r2: How well the forest foretells trials that it has not seen; None else.
            Near 0 or below, its importances mean nothing.
        merged: Hyperparameters that changed with another one and are not told apart from it.
        words: What was done and what came of it, in sentences.
    """

    method: str
    shares: tuple[Share, ...]
    seeds_share: float | None
    higher_share: float | None
    out_of_bag_r2: float | None
    num_trials: int
    merged: Mapping[str, str]
    words: str


_Rows = list[tuple[Mapping[str, Any], int, float]]
"""Of each result the keys of its hyperparameters' values (`level_keys`), its seed, the number."""


def effects(outcomes: Sequence[Outcome], *, metric: str) -> Effects:
    """Share out the variance of a metric among the hyperparameters that vary.

    Main effects and interactions of two by classical sums of squares (every kind of sum of
    squares is the same on a balanced grid: Montgomery, "Design and Analysis of Experiments",
    chapter 5), seeds as blocks (`repeated_measures.py`).
    """
    rows: _Rows = []
    for outcome in keyed(outcomes):
        value = outcome.value(metric)
        if value is not None:
            rows.append((outcome.params, outcome.seed, value))
    factors, merged = _factors(rows)
    if not factors or len({value for _, _, value in rows}) < 2:
        why = "nothing varies" if not factors else "all results are equal"
        return Effects("none", (), None, None, None, len(rows), merged, f"No effects: {why}.")
    whole = len(rows) == len(outcomes)
    table = _balanced(rows, factors) if whole else None
    if table is not None:
        return _variance_shares(table, factors, merged)
    return _forest_shares(rows, factors, merged, whole=whole)


def _factors(rows: _Rows) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """List what varies, with its levels, and what merely changes with something else.

    A hyperparameter that has one value for each value of another one is merged into that; into a
    number only where it is so both ways, as in a random search every rate has one of everything.
    """
    names = list(dict.fromkeys(name for params, _, _ in rows for name in params))
    columns = {name: [params.get(name) for params, _, _ in rows] for name in names}
    varied = {name: list(dict.fromkeys(column)) for name, column in columns.items()}
    varied = {name: levels for name, levels in varied.items() if len(levels) > 1}
    merged: dict[str, str] = {}
    by_levels = sorted(varied, key=lambda name: -len(varied[name]))
    for one, other in itertools.combinations(by_levels, 2):
        couples = len(set(zip(columns[one], columns[other], strict=True)))
        same = len(varied[one]) == len(varied[other])
        follows = couples == len(varied[one]) and (same or not _is_number(varied[one]))
        if one not in merged and other not in merged and follows:
            first, second = sorted((one, other), key=names.index) if same else (one, other)
            merged[second] = first
    return {name: levels for name, levels in varied.items() if name not in merged}, merged


def _is_number(levels: Sequence[Any]) -> bool:
    return all(isinstance(level, int | float) for level in levels)


def _balanced(rows: _Rows, factors: Mapping[str, Sequence[Any]]) -> "np.ndarray | None":
    """Give results as an array (levels of each factor ..., seeds), None if places are lacking."""
    import numpy as np

    num_cells = math.prod(map(len, factors.values()))
    seeds = {seed: i for i, seed in enumerate(dict.fromkeys(seed for _, seed, _ in rows))}
    if num_cells * len(seeds) != len(rows):
        return None
    table = np.full((*map(len, factors.values()), len(seeds)), np.nan)
    places = {
        name: {level: i for i, level in enumerate(levels)} for name, levels in factors.items()
    }
    for params, seed, value in rows:
        place = (place_of[params.get(name)] for name, place_of in places.items())
        table[(*place, seeds[seed])] = value
    return None if np.isnan(table).any() else table


def _variance_shares(
    table: "np.ndarray", factors: Mapping[str, Sequence[Any]], merged: Mapping[str, str]
) -> Effects:
    """Share out the sum of squares of a full array, the last axis being seeds."""
    import numpy as np

    num_seeds, names = table.shape[-1], list(factors)
    table = table / np.abs(table).max()  # squares of large numbers do not fit
    total = float(np.sum((table - table.mean()) ** 2))
    found = list(effects_of(table))
    p_values = iter(holm([each.p_value for each in found if each.p_value is not None]))
    shares = [
        Share(
            tuple(names[axis] for axis in each.axes),
            each.eta_squared,
            each.omega_squared,
            None if each.p_value is None else next(p_values),
            each.p_value,
        )
        for each in found
    ]
    shares.sort(key=lambda share: (-(share.omega_squared or 0.0), -share.share))
    error = float(np.sum((table - table.mean(axis=-1, keepdims=True)) ** 2)) / total
    words = (
        f"Analysis of variance of {count(table.size, 'trial')} "
        f"({' x '.join(str(len(levels)) for levels in factors.values())} settings, "
        f"{count(num_seeds, 'seed')}): {_shares_text(shares)}"
    )
    if num_seeds == 1:
        words += "; with one seed chance cannot be told from effect"
    else:
        words += f" of the variance (omega squared; p by Holm); seeds make {percent(error)}"
    return Effects(
        ANALYSIS_OF_VARIANCE,
        tuple(shares),
        error if num_seeds > 1 else None,
        max(0.0, 1.0 - sum(share.share for share in shares) - error) if len(names) > 2 else None,
        None,
        table.size,
        merged,
        f"{words}.{_merged_text(merged)}",
    )


def _forest_shares(
    rows: _Rows, factors: Mapping[str, Sequence[Any]], merged: Mapping[str, str], *, whole: bool
) -> Effects:
    columns = {name: [params.get(name) for params, _, _ in rows] for name in factors}
    found = forest_importances(columns, [value for _, _, value in rows])
    shares = sorted(
        (Share((name,), share) for name, share in found.importances.items()),
        key=lambda share: -share.share,
    )
    why = "the grid is not balanced" if whole else "results are lacking"
    drawn = f"{found.num_trials:,} of " if found.num_trials < len(rows) else ""
    explained = percent(max(0.0, found.out_of_bag_r2))
    words = (
        f"Importances by a random forest over {drawn}{count(len(rows), 'trial')}, since {why}, "
        f"each tree on the trials that it had not seen: {_shares_text(shares)}; all of it explains "
        f"{explained} of the variance of those"
    )
    if found.out_of_bag_r2 < RELIABLE_R2:
        words += ", too little to rely on"
    return Effects(
        FOREST,
        tuple(shares),
        None,
        None,
        found.out_of_bag_r2,
        len(rows),
        merged,
        f"{words}.{_merged_text(merged)}",
    )


def _shares_text(shares: Sequence[Share]) -> str:
    parts = [
        (share, share.share if share.omega_squared is None else share.omega_squared)
        for share in shares
    ]
    shown = [(share, part) for share, part in parts if part >= 0.01][:5] or parts[:1]
    return ", ".join(
        f"{' x '.join(share.names)} {_part_text(share, part)}" for share, part in shown
    )


def _part_text(share: Share, part: float) -> str:
    return percent(part) + (f" ({p_text(share.p_value)})" if share.p_value is not None else "")


def _merged_text(merged: Mapping[str, str]) -> str:
    said = [
        f" {one} changed with {other} and cannot be told from it." for one, other in merged.items()
    ]
    return "".join(said)
