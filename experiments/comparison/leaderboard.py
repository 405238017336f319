"""Variants ranked by the objective over their seeds."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.comparison.statistics import Summary, mean_of, metric_bounds, summarise
from experiments.records import Objective


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trial as comparisons see it; `metrics` is empty unless it succeeded.

    `ended` says that no more is to come of it: without metrics, it failed or was given up.
    """

    variant: str
    params: Mapping[str, Any]
    seed: int
    metrics: Mapping[str, float]
    ended: bool = True

    def value(self, metric: str) -> float | None:
        """Give a metric, None where there is none or it is not finite."""
        value = self.metrics.get(metric)
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Standing:
    """One variant's place. `objective` is None while none of its trials has given a number.

    `values` are what it summarises, one a seed. `others` holds the other metrics (the test split's
    among them), each averaged over those of its seeds that have a finite number of it:
    `others_n` of them.
    """

    variant: str
    params: Mapping[str, Any]
    objective: Summary | None
    others: Mapping[str, float]
    others_n: Mapping[str, int]
    num_trials: int
    values: tuple[float, ...] = ()


def rank(outcomes: Iterable[Outcome], objective: Objective) -> list[Standing]:
    """Rank variants, best mean first; those without a result come last.

    Equal means keep the order of the spec.
    """
    by_variant: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_variant.setdefault(outcome.variant, []).append(outcome)
    standings = [_standing(group, objective.metric) for group in by_variant.values()]
    sign = -1.0 if objective.goal == "maximize" else 1.0

    def order(standing: Standing) -> tuple[bool, float]:
        summary = standing.objective
        return summary is None, 0.0 if summary is None else sign * summary.mean

    return sorted(standings, key=order)


def _standing(group: list[Outcome], metric: str) -> Standing:
    succeeded = [outcome for outcome in group if outcome.value(metric) is not None]
    values = [outcome.metrics[metric] for outcome in succeeded]
    others: dict[str, list[float]] = {}
    for outcome in succeeded:
        for name in outcome.metrics:
            value = outcome.value(name)
            if name != metric and value is not None:
                others.setdefault(name, []).append(value)
    return Standing(
        variant=group[0].variant,
        params=group[0].params,
        objective=summarise(values, bounds=metric_bounds(metric)) if values else None,
        others={name: mean_of(each) for name, each in others.items()},
        others_n={name: len(each) for name, each in others.items()},
        num_trials=len(group),
        values=tuple(values),
    )
