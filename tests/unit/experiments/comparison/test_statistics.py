import math

import pytest
from scipy import stats

from experiments.comparison.statistics import Summary, summarise


def test_summary_agrees_with_scipy() -> None:
    values = [0.951, 0.962, 0.958, 0.949, 0.971]
    summary = summarise(values)
    low, high = stats.t.interval(0.95, 4, loc=summary.mean, scale=stats.sem(values))
    assert summary.n == 5
    assert summary.mean == pytest.approx(sum(values) / 5)
    assert summary.std == pytest.approx(stats.tstd(values))
    assert summary.low == pytest.approx(low)
    assert summary.high == pytest.approx(high)


def test_summary_agrees_with_students_sleep_data() -> None:
    # Student (1908), section IX: additional hours of sleep by the first drug.
    summary = summarise([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    assert summary.mean == pytest.approx(0.75)
    assert summary.std == pytest.approx(1.789, abs=5e-4)
    assert summary.low == pytest.approx(-0.530, abs=5e-4)


def test_one_value_has_no_spread() -> None:
    assert summarise([0.9]) == Summary(mean=0.9, std=None, n=1, low=None, high=None)


def test_equal_values_have_an_interval_of_no_width() -> None:
    summary = summarise([0.5, 0.5, 0.5])
    assert (summary.std, summary.low, summary.high) == (0.0, 0.5, 0.5)


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="nothing to summarise"):
        summarise([])


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    values = [1.0, 2.0, 3.0]
    narrow, wide = summarise(values, confidence=0.5), summarise(values, confidence=0.99)
    assert narrow.low is not None
    assert wide.low is not None
    assert wide.low < narrow.low
    assert math.isclose(narrow.mean, wide.mean)
