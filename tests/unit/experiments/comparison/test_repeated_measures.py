import itertools

import numpy as np
import pytest
from scipy import stats

from experiments.comparison.repeated_measures import effects_of

# Montgomery, Design and Analysis of Experiments, table 4.3: vascular grafts without flaws, per
# cent, by extrusion pressure (rows) and batch of resin (columns: the blocks).
GRAFTS = np.array([
    [90.3, 89.2, 98.2, 93.9, 87.4, 97.9],
    [92.5, 89.5, 90.6, 94.7, 87.0, 95.8],
    [85.5, 90.8, 89.6, 86.2, 88.0, 93.4],
    [82.5, 89.5, 85.6, 87.4, 78.9, 90.7],
])  # fmt: skip


def greenhouse_geisser(table: np.ndarray) -> float:
    """Epsilon from the covariance of orthonormal contrasts: (levels, seeds)."""
    levels = len(table)
    contrasts = np.linalg.svd(np.eye(levels) - 1 / levels)[0][:, : levels - 1]
    values = np.linalg.eigvalsh(np.cov(contrasts.T @ table))
    return float(values.sum() ** 2 / (levels - 1) / (values**2).sum())


def test_one_factor_agrees_with_montgomerys_grafts() -> None:
    # Table 4.4: treatments 178.17, blocks 192.25, error 109.89, total 480.31; F = 8.11.
    (effect,) = effects_of(GRAFTS)
    assert effect.eta_squared == pytest.approx(178.17 / 480.31, abs=1e-4)
    omega = (178.17 - 3 * 109.89 / 15) / (480.31 + 192.25 / 5)
    assert effect.omega_squared == pytest.approx(omega, abs=1e-4)
    epsilon = greenhouse_geisser(GRAFTS)
    assert 1 / 3 < epsilon < 1
    expected = stats.f.sf(8.1068, 3 * epsilon, 15 * epsilon)
    assert effect.p_value == pytest.approx(expected, rel=1e-3)
    assert stats.f.sf(8.1068, 3, 15) == pytest.approx(0.0019, abs=5e-5)  # as the book has it


def test_effects_of_two_levels_are_paired_t_tests() -> None:
    table = np.random.default_rng(0).normal(size=(2, 2, 2, 5))
    found = {effect.axes: effect for effect in effects_of(table)}
    signs = np.array([1.0, -1.0])
    for axes in ((0,), (2,), (0, 1), (1, 2)):
        weights = np.ones((2, 2, 2, 1))
        for axis in axes:
            weights = weights * signs.reshape([2 if i == axis else 1 for i in range(4)])
        contrast = (weights * table).sum(axis=(0, 1, 2))
        assert found[axes].p_value == pytest.approx(stats.ttest_1samp(contrast, 0.0).pvalue)


def test_sums_of_squares_and_errors_agree_with_least_squares() -> None:
    """Each as what leaving its columns out of the regression adds to the residual."""
    shape = (3, 2, 4)
    table = np.random.default_rng(1).normal(size=shape) + np.arange(3)[:, None, None]
    places = np.array(list(np.ndindex(shape)))

    def columns(axes: tuple[int, ...]) -> np.ndarray:
        found = np.ones((len(places), 1))
        for axis in axes:
            coded = np.eye(shape[axis])[places[:, axis]][:, 1:] - 1 / shape[axis]
            found = (found[:, :, None] * coded[:, None, :]).reshape(len(places), -1)
        return found

    every = [axes for size in range(4) for axes in itertools.combinations(range(3), size)]

    def squares(term: tuple[int, ...]) -> float:
        rest = np.hstack([columns(axes) for axes in every if axes != term])
        return float(np.linalg.lstsq(rest, table.ravel(), rcond=None)[1].sum())

    total = float(np.sum((table - table.mean()) ** 2))
    for effect in effects_of(table):
        degrees = len(effect.axes) and int(np.prod([shape[axis] - 1 for axis in effect.axes]))
        error = squares((*effect.axes, 2)) / (degrees * 3)
        assert effect.eta_squared == pytest.approx(squares(effect.axes) / total)
        omega = (squares(effect.axes) - degrees * error) / (total + squares((2,)) / 3)
        assert effect.omega_squared == pytest.approx(max(0.0, omega), abs=1e-12)


def test_without_chance_an_effect_is_certain_and_nothing_is_none() -> None:
    table = np.zeros((2, 2, 3))
    table[1] = 1.0
    table += np.array([0.1, 0.2, 0.3])  # what a seed does to all settings alike
    one, other, both = effects_of(table)
    assert (one.p_value, other.p_value, both.p_value) == (0.0, 1.0, 1.0)
