"""The levels of one hyperparameter, and what the trials of each gave as they are."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.comparison.leaderboard import Outcome
from experiments.comparison.level_keys import keyed
from experiments.comparison.matched_cells import LevelCells, level_of
from experiments.comparison.statistics import Summary, mean_of, metric_bounds, summarise
from experiments.language.printable import number_text, printable
from experiments.records import Objective


@dataclass(frozen=True, slots=True)
class Level:
    """One level and what its trials gave, as they are: not matched with another level's.

    Attributes:
        level: The value of the hyperparameter, or the variant's label.
        mean: Over all its results; None without any. `low` and `high` are the t-interval of its
            mean over seeds (each seed's mean over the level's cells is one value).
        n: Results.
        num_seeds: Seeds that have given one: what the interval counts.
        num_trials: Trials asked for; `num_failed` of them ended without a result.
    """

    level: Any
    mean: float | None
    n: int
    num_seeds: int
    low: float | None
    high: float | None
    num_trials: int
    num_failed: int


@dataclass(frozen=True, slots=True)
class Group:
    """A level with its trials, as they are and by cell and seed."""

    level: Level
    trials: Sequence[Outcome]
    cells: LevelCells


def grouped(outcomes: Sequence[Outcome], *, by: str, objective: Objective) -> list[Group]:
    """Group trials by their level, best mean first; levels without a result come last.

    All of them have the hyperparameter.
    """
    levels: dict[Hashable, Any] = {}
    trials: dict[Hashable, list[Outcome]] = {}
    for outcome, trial in zip(outcomes, keyed(outcomes), strict=True):
        key = level_of(trial, by)
        levels.setdefault(key, level_of(outcome, by))
        trials.setdefault(key, []).append(trial)
    metric = objective.metric
    groups = [
        Group(
            _summed_up(level, trials[key], metric),
            trials[key],
            LevelCells(trials[key], by=by, metric=metric),
        )
        for key, level in levels.items()
    ]
    sign = -1.0 if objective.goal == "maximize" else 1.0

    def order(group: Group) -> tuple[bool, float]:
        mean = group.level.mean
        return mean is None, 0.0 if mean is None else sign * mean

    return sorted(groups, key=order)


def _summed_up(level: Any, group: Sequence[Outcome], metric: str) -> Level:
    values = results(group, metric)
    by_seed: dict[int, list[float]] = {}
    for outcome in group:
        value = outcome.value(metric)
        if value is not None:
            by_seed.setdefault(outcome.seed, []).append(value)
    summary = _over_seeds(list(by_seed.values()), metric)
    return Level(
        level=level,
        mean=mean_of(values) if values else None,
        n=len(values),
        num_seeds=len(by_seed),
        low=summary.low if summary else None,
        high=summary.high if summary else None,
        num_trials=len(group),
        num_failed=sum(o.ended and o.value(metric) is None for o in group),
    )


def results(group: Iterable[Outcome], metric: str) -> list[float]:
    """List what the trials gave, without those that gave nothing."""
    values = (outcome.value(metric) for outcome in group)
    return [value for value in values if value is not None]


def level_label(level: Any) -> str:
    """Write a level for people, safely."""
    if isinstance(level, float | int) and not isinstance(level, bool):
        return number_text(level)
    return printable(str(level))


def _over_seeds(by_seed: Sequence[Sequence[float]], metric: str) -> Summary | None:
    """Summarise the means of seeds, if every seed has as many results as the others.

    If not, the means differ by which cells they lack, and their spread would say so.
    """
    if len({len(values) for values in by_seed}) != 1:
        return None
    return summarise([mean_of(values) for values in by_seed], bounds=metric_bounds(metric))
