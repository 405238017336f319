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


class LevelCells:
    """The trials of one level, arranged by cell and seed, once for each notion of a cell.

    Their hyperparameters have keys for values (`level_keys.keyed`).
    """

    def __init__(self, outcomes: Sequence[Outcome], *, by: str, metric: str) -> None:
        self._outcomes, self._metric = outcomes, metric
        self.by = by
        self.names = {key for o in outcomes for key in o.params if key != by}
        self._values: dict[str, set[Hashable]] = {}
        self._places: dict[tuple[str, ...], dict[_Place, float | None]] = {}

    def values(self, name: str) -> set[Hashable]:
        """Give the values of a hyperparameter; having none is a value, too."""
        if name not in self._values:
            self._values[name] = {o.params.get(name, _NONE) for o in self._outcomes}
        return self._values[name]

    def results(self, names: tuple[str, ...]) -> Mapping[_Place, float | None]:
        """Give the result of each cell, made by these hyperparameters, and seed.

        Of several trials in one place it is the mean, and None as soon as one has no result: the
        mean of the rest would be that of another set of hyperparameters.
        """
        if names not in self._places:
            found: dict[_Place, list[float | None]] = {}
            for o in self._outcomes:
                cell = tuple([o.params.get(name, _NONE) for name in names])
                found.setdefault((cell, o.seed), []).append(o.value(self._metric))
            self._places[names] = {place: _mean(values) for place, values in found.items()}
        return self._places[names]


def match(a: LevelCells, b: LevelCells) -> Matched:
    """Match the trials of two levels on cells and seeds."""
    others: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    if a.by != VARIANT:
        names = sorted(a.names | b.names)
        bound = tuple(name for name in names if a.values(name).isdisjoint(b.values(name)))
        others = tuple(name for name in names if name not in bound)
    of_a, of_b = a.results(others), b.results(others)
    differences: dict[Hashable, dict[int, float]] = {}
    matched: set[Hashable] = set()
    incomplete: set[Hashable] = set()
    for place, one in of_a.items():
        if place not in of_b:
            continue
        cell, seed = place
        other = of_b[place]
        matched.add(cell)
        if one is None or other is None:
            incomplete.add(cell)
        else:
            differences.setdefault(cell, {})[seed] = _apart(one, other)
    all_cells = {cell for places in (of_a, of_b) for cell, _ in places}
    return Matched(
        cells=tuple(differences.values()),
        num_unmatched=len(all_cells - matched),
        num_incomplete=len(incomplete),
        bound=bound,
    )


def _apart(one: float, other: float) -> float:
    """Give the difference, 0 where it is but that of rounding."""
    difference = one - other
    return difference if settled(abs(difference), about=max(abs(one), abs(other))) else 0.0


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean_of(known) if len(known) == len(values) else None
