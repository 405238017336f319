"""The levels of one hyperparameter compared: which is better, by how much, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from experiments.comparison.leaderboard import Outcome
from experiments.comparison.levels import Group, Level, grouped, level_label, results
from experiments.comparison.matched_cells import VARIANT, Matched, has_level, match
from experiments.comparison.multiplicity import holm
from experiments.comparison.paired import Difference, paired_difference, welch_difference
from experiments.comparison.statistics import clip, metric_bounds
from experiments.comparison.verdicts import (
    FEWEST_SEEDS,
    Judgement,
    Verdict,
    default_margin,
    judge,
)
from experiments.comparison.wording import count, listed
from experiments.language.kinds import nearest
from experiments.records import Objective

MOST_PAIRED: Final = 64
"""Levels of which all pairs are compared: 2,016 of them. Of more, the best with each other one."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two levels on matched cells: a - b, its interval, and what it comes to.

    `difference`, `low`, `high` and `effect_size` are those of the metric: with a goal to
    minimise, a negative difference is better. The rest is as in `paired.Difference`.

    Attributes:
        win_rate: Share of matched pairs in which a is better, ties half.
        p_value: Holm's over all pairs; `raw_p_value` is this pair's alone.
        sign_flip_p_value: Holm's over all pairs as well; a second opinion, not in the verdict.
        method: "paired" over shared seeds, or "unpaired" (Welch).
        num_cells_better: Cells in which a's mean is better.
        num_unmatched: Cells that only one of the two has.
        num_incomplete: Cells that lack a result of some seed.
        bound: Hyperparameters that change with the level, and may be why.
        seeds_needed: To call one of them better with power 0.8, if the difference is what it seems.
        seeds_to_tie: To call them tied, likewise; both are None where there is a verdict.
        margin: What counts as tied, for these two.
        words: All of it in a sentence, without a full stop.
    """

    a: Any
    b: Any
    difference: float | None
    low: float | None
    high: float | None
    effect_size: float | None
    win_rate: float | None
    p_value: float | None
    raw_p_value: float | None
    sign_flip_p_value: float | None
    method: str
    num_cells: int
    num_cells_better: int
    num_seeds: int
    num_pairs: int
    num_unmatched: int
    num_incomplete: int
    bound: tuple[str, ...]
    seeds_needed: int | None
    seeds_to_tie: int | None
    margin: float
    verdict: Verdict
    words: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All levels of one hyperparameter, best mean first, and all pairs of them.

    Of more than 64 levels the pairs are those with the best one. Their p-values are adjusted for
    all pairs nevertheless, since the best was picked from as many.

    `caveats` are sentences that whoever reads the numbers must see.
    """

    by: str
    metric: str
    goal: str
    levels: tuple[Level, ...]
    pairs: tuple[Pair, ...]
    caveats: tuple[str, ...]


def compare(
    outcomes: Sequence[Outcome],
    *,
    by: str,
    objective: Objective,
    margin: float | None = None,
    picked_from: int = 1,
) -> Comparison:
    """Compare the levels of a hyperparameter on matched cells, or variants (`by="variant"`).

    Pairs go from the better mean to the worse. `margin` is the difference that is too small to
    matter (`verdicts.default_margin`). `picked_from` says that a level is the best of so many that
    are not all among these outcomes: p-values are multiplied by it (Bonferroni), or the pick would
    pass for evidence.

    Raises:
        ValueError: No trial has that hyperparameter, or the margin is negative.
    """
    if margin is not None and not margin >= 0:
        raise ValueError(f"margin must be 0 or more, got {margin}")
    concerned = [outcome for outcome in outcomes if has_level(outcome, by)]
    if not concerned:
        known = tuple(dict.fromkeys((*(key for o in outcomes for key in o.params), VARIANT)))
        raise ValueError(
            f"cannot compare by {by!r}: no trial has it{nearest(by, known)}; "
            f"there are {', '.join(known)}"
        )
    groups = grouped(concerned, by=by, objective=objective)
    compared = groups if len(groups) <= MOST_PAIRED else groups[:1]
    found = [
        _found(one, other, by=by, metric=objective.metric)
        for place, one in enumerate(compared)
        for other in groups[place + 1 :]
    ]
    num_skipped = math.comb(len(groups), 2) - len(found)
    levels = tuple(group.level for group in groups)
    return Comparison(
        by=by,
        metric=objective.metric,
        goal=objective.goal,
        levels=levels,
        pairs=tuple(_judged(found, objective, margin, picked_from, num_skipped)),
        caveats=tuple(_caveats(levels, by, len(outcomes) - len(concerned))),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    a: Level
    b: Level
    matched: Matched
    difference: Difference | None
    method: str


def _found(one: Group, other: Group, *, by: str, metric: str) -> _Found:
    """Match two levels; variants that share too few seeds stand as two samples."""
    a, b = one.level, other.level
    matched = match(one.cells, other.cells)
    num_shared = max(map(len, matched.cells), default=0)
    if by == VARIANT and num_shared < FEWEST_SEEDS:
        values = [results(each.trials, metric) for each in (one, other)]
        if min(map(len, values)) > max(1, num_shared):
            return _Found(a, b, matched, _possible(welch_difference(*values), metric), "unpaired")
    if not matched.cells:
        return _Found(a, b, matched, None, "paired")
    return _Found(a, b, matched, _possible(paired_difference(matched.cells), metric), "paired")


def _possible(difference: Difference, metric: str) -> Difference:
    """Cut the interval off where no two values of the metric are that far apart."""
    least, most = metric_bounds(metric)
    if difference.low is None or difference.high is None or math.isinf(most - least):
        return difference
    bounds = (least - most, most - least)
    return replace(difference, low=clip(difference.low, bounds), high=clip(difference.high, bounds))


def _judged(
    found: Sequence[_Found],
    objective: Objective,
    margin: float | None,
    picked_from: int,
    num_skipped: int,
) -> list[Pair]:
    """Adjust all p-values together, and give each pair its verdict."""
    p_values, flips = (
        [getattr(each.difference, name, None) for each in found]
        for name in ("p_value", "sign_flip_p_value")
    )
    num_tests = num_skipped + sum(p is not None for p in p_values)
    adjusted, flipped = (_adjusted(each, num_tests, picked_from) for each in (p_values, flips))
    return [
        _pair(each, objective, margin, p_value, flip, max(1, num_tests) * picked_from)
        for each, p_value, flip in zip(found, adjusted, flipped, strict=True)
    ]


def _adjusted(
    p_values: Sequence[float | None], num_tests: int, picked_from: int
) -> list[float | None]:
    adjusted = iter(holm([p for p in p_values if p is not None], num_tests=num_tests))
    return [None if p is None else min(1.0, picked_from * next(adjusted)) for p in p_values]


def _pair(
    found: _Found,
    objective: Objective,
    margin: float | None,
    p_value: float | None,
    flip: float | None,
    num_comparisons: int,
) -> Pair:
    matched, difference = found.matched, found.difference
    a, b = level_label(found.a.level), level_label(found.b.level)
    if margin is None:
        means = [each.mean for each in (found.a, found.b) if each.mean is not None]
        margin = default_margin(objective.metric, means)
    maximize = objective.goal == "maximize"
    if difference is None:
        words = f"{a} and {b} cannot be compared: no two of their results share {_shared(matched)}"
        judgement = Judgement(Verdict.NOT_MATCHED, words)
    else:
        judgement = judge(
            difference,
            a=a,
            b=b,
            metric=objective.metric,
            maximize=maximize,
            adjusted_p_value=p_value,
            margin=margin,
            num_comparisons=num_comparisons,
        )
    sign = 1 if maximize else -1
    better = sum(sign * mean > 0 for mean in difference.cell_means) if difference else 0
    win_rate = difference.win_rate if difference else None
    if win_rate is not None and not maximize:
        win_rate = 1 - win_rate
    return Pair(
        a=found.a.level,
        b=found.b.level,
        difference=difference.mean if difference else None,
        low=difference.low if difference else None,
        high=difference.high if difference else None,
        effect_size=difference.effect_size if difference else None,
        win_rate=win_rate,
        p_value=p_value,
        raw_p_value=difference.p_value if difference else None,
        sign_flip_p_value=flip,
        method=found.method,
        num_cells=difference.num_cells if difference else 0,
        num_cells_better=better,
        num_seeds=difference.num_seeds if difference else 0,
        num_pairs=difference.num_pairs if difference else 0,
        num_unmatched=matched.num_unmatched,
        num_incomplete=matched.num_incomplete,
        bound=matched.bound,
        seeds_needed=judgement.seeds_needed,
        seeds_to_tie=judgement.seeds_to_tie,
        margin=margin,
        verdict=judgement.verdict,
        words=judgement.words + "".join(_asides(found, better)),
    )


def _asides(found: _Found, num_better: int) -> list[str]:
    """Say on what the comparison stands, where that is not plain."""
    matched, difference = found.matched, found.difference
    said = []
    if difference is not None and difference.num_cells > 1:
        said.append(
            f"; the mean over {difference.num_cells:,} matched settings, better in {num_better:,}"
        )
    if found.method == "unpaired":
        said.append("; not paired, since they share too few seeds")
    if matched.bound:
        said.append(f"; {listed(matched.bound)} changed with it and may be why")
    if matched.num_incomplete:
        lacking = "lacks" if matched.num_incomplete == 1 else "lack"
        said.append(f"; {count(matched.num_incomplete, 'setting')} {lacking} results")
    if matched.num_unmatched and difference is not None:
        said.append(f"; {count(matched.num_unmatched, 'setting')} only one of the two has")
    return said


def _shared(matched: Matched) -> str:
    return "all else and a seed" if not matched.num_incomplete else "a setting and a seed"


def _caveats(levels: Sequence[Level], by: str, num_without: int) -> list[str]:
    said = []
    if len(levels) > MOST_PAIRED:
        said.append(
            f"Of {len(levels):,} levels only the best is compared with each other one; it was "
            "picked from all of them, and p is corrected for all their pairs."
        )
    if len(levels) == 1:
        said.append(f"There is one level of {by} only, so nothing to compare it with.")
    for level in levels:
        if level.num_failed:
            what = f"{by} {level_label(level.level)}"
            trials = f"{level.num_failed:,} of {count(level.num_trials, 'trial')}"
            said.append(
                f"{what}: {trials} gave no number"
                + ("." if level.n == 0 else "; its mean is that of the rest, which flatters it.")
            )
    unfinished = sum(level.num_trials - level.num_failed - level.n for level in levels)
    if unfinished:
        has = "has" if unfinished == 1 else "have"
        said.append(f"{count(unfinished, 'trial')} {has} yet to finish.")
    if num_without == 1:
        said.append(f"1 trial has no {by} and stands aside.")
    elif num_without:
        said.append(f"{num_without:,} trials have no {by} and stand aside.")
    return said
