"""Values of hyperparameters as keys: hashable, and equal where the values mean the same."""

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from experiments.comparison.leaderboard import Outcome


def level_key(value: Any) -> Hashable:
    """Give a key for a value: also for lists, mappings, and numbers that are not one.

    `1` and `1.0` have one key, as two specs may write the same rate; `true` has another. Strings
    and numbers are their own keys.
    """
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, float) and math.isnan(value):
        return float, "nan"
    if isinstance(value, Mapping):
        return dict, frozenset((name, level_key(each)) for name, each in value.items())
    if isinstance(value, list | tuple):
        return list, tuple(map(level_key, value))
    key: Hashable = value
    return key


def keyed(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Give trials with keys for the values of their hyperparameters."""
    return [
        replace(o, params={name: level_key(value) for name, value in o.params.items()})
        for o in outcomes
    ]
