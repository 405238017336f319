"""What the difference of two levels is called.

The verdict follows from one procedure, named beforehand: the paired t-test over seeds
(`paired.py`), its p-value adjusted by Holm over all pairs of levels, at 5 %. `better` and `worse`
need that, and at least three seeds. `tied` needs the whole 95 % interval to lie within the
margin: the difference, if there is one, is too small to matter (two one-sided tests, Schuirmann
1987, at 2.5 %). Whatever is neither is not known yet, and more seeds would tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from experiments.comparison.paired import Difference
from experiments.comparison.sample_size import seeds_needed, seeds_to_tie
from experiments.comparison.statistics import is_share
from experiments.comparison.wording import amount_text, count, interval_text, p_text, rough_count

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
    """A verdict, its words, and how many seeds it would take if there is none.

    `seeds_needed` to call one better, `seeds_to_tie` to call them tied, each if mean and spread
    are what they seem; None where there is a verdict, or no feasible number of seeds would do.
    """

    verdict: Verdict
    words: str
    seeds_needed: int | None = None
    seeds_to_tie: int | None = None


def default_margin(metric: str, means: Sequence[float]) -> float:
    """Give the difference that is too small to matter, unless somebody says otherwise.

    One percentage point of what is a share (accuracy, error, ...); of everything else 2 % of the
    mean that is nearest to 0. One that diverged must not widen what passes for a tie.
    """
    if is_share(metric):
        return _MARGIN_OF_SHARES
    return _RELATIVE_MARGIN * min(map(abs, means), default=0.0)


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
        words = (
            f"Not enough seeds: {a} is {_apart(gain, metric)} {b}; {_without_spread(difference)}"
        )
        return Judgement(Verdict.NOT_ENOUGH_SEEDS, words, FEWEST_SEEDS)
    corrected = f" after Holm for {num_comparisons:,} pairs" if num_comparisons > 1 else ""
    sure = f"{p_text(adjusted_p_value)}{corrected}, {seeds}"
    basis = f"{interval_text(low, high, metric, maximize=maximize)}, {sure}"
    if adjusted_p_value < ALPHA and difference.num_seeds >= FEWEST_SEEDS:
        verdict = Verdict.BETTER if gain > 0 else Verdict.WORSE
        small = ", which is too little to matter" if max(abs(low), abs(high)) <= margin else ""
        size = amount_text(abs(gain), metric, spread=high - low)
        return Judgement(verdict, f"{a} is {verdict} than {b} by {size} ({basis}){small}")
    if max(abs(low), abs(high)) <= margin and difference.num_seeds >= FEWEST_SEEDS:
        within = amount_text(margin, metric)
        return Judgement(Verdict.TIED, f"{a} and {b} are tied within {within} ({basis})")
    seen = f"{a} is {_apart(gain, metric, high - low)} {b}"
    if num_comparisons > 1 and not low <= 0.0 <= high:
        basis += "; the interval is of this pair alone, p of all"
    needed = seeds_needed(
        difference.mean, difference.seed_std or 0.0, alpha=ALPHA / num_comparisons
    )
    to_tie = seeds_to_tie(difference.mean, difference.seed_std or 0.0, margin=margin)
    fewest = max(difference.num_seeds + 1, FEWEST_SEEDS)
    needed, to_tie = (None if n is None else max(n, fewest) for n in (needed, to_tie))
    advice = _advice(needed, to_tie, margin=amount_text(margin, metric), is_level=gain == 0.0)
    return Judgement(
        Verdict.NOT_ENOUGH_SEEDS, f"Not enough seeds: {seen} ({basis}); {advice}", needed, to_tie
    )


def _without_spread(difference: Difference) -> str:
    """Say which settings show no spread, and what to do."""
    if difference.num_cells == 1:
        return f"they share 1 seed, which shows no spread; run {FEWEST_SEEDS} seeds or more"
    cells = f"{difference.num_cells:,} matched settings"
    if difference.num_single == difference.num_cells:
        which = f"each of {cells} has"
    else:
        has = "has" if difference.num_single == 1 else "have"
        which = f"{difference.num_single:,} of {cells} {has}"
    advice = f"run {FEWEST_SEEDS} seeds or more of each"
    return f"{which} 1 seed in common, which shows no spread; {advice}"


def _advice(needed: int | None, to_tie: int | None, *, margin: str, is_level: bool) -> str:
    """Say how many seeds would tell."""
    said = []
    if needed is not None:
        said.append(f"to tell a difference of this size would take about {_seeds(needed)}")
    if to_tie is not None:
        would = "" if said else "would take "
        said.append(f"to call them tied within {margin} {would}about {_seeds(to_tie)}")
    if said:
        return ", ".join(said)
    if is_level:
        return "there is no difference to find, but room for one that matters"
    return "no feasible number of seeds would tell a difference this small"


def _seeds(number: int) -> str:
    return rough_count(number, "seed")


def _apart(gain: float, metric: str, spread: float | None = None) -> str:
    if gain == 0.0:
        return "level with"
    size = amount_text(abs(gain), metric, spread=spread)
    return f"{size} {'better' if gain > 0 else 'worse'} than"
