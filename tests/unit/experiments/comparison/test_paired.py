import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.comparison.paired import (
    paired_difference,
    sign_flip_p_value,
    welch_difference,
)

# Student (1908): additional hours of sleep of ten patients by two drugs.
FIRST_DRUG = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND_DRUG = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SLEEP = [one - other for one, other in zip(SECOND_DRUG, FIRST_DRUG, strict=True)]
# Darwin's maize, eighths of an inch: Fisher (1935), The Design of Experiments, section 21.
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]

NUMBERS = st.floats(-100, 100).map(lambda value: round(value, 3))
TABLES = st.tuples(st.integers(1, 4), st.integers(2, 6)).flatmap(
    lambda shape: st.lists(
        st.lists(NUMBERS, min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)


def cells(table: list[list[float]]) -> list[dict[int, float]]:
    return [dict(enumerate(row)) for row in table]


def test_one_cell_is_students_paired_test() -> None:
    found = paired_difference(cells([SLEEP]))
    theirs = stats.ttest_rel(SECOND_DRUG, FIRST_DRUG)
    interval = theirs.confidence_interval()
    assert found.mean == pytest.approx(1.58, abs=1e-12)
    assert found.p_value == pytest.approx(theirs.pvalue, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert found.p_value == pytest.approx(0.00283, abs=5e-6)  # as in every textbook
    assert found.effect_size == pytest.approx(np.mean(SLEEP) / np.std(SLEEP, ddof=1))


@given(TABLES)
def test_full_cells_are_students_test_of_the_means_of_seeds(table: list[list[float]]) -> None:
    means = np.mean(table, axis=0)
    found = paired_difference(cells(table))
    assert found.mean == pytest.approx(means.mean(), abs=1e-9)
    if np.ptp(means) > 1e-6:
        theirs = stats.ttest_1samp(means, 0.0)
        interval = theirs.confidence_interval()
        assert found.p_value == pytest.approx(theirs.pvalue, abs=1e-9)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-7)
    assert found.num_seeds == len(means)


def test_a_table_agrees_with_scipy_to_the_twelfth_digit() -> None:
    table = [[0.1, 0.3, 0.2, 0.25], [0.05, 0.35, 0.4, -0.1], [0.0, 0.2, 0.6, 0.3]]
    theirs = stats.ttest_1samp(np.mean(table, axis=0), 0.0)
    assert paired_difference(cells(table)).p_value == pytest.approx(theirs.pvalue, abs=1e-12)


@given(TABLES)
def test_swapping_the_levels_turns_all_signs(table: list[list[float]]) -> None:
    there = paired_difference(cells(table))
    back = paired_difference(cells([[-value for value in row] for row in table]))
    assert there.mean == -back.mean
    assert there.p_value == back.p_value
    assert there.sign_flip_p_value == back.sign_flip_p_value
    assert there.win_rate == pytest.approx(1 - back.win_rate)
    assert there.low == pytest.approx(-back.high if back.high is not None else None)


@given(TABLES, st.sampled_from([0.125, 2.0, 1024.0]))
def test_the_unit_changes_no_verdict(table: list[list[float]], factor: float) -> None:
    plain = paired_difference(cells(table))
    scaled = paired_difference(cells([[factor * value for value in row] for row in table]))
    assert scaled.mean == pytest.approx(factor * plain.mean)
    assert scaled.p_value == pytest.approx(plain.p_value, abs=1e-9)
    assert scaled.effect_size == pytest.approx(plain.effect_size)


@given(TABLES)
def test_the_order_of_cells_changes_nothing(table: list[list[float]]) -> None:
    turned = list(reversed(table))
    one, other = paired_difference(cells(table)), paired_difference(cells(turned))
    assert one.mean == pytest.approx(other.mean, abs=1e-9)
    assert one.seed_std == pytest.approx(other.seed_std, abs=1e-9)


def test_cells_that_share_a_seeds_luck_add_nothing() -> None:
    # Sixteen cells with the same differences know as much as one of them.
    row = [0.1, 0.4, 0.2]
    one, many = paired_difference(cells([row])), paired_difference(cells([row] * 16))
    assert many.low == pytest.approx(one.low)
    assert many.num_pairs == 48


def test_what_is_missing_leaves_the_rest_in() -> None:
    table = cells([[0.1, 0.3, 0.2], [0.2, 0.2, 0.5]])
    del table[1][2]
    found = paired_difference(table)
    assert (found.num_pairs, found.num_seeds, found.num_cells) == (5, 3, 2)
    assert found.mean == pytest.approx(0.2)


def test_a_cell_with_one_seed_counts_and_leaves_the_spread_unknown() -> None:
    found = paired_difference([{0: 0.1, 1: 0.3, 2: 0.2}, {0: 9.0}])
    assert (found.num_cells, found.num_single, found.num_pairs) == (2, 1, 4)
    assert found.mean == pytest.approx(4.6)
    assert found.low is found.high is found.p_value is found.seed_std is None
    assert found.sign_flip_p_value is found.effect_size is None


def test_one_seed_shows_no_spread() -> None:
    found = paired_difference([{0: 0.1}, {0: 0.3}])
    assert found.mean == pytest.approx(0.2)
    assert found.low is found.p_value is found.sign_flip_p_value is found.seed_std is None


def test_what_is_but_rounding_is_no_spread() -> None:
    cell = {0: 0.33 - 0.3, 1: 0.23 - 0.2, 2: 1.13 - 1.1}
    assert len(set(cell.values())) == 3
    found = paired_difference([cell])
    assert (found.p_value, found.effect_size, found.seed_std) == (0.0, None, 0.0)


def test_numbers_whose_squares_do_not_fit_are_compared_as_well() -> None:
    table = [[0.1, 0.3, 0.2, 0.25], [0.05, 0.35, 0.4, -0.1]]
    plain = paired_difference(cells(table))
    large = paired_difference(cells([[1e200 * value for value in row] for row in table]))
    assert large.p_value == pytest.approx(plain.p_value)
    assert large.effect_size == pytest.approx(plain.effect_size)
    one, other = (
        welch_difference(*table),
        welch_difference(*([1e200 * v for v in t] for t in table)),
    )
    assert other.p_value == pytest.approx(one.p_value)


def test_nothing_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        paired_difference([{}])
    with pytest.raises(ValueError, match="nothing to compare"):
        welch_difference([], [1.0])


def test_equal_differences_are_certain_and_none_are_nothing() -> None:
    assert paired_difference([{0: 0.0, 1: 0.0}]).p_value == 1.0
    assert paired_difference([{0: 0.5, 1: 0.5}]).p_value == 0.0


def test_flipping_signs_agrees_with_fisher_on_darwins_maize() -> None:
    # Fisher counts 835 of 32,768 patterns with a sum above 314, and 28 with just that: both
    # tails are 1,726. There are 15 differences, so ours is drawn; scipy takes all of them.
    theirs = stats.permutation_test(
        (MAIZE,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert theirs == pytest.approx(1726 / 32768, abs=1e-12)
    assert sign_flip_p_value(MAIZE) == pytest.approx(theirs, abs=0.005)


@pytest.mark.parametrize("n", [2, 5, 9, 14])
def test_flipping_few_signs_is_exact(n: int) -> None:
    theirs = stats.permutation_test(
        (MAIZE[:n],), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p_value(MAIZE[:n]) == pytest.approx(theirs, abs=1e-12)


def test_flipping_three_signs_never_reaches_one_in_twenty() -> None:
    assert sign_flip_p_value([5.0, 5.1, 4.9]) == 0.25


def test_welch_agrees_with_scipy() -> None:
    found = welch_difference(SECOND_DRUG, FIRST_DRUG[:7])
    theirs = stats.ttest_ind(SECOND_DRUG, FIRST_DRUG[:7], equal_var=False)
    interval = theirs.confidence_interval()
    assert found.p_value == pytest.approx(theirs.pvalue, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_welch_of_equal_values_is_certain() -> None:
    found = welch_difference([1.0, 1.0], [0.5, 0.5])
    assert (found.p_value, found.low, found.effect_size) == (0.0, 0.5, None)
