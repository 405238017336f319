"""The winner: picked by the validation split, reported on the test split; what picking flatters.

Whichever of many variants has the best mean has it partly by luck, so its own mean promises too
much. By how much is found by picking again and again from resampled seeds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from experiments.comparison.bootstrap import named_generator
from experiments.comparison.leaderboard import Outcome, Standing, rank
from experiments.comparison.statistics import (
    ROUNDING,
    Summary,
    mean_of,
    metric_bounds,
    summarise,
)
from experiments.comparison.wording import amount_text, count, level_text
from experiments.records import Objective

if TYPE_CHECKING:
    import numpy as np

_NUM_RESAMPLES: Final = 2_000
_BLOCK: Final = 2_000_000
"""Numbers held at once while resampling."""

_LITTLE: Final = 0.1
"""Of the mean's standard error: luck that is less is next to nothing."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The winner, and what its figures are worth.

    Attributes:
        variant, params: The variant with the best mean of the objective.
        validation: That mean, over its seeds.
        test: The same metric on the test split, over the same seeds; None if it was not measured.
        test_metric: Its name.
        num_candidates: Variants that had a result, and could have won.
        expected_drop: How much of `validation.mean` is luck of the pick, at least, 0 or more; None
            where a variant has one seed, which shows no luck.
        win_share: In which share of the resamples the same variant wins, ties in equal parts;
            None as above.
        words: Sentences.
    """

    variant: str
    params: Mapping[str, Any]
    validation: Summary
    test: Summary | None
    test_metric: str
    num_candidates: int
    expected_drop: float | None
    win_share: float | None
    words: str


def select(outcomes: Sequence[Outcome], *, objective: Objective) -> Selection | None:
    """Pick the winner by the objective; None where no trial has given a number."""
    standings = [s for s in rank(outcomes, objective) if s.objective is not None]
    if not standings:
        return None
    winner = standings[0]
    summary = winner.objective
    assert summary is not None
    test_metric = f"test/{objective.metric.rpartition('/')[2]}"
    own = [o for o in outcomes if o.variant == winner.variant]
    tested = [
        value
        for o in own
        if o.value(objective.metric) is not None and (value := o.value(test_metric)) is not None
    ]
    test = summarise(tested, bounds=metric_bounds(test_metric)) if tested else None
    drop, win_share = _optimism(outcomes, standings, objective)
    selection = Selection(
        variant=winner.variant,
        params=winner.params,
        validation=summary,
        test=test,
        test_metric=test_metric,
        num_candidates=len(standings),
        expected_drop=drop,
        win_share=win_share,
        words="",
    )
    return replace(selection, words=_words(selection, objective))


def _optimism(
    outcomes: Sequence[Outcome], standings: Sequence[Standing], objective: Objective
) -> tuple[float | None, float | None]:
    """Give the winner's expected drop, and how often it wins, by resampling seeds.

    Efron's optimism (Efron and Tibshirani 1993, section 17.6): in each resample the variant with
    the best mean is picked, and its mean there compared with its mean as it was seen; what it is
    better by on average is the luck of the pick. That is too little rather than too much: luck has
    spread out what was seen already, so that the resamples have more of a favourite than there is.
    Where all variants have the same seeds these are resampled as one, since a seed's luck may be
    theirs together, else each variant's own. Residuals are stretched by sqrt(n / (n - 1)), by
    which a resample of n varies too little.
    """
    import numpy as np

    results = _results_by_seed(outcomes, standings, objective)
    if min(map(len, results)) < 2:
        return None, None
    if len(results) < 2:
        return 0.0, 1.0
    sign = 1.0 if objective.goal == "maximize" else -1.0
    means = np.array([sign * mean_of(list(r.values())) for r in results])
    drops, wins, done = 0.0, 0.0, 0
    num_rows = max(1, min(_NUM_RESAMPLES, _BLOCK // sum(map(len, results))))
    resample = _resampler([[sign * r[seed] for seed in sorted(r)] for r in results], results)
    while done < _NUM_RESAMPLES:
        size = min(num_rows, _NUM_RESAMPLES - done)
        drawn = means + resample(size)
        best = drawn.max(axis=1, keepdims=True)
        tied = drawn >= best - ROUNDING * np.abs(best)
        parts = tied / tied.sum(axis=1, keepdims=True)
        drops += float(np.sum(best[:, 0] - parts @ means))
        wins += float(parts[:, 0].sum())
        done += size
    return max(0.0, drops / done), wins / done


def _resampler(
    values: Sequence[Sequence[float]], results: Sequence[Mapping[int, float]]
) -> Callable[[int], "np.ndarray"]:
    """Give what draws the luck of all variants so many times: (times, variants)."""
    import numpy as np

    generator = named_generator("selection")
    by_size: dict[int, list[int]] = {}
    for place, each in enumerate(values):
        by_size.setdefault(len(each), []).append(place)
    residuals = {}
    for n, places in by_size.items():
        table = np.array([values[place] for place in places])  # (variants, seeds)
        residuals[n] = (table - table.mean(axis=1, keepdims=True)) * math.sqrt(n / (n - 1))
    together = len({tuple(sorted(r)) for r in results}) == 1

    def shared(times: int) -> "np.ndarray":
        (table,) = residuals.values()
        n = table.shape[1]
        picks = generator.integers(0, n, (times, n))
        counts = (picks[:, :, None] == np.arange(n)).sum(axis=1)
        luck: np.ndarray = counts @ table.T / n
        return luck

    def apart(times: int) -> "np.ndarray":
        luck = np.empty((times, len(values)))
        for n, places in by_size.items():
            picks = generator.integers(0, n, (times, len(places), n))
            luck[:, places] = np.take_along_axis(residuals[n][None], picks, axis=2).mean(axis=2)
        return luck

    return shared if together else apart


def _results_by_seed(
    outcomes: Sequence[Outcome], standings: Sequence[Standing], objective: Objective
) -> list[dict[int, float]]:
    """Give each variant's results by seed, in the order of the standings."""
    results: dict[str, dict[int, float]] = {s.variant: {} for s in standings}
    for outcome in outcomes:
        value = outcome.value(objective.metric)
        if value is not None:
            results[outcome.variant][outcome.seed] = value
    return list(results.values())


def _words(selection: Selection, objective: Objective) -> str:
    metric, validation = objective.metric, selection.validation
    mean = level_text(validation.mean, metric, spread=validation.width)
    among = count(selection.num_candidates, "variant")
    said = [f"The winner was picked from {among} by {metric} ({mean}, n = {validation.n})."]
    if selection.expected_drop is None:
        one = "With one seed" if validation.n == 1 else "Since a variant has one seed"
        said.append(f"{one}, how much of that is the luck of the pick cannot be said.")
    elif selection.num_candidates > 1:
        drop = amount_text(selection.expected_drop, metric, spread=validation.width)
        error = (validation.std or 0.0) / math.sqrt(validation.n)
        little = selection.expected_drop <= _LITTLE * error
        worth = "next to nothing" if little else f"at least about {drop}"
        said.append(
            f"The luck of the pick is worth {worth} of it, by resampling the seeds; "
            f"the same variant wins in {100 * (selection.win_share or 0):.0f} % of the resamples."
        )
    if objective.select == "best":
        said.append(
            "Each trial counts with its best epoch on the validation split, which flatters all "
            "validation figures a little more."
        )
    if selection.test is None:
        said.append("There is no test figure.")
    else:
        shown = level_text(selection.test.mean, metric, spread=selection.test.width)
        said.append(
            f"{selection.test_metric} took no part in picking, and is the honest figure: {shown} "
            f"(n = {selection.test.n})."
        )
    return " ".join(said)
