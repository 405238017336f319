import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.comparison.bootstrap import (
    NUM_RESAMPLES,
    bca_interval,
    interquartile_mean,
    robust,
)

VALUES = st.lists(st.floats(-100, 100).map(lambda v: round(v, 3)), min_size=6, max_size=12)
# Efron (1982), the law school data: grade point averages of 15 schools.
LAW_SCHOOLS = [
    3.39,
    3.30,
    2.81,
    3.03,
    3.44,
    3.07,
    3.00,
    3.43,
    3.36,
    3.13,
    3.12,
    2.74,
    2.76,
    2.88,
    2.96,
]


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_bca_equals_scipys_on_the_law_school_data(confidence: float) -> None:
    theirs = stats.bootstrap(
        (LAW_SCHOOLS,), np.mean, confidence_level=confidence, n_resamples=NUM_RESAMPLES,
        method="BCa", rng=np.random.default_rng(7), axis=-1,
    ).confidence_interval  # fmt: skip
    ours = bca_interval(LAW_SCHOOLS, confidence=confidence, generator=np.random.default_rng(7))
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_bca_is_the_same_every_time() -> None:
    assert bca_interval(LAW_SCHOOLS) == bca_interval(LAW_SCHOOLS)


def test_bca_of_equal_values_has_no_width() -> None:
    assert bca_interval([0.5] * 6) == (0.5, 0.5)


def test_bca_leans_to_where_the_values_stretch() -> None:
    values = [1.0, 1.1, 1.2, 1.3, 1.4, 9.0]
    low, high = bca_interval(values)
    assert high - np.mean(values) > np.mean(values) - low


@given(VALUES)
def test_the_interquartile_mean_is_scipys_trimmed_mean(values: list[float]) -> None:
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-12)


def test_few_values_have_no_bootstrap_and_fewer_no_middle() -> None:
    assert robust([0.1, 0.2, 0.3]).interquartile_mean is None
    five = robust([0.1, 0.2, 0.3, 0.4, 0.5])
    assert five.interquartile_mean == pytest.approx(0.3)
    assert five.low is None


def test_bounds_cut_the_interval_off() -> None:
    values = [0.2, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = robust(values, bounds=(0.5, 0.9))
    assert found.low == max(0.5, bca_interval(values)[0])
    assert found.high == 0.9
