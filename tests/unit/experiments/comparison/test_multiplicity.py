import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.comparison.multiplicity import holm

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def test_holm_agrees_with_the_usual_worked_example() -> None:
    # Holm's procedure on 0.01, 0.04, 0.03, 0.005: rejects at 5 % the first and the last only.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_one_test_needs_no_adjustment() -> None:
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


@given(P_VALUES, P_VALUES)
def test_tests_that_were_not_made_count_as_having_shown_nothing(
    made: list[float], left_out: list[float]
) -> None:
    whole = len(made) + len(left_out)
    without = holm(made, num_tests=whole)
    assert without == holm(made + [1.0] * len(left_out))[: len(made)]
    knowing = holm(made + left_out)[: len(made)]
    assert all(ours >= theirs - 1e-12 for ours, theirs in zip(without, knowing, strict=True))


@given(P_VALUES)
def test_holm_lies_between_the_raw_values_and_bonferroni(p_values: list[float]) -> None:
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= min(1.0, len(p_values) * raw) + 1e-15


@given(P_VALUES)
def test_holm_keeps_the_order_of_values(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    by_raw = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert all(adjusted[one] <= adjusted[other] for one, other in itertools.pairwise(by_raw))


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=8))
def test_holm_is_at_least_as_strict_as_a_false_discovery_rate(p_values: list[float]) -> None:
    # Benjamini-Hochberg is never stricter than Holm.
    lenient = stats.false_discovery_control(p_values)
    assert all(
        loose <= strict + 1e-12 for loose, strict in zip(lenient, holm(p_values), strict=True)
    )
