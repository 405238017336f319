import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from experiments.comparison.sample_size import MOST_SEEDS, seeds_needed, seeds_to_tie


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_agree_with_cohens_tables(effect: float, n: int) -> None:
    # Paired t-test, two-sided 5 %, power 0.8: as G*Power 3.1 gives them.
    assert seeds_needed(effect, 1.0) == n


@given(st.floats(0.05, 2.5))
def test_seeds_needed_are_just_enough(effect: float) -> None:
    n = seeds_needed(effect, 1.0)
    assert n is not None

    def power(size: int) -> float:
        limit, shift = stats.t.ppf(0.975, size - 1), effect * math.sqrt(size)
        return float(stats.nct.sf(limit, size - 1, shift) + stats.nct.cdf(-limit, size - 1, shift))

    assert power(n - 1) < 0.8
    assert power(n) >= 0.8


def test_few_seeds_find_what_is_far_apart() -> None:
    assert seeds_needed(7.5, 1.0) == 3
    assert seeds_needed(100.0, 1.0) == 2


def test_no_number_of_seeds_finds_what_is_not_there() -> None:
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1e-6, 1.0) is None
    assert seeds_needed(1.0, 0.0) == 2


def test_the_limit_is_the_one_that_is_told() -> None:
    found = seeds_needed(0.0285, 1.0)
    assert found is not None
    assert 8192 < found <= MOST_SEEDS
    assert seeds_needed(0.027, 1.0) is None


def tie_power(n: int, difference: float, margin: float) -> float:
    """How often the whole interval lies within the margin: an integral over the spread seen."""
    limit = stats.t.ppf(0.975, n - 1)

    def inside(spread: float) -> float:
        half = limit * spread / math.sqrt(n)
        if half >= margin:
            return 0.0
        low, high = ((end - difference) * math.sqrt(n) for end in (half - margin, margin - half))
        of_spread = stats.chi.pdf(spread * math.sqrt(n - 1), n - 1) * math.sqrt(n - 1)
        return float((stats.norm.cdf(high) - stats.norm.cdf(low)) * of_spread)

    return float(integrate.quad(inside, 0, margin * math.sqrt(n) / limit, limit=200)[0])


@pytest.mark.parametrize(
    ("difference", "margin"), [(0.0, 1.0), (0.5, 1.0), (-0.5, 1.0), (0.0, 3.0), (0.9, 1.0)]
)
def test_seeds_to_tie_are_just_enough(difference: float, margin: float) -> None:
    n = seeds_to_tie(difference, 1.0, margin=margin)
    assert n is not None
    assert tie_power(n, difference, margin) >= 0.8
    assert tie_power(n - 2, difference, margin) < 0.8


def test_what_is_not_within_the_margin_will_not_tie() -> None:
    assert seeds_to_tie(1.0, 1.0, margin=1.0) is None
    assert seeds_to_tie(0.999, 1.0, margin=1.0) is None
    assert seeds_to_tie(0.1, 0.0, margin=1.0) == 2
