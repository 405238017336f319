"""What two levels' difference is called, and how numbers are put into words.

The verdict follows from one procedure, named beforehand: the paired t-test over seeds
(`paired.py`), its p-value adjusted by Holm over all pairs of levels, at 5 %. `better` and `worse`
need that, and at least three seeds. `tied` needs the whole 95 % interval to lie within the
margin: the difference, if there is one, is too small to matter (two one-sided tests, Schuirmann
1987, at 2.5 %). Whatever is neither is not known yet, and more seeds would tell.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from experiments.comparison.paired import Difference, seeds_needed
from experiments.comparison.statistics import is_share

ALPHA: Final = 0.05
"""How often levels without a difference may be called better or worse."""

FEWEST_SEEDS: Final = 3
"""With two seeds the interval is a guess about a spread of which one number is known."""

_MARGIN_OF_SHARES: Final = 0.01
_RELATIVE_MARGIN: Final = 0.02


class Verdict(StrEnum):
    """What a comparison came to, as seen from the first level."""

    BETTER = "better"
    WORSE = "worse"
    TIED = "tied"
    NOT_ENOUGH_SEEDS = "not enough seeds"
    NOT_MATCHED = "not matched"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, its words, and how many seeds a verdict would take if there is none."""

    verdict: Verdict
    words: str
    seeds_needed: int | None


def default_margin(metric: str, typical: float) -> float:
    """Give the difference that is too small to matter, unless somebody says otherwise.

    One percentage point of what is a share (accuracy, error, ...), 2 % of the typical value of
    everything else.
    """
    return _MARGIN_OF_SHARES if is_share(metric) else _RELATIVE_MARGIN * abs(typical)


def judge(
    difference: Difference,
    *,
    a: str,
    b: str,
    metric: str,
    maximize: bool,
    adjusted_p_value: float | None,
    margin: float,
    num_comparisons: int = 1,
) -> Judgement:
    """Say whether a is better than b, worse, tied with it, or whether seeds are lacking."""
    gain = difference.mean if maximize else -difference.mean
    low, high = difference.low, difference.high
    seeds = count(difference.num_seeds, "seed")
    if low is None or high is None or adjusted_p_value is None:
        return Judgement(
            Verdict.NOT_ENOUGH_SEEDS,
            f"not enough seeds: {a} is {_apart(gain, metric)} {b} over {seeds} shared, which shows "
            f"no spread to judge that by; run {FEWEST_SEEDS} seeds or more",
            FEWEST_SEEDS,
        )
    corrected = f" after Holm for {num_comparisons:,} pairs" if num_comparisons > 1 else ""
    sure = f"{p_text(adjusted_p_value)}{corrected}, {seeds}"
    basis = f"{_interval(low, high, metric, maximize)}, {sure}"
    if adjusted_p_value < ALPHA and difference.num_seeds >= FEWEST_SEEDS:
        verdict = Verdict.BETTER if gain > 0 else Verdict.WORSE
        small = ", which is too little to matter" if max(abs(low), abs(high)) <= margin else ""
        size = amount_text(abs(gain), metric, spread=high - low)
        return Judgement(verdict, f"{a} is {verdict} than {b} by {size} ({basis}){small}", None)
    if max(abs(low), abs(high)) <= margin and difference.num_seeds >= FEWEST_SEEDS:
        within = amount_text(margin, metric)
        return Judgement(Verdict.TIED, f"{a} and {b} are tied within {within} ({basis})", None)
    return _undecided(
        difference, f"{a} is {_apart(gain, metric, high - low)} {b}", basis, num_comparisons
    )


def _undecided(difference: Difference, seen: str, basis: str, num_comparisons: int) -> Judgement:
    alpha = ALPHA / num_comparisons
    needed = seeds_needed(difference.mean, difference.seed_std or 0.0, alpha=alpha)
    if needed is not None:
        needed = max(needed, difference.num_seeds + 1, FEWEST_SEEDS)
        advice = f"to tell a difference of this size would take about {count(needed, 'seed')}"
    elif difference.mean == 0.0:
        advice = "there is no difference to find, but room for one that matters"
    else:
        advice = "no feasible number of seeds would tell a difference this small"
    return Judgement(
        Verdict.NOT_ENOUGH_SEEDS, f"not enough seeds: {seen} ({basis}); {advice}", needed
    )


def _apart(gain: float, metric: str, spread: float | None = None) -> str:
    if gain == 0.0:
        return "level with"
    size = amount_text(abs(gain), metric, spread=spread)
    return f"{size} {'better' if gain > 0 else 'worse'} than"


def _interval(low: float, high: float, metric: str, maximize: bool) -> str:
    """Write the interval of a gain: positive is better whatever the goal."""
    bounds = (low, high) if maximize else (-high, -low)
    spread = high - low
    texts = [
        "-" * (bound < 0) + amount_text(abs(bound), metric, spread=spread, unit=False)
        for bound in bounds
    ]
    unit = " points" if is_share(metric) else ""
    return f"95 % interval {texts[0]} to {texts[1]}{unit}"


def amount_text(
    value: float, metric: str, *, spread: float | None = None, unit: bool = True
) -> str:
    """Write a difference: `1.3 points` of shares, else in the metric's own unit.

    It is rounded to what the width of its interval supports: the second digit of that.
    """
    scale = 100.0 if is_share(metric) else 1.0
    shown = rounded(value * scale, None if spread is None else spread * scale)
    if not is_share(metric) or not unit:
        return shown
    return f"{shown} {'point' if shown == '1' else 'points'}"


def level_text(value: float, metric: str, *, spread: float | None = None) -> str:
    """Write a metric's value in a sentence: `97.3 %` of shares, else in its own unit."""
    if not is_share(metric):
        return rounded(value, spread)
    return f"{rounded(100 * value, None if spread is None else 100 * spread)} %"


def rounded(value: float, spread: float | None = None) -> str:
    """Write a number to the second digit of its spread, or to three digits without one."""
    if spread is None or spread == 0.0 or not math.isfinite(spread):
        return f"{value:.3g}" if abs(value) < 1e3 else f"{value:,.0f}"
    decimals = max(0, 1 - math.floor(math.log10(abs(spread))))
    return f"{value:,.{decimals}f}" if decimals <= 8 else f"{value:.2g}"


def p_text(p_value: float) -> str:
    """Write a p-value: `p = 0.03`, `p < 0.001`."""
    if p_value < 0.001:
        return "p < 0.001"
    decimals = 3 if p_value < 0.01 or 0.045 <= p_value < 0.055 else 2
    return f"p = {p_value:.{decimals}f}"


def count(number: int, noun: str) -> str:
    """Write a number of things: `1 seed`, `1,024 seeds`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
