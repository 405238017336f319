import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from experiments.comparison.paired import paired_difference
from experiments.comparison.seed_clusters import clustered_error

Cells = Sequence[dict[int, float]]


def errors(cells: Cells) -> tuple[float, float]:
    return clustered_error(cells, [float(np.mean(list(cell.values()))) for cell in cells])


def cells_of(seeds: Sequence[Sequence[int]], generator: np.random.Generator) -> Cells:
    return [{seed: float(generator.normal()) for seed in each} for each in seeds]


def test_full_cells_have_a_degree_less_than_seeds() -> None:
    cells = cells_of([range(4)] * 3, np.random.default_rng(0))
    error, degrees = errors(cells)
    means = np.mean([list(cell.values()) for cell in cells], axis=0)
    assert error == pytest.approx(stats.sem(means))
    assert degrees == 3


def test_two_cells_without_a_common_seed_are_welchs_two_samples() -> None:
    # The mean of two cells' means has the error of half their difference.
    one, other = [0.3, 0.9, 0.5], [1.1, 3.9, 2.0, 2.2, 5.0]
    error, degrees = errors([dict(enumerate(one)), dict(enumerate(other, start=10))])
    theirs = stats.ttest_ind(one, other, equal_var=False)
    halves = np.var(one, ddof=1) / 3 + np.var(other, ddof=1) / 5
    assert error == pytest.approx(np.sqrt(halves) / 2)
    assert degrees <= theirs.df


@pytest.mark.parametrize("seeds", [[range(2), range(10)], [range(2), range(2, 5), range(1, 9)]])
def test_degrees_are_satterthwaites_by_simulation(seeds: Sequence[Sequence[int]]) -> None:
    """2 mean^2 / variance of the estimated variance, for the kind of residuals that gives least."""
    generator = np.random.default_rng(1)
    column = {s: i for i, s in enumerate(sorted(set(itertools.chain(*seeds))))}
    there = np.zeros((len(seeds), len(column)))
    for row, each in enumerate(seeds):
        there[row, [column[s] for s in each]] = 1
    n = there.sum(axis=1, keepdims=True)
    found = []
    highest = np.sqrt((n - 1) / stats.chi2.ppf(0.1, n - 1))  # of spreads that seem the same
    for size, spreads in (
        ((200_000, *there.shape), 1.0),
        ((200_000, 1, len(column)), 1.0),
        ((200_000, *there.shape), highest),
    ):
        drawn = generator.normal(size=size) * spreads * there
        residuals = (drawn - drawn.sum(axis=2, keepdims=True) / n) * there
        sums = (residuals / np.sqrt(n * (n - 1)) / len(seeds)).sum(axis=1)
        estimates = (sums**2).sum(axis=1)
        found.append(2 * estimates.mean() ** 2 / estimates.var())
    values = [dict(zip(each, np.resize([1.0, -1.0], len(each)), strict=True)) for each in seeds]
    equal = [
        {s: v / np.std(list(cell.values()), ddof=1) for s, v in cell.items()} for cell in values
    ]
    assert errors(equal)[1] == pytest.approx(min(found), rel=0.03)


def test_where_a_cell_of_two_seeds_decides_there_is_one_degree() -> None:
    small, large = {0: 5.0, 1: -5.0}, {seed: 0.01 * (-1) ** seed for seed in range(10)}
    assert errors([small, large])[1] == pytest.approx(1.0, abs=0.01)


def test_a_cell_that_lost_seeds_and_varies_most_is_not_taken_for_calm() -> None:
    generator = np.random.default_rng(3)
    alarms = 0
    for _ in range(1000):
        wild = {seed: 5.0 * value for seed, value in enumerate(generator.normal(size=2))}
        p_value = paired_difference([wild, *cells_of([range(5)] * 7, generator)]).p_value
        assert p_value is not None
        alarms += p_value < 0.05
    assert alarms <= 1000 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000))


def test_unequal_numbers_of_seeds_are_no_excuse_for_false_alarms() -> None:
    generator = np.random.default_rng(2)
    seeds = [range(2)] * 4 + [range(10)] * 4
    alarms = 0
    for _ in range(300):
        p_value = paired_difference(cells_of(seeds, generator)).p_value
        assert p_value is not None
        alarms += p_value < 0.05
    assert alarms <= 0.05 * 300
