import math

import pytest

from experiments.comparison.level_keys import level_key

EQUAL = [
    (1, 1.0),
    (math.nan, float("nan")),
    ([1, 2.0], (1.0, 2)),
    ({"a": [1], "b": 2}, {"b": 2.0, "a": [1.0]}),
]
UNEQUAL = [
    (True, 1),
    (False, 0.0),
    (None, "None"),
    (1, "1"),
    ([1, 2], [2, 1]),
    ([[1], 2], [1, [2]]),
    ([True], [1]),
    ({"a": True}, {"a": 1}),
    ([], {}),
    (math.nan, "nan"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_what_means_the_same_has_one_key(one: object, other: object) -> None:
    assert len({level_key(one), level_key(other)}) == 1


@pytest.mark.parametrize(("one", "other"), UNEQUAL)
def test_what_does_not_has_two(one: object, other: object) -> None:
    assert len({level_key(one), level_key(other)}) == 2
