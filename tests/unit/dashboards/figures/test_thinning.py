import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dashboards.figures.lettering import rounded, shortened
from dashboards.figures.pareto import pareto_front
from dashboards.figures.plotly_drawing import log_ticks
from dashboards.figures.thinning import spread_out, thinned

NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(NUMBERS, min_size=1, max_size=300), st.integers(4, 40))
def test_thinned_curve_keeps_ends_and_extremes(y: list[float], most: int) -> None:
    kept = thinned(y, most=most)

    assert len(kept) <= most
    assert kept == sorted(set(kept))
    assert {kept[0], kept[-1]} == {0, len(y) - 1}
    assert min(y[i] for i in kept) == min(y)
    assert max(y[i] for i in kept) == max(y)


def test_thinned_curve_passes_over_gaps() -> None:
    y = [math.nan] * 50 + list(range(50))

    assert max(y[i] for i in thinned(y, most=10) if not math.isnan(y[i])) == 49


@given(st.integers(0, 500), st.integers(2, 50))
def test_spread_out_takes_both_ends(length: int, most: int) -> None:
    places = spread_out(length, most=most)

    assert len(places) == min(length, most)
    if length:
        assert (places[0], places[-1]) == (0, length - 1)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30), st.booleans())
def test_front_is_what_no_other_point_beats(
    points: list[tuple[float, float]], cheap_is_low: bool
) -> None:
    sign = 1 if cheap_is_low else -1
    costs, gains = zip(*points, strict=True)
    front = pareto_front(costs, gains, cheap_is_low=cheap_is_low)

    def beaten(cost: float, gain: float) -> bool:
        return any(
            sign * c <= sign * cost and g >= gain and (c, g) != (cost, gain) for c, g in points
        )

    assert {points[i] for i in front} == {p for p in points if not beaten(*p)}
    assert len({points[i] for i in front}) == len(front)


def test_front_leaves_out_what_is_no_number() -> None:
    assert pareto_front([1.0, math.nan, 2.0], [0.5, 0.9, math.nan]) == [0]


@given(st.text(max_size=200), st.integers(8, 60))
def test_short_name_fits_on_one_line(name: str, most: int) -> None:
    short = shortened(name, most=most)

    assert len(short) <= most
    assert len(short.splitlines()) <= 1


def test_rounded_number_has_five_digits_or_is_a_gap() -> None:
    assert [rounded(x) for x in (0.1234567, 123456.0, 3.0, math.nan, math.inf)] == [
        0.12346,
        123460,
        3,
        None,
        None,
    ]


@given(st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=20))
def test_log_axis_has_a_few_ticks(values: list[float]) -> None:
    ticks = log_ticks(values)

    assert 1 <= len(ticks) <= 10
    assert np.all(np.diff(ticks) > 0)
