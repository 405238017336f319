"""Trials of two levels of one hyperparameter, brought together: the same cell, the same seed.

A cell is a value for each other hyperparameter. Some of those go with a level: `momentum` only
`sgd` has, and the softmax comes with the cross entropy. A hyperparameter that has no value
in common under the two levels (having none is a value, too) is bound to them: trials cannot
agree in it, so it is no part of the cell. Where a level has several trials in a cell then (`sgd`
with two momenta), their mean stands for it: taking the best of them would flatter the level with
more to choose from. Which hyperparameters are bound is told, since the difference may be theirs.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from experiments.comparison.leaderboard import Outcome
from experiments.comparison.statistics import mean_of, settled

VARIANT: Final = "variant"
"""What to compare by when variants as such are meant, whatever they differ in."""

_NONE: Final = (type(None), "no value")
_Place = tuple[Hashable, int]


@dataclass(frozen=True, slots=True)
class Matched:
    """Two levels brought together.

    Attributes:
        cells: Of each matched cell the differences a - b by seed.
        num_unmatched: Cells of either level in which the other has no trial of the same seed.
        num_incomplete: Matched cells in which one has no result for some seed that was asked for.
        bound: Hyperparameters that change with the level.
    """

    cells: tuple[Mapping[int, float], ...]
    num_unmatched: int
    num_incomplete: int
    bound: tuple[str, ...]


def has_level(outcome: Outcome, by: str) -> bool:
    """Say whether a trial has the hyperparameter at all."""
    return by == VARIANT or by in outcome.params


def level_of(outcome: Outcome, by: str) -> Any:
    """Give a trial's value of the hyperparameter."""
    return outcome.variant if by == VARIANT else outcome.params[by]


def match(a: Sequence[Outcome], b: Sequence[Outcome], *, by: str, metric: str) -> Matched:
    """Match the trials of two levels on cells and seeds.

    Their hyperparameters have keys for values (`level_keys.keyed`).
    """
    others: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    if by != VARIANT:
        names = sorted({key for outcome in (*a, *b) for key in outcome.params if key != by})
        bound = tuple(key for key in names if _values(a, key).isdisjoint(_values(b, key)))
        others = tuple(key for key in names if key not in bound)
    asked_a, asked_b = _by_place(a, others, metric), _by_place(b, others, metric)
    both = [place for place in asked_a if place in asked_b]
    differences: dict[Hashable, dict[int, float]] = {}
    incomplete: set[Hashable] = set()
    for place in both:
        cell, seed = place
        one, other = _mean(asked_a[place]), _mean(asked_b[place])
        if one is None or other is None:
            incomplete.add(cell)
        else:
            differences.setdefault(cell, {})[seed] = _apart(one, other)
    all_cells = {cell for cell, _ in (*asked_a, *asked_b)}
    return Matched(
        cells=tuple(differences.values()),
        num_unmatched=len(all_cells - {cell for cell, _ in both}),
        num_incomplete=len(incomplete),
        bound=bound,
    )


def _apart(one: float, other: float) -> float:
    """Give the difference, 0 where it is but that of rounding."""
    difference = one - other
    return difference if settled(abs(difference), about=max(abs(one), abs(other))) else 0.0


def _values(outcomes: Sequence[Outcome], key: str) -> set[Hashable]:
    return {outcome.params.get(key, _NONE) for outcome in outcomes}


def _by_place(
    outcomes: Sequence[Outcome], others: tuple[str, ...], metric: str
) -> dict[_Place, list[float | None]]:
    places: dict[_Place, list[float | None]] = {}
    for outcome in outcomes:
        cell = tuple(outcome.params.get(key, _NONE) for key in others)
        places.setdefault((cell, outcome.seed), []).append(outcome.value(metric))
    return places


def _mean(values: Sequence[float | None]) -> float | None:
    """Give the mean of a level's trials in one place, None as soon as one has no result.

    The mean of the rest would be that of another set of hyperparameters.
    """
    known = [value for value in values if value is not None]
    return mean_of(known) if len(known) == len(values) else None
