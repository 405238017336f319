"""Analysis of variance of a full grid that every seed has run as a whole: seeds are the blocks.

Results of one seed share its weights and its order of the data, whatever the setting; so they are
no independent repetitions, and the spread of seeds within settings is no yardstick for an effect.
What an effect must stand out from is how much it differs from seed to seed: its own interaction
with the seeds (repeated measures; Winer, Brown and Michels 1991, chapter 7). With two levels that
is the paired t-test of `paired.py`, squared.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

_ROUNDING: Final = 1e-24
"""Of all squares: a sum that is less is but rounding."""


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of one factor, or of two together beyond that of each.

    Attributes:
        axes: Of the factors, in the table.
        eta_squared: Its sum of squares by that of all, 0 to 1; chance is in it.
        omega_squared: What is left of that without chance, 0 or more; None with one seed.
        p_value: Of its F test, not adjusted; None with one seed.
    """

    axes: tuple[int, ...]
    eta_squared: float
    omega_squared: float | None
    p_value: float | None


def effects_of(table: "np.ndarray") -> Iterator[Effect]:
    """Analyse main effects and interactions of two; `table` is (levels of each factor ..., seeds).

    Omega squared is (SS - df MS_error) / (SS_total + MS_seeds) (Olejnik and Algina 2003). The F
    test has epsilon times the degrees of freedom (Greenhouse and Geisser 1959): levels need not
    have the same spread, nor depend on each other alike.
    """
    import numpy as np

    num_seeds = table.shape[-1]
    table = table - table.mean()
    total = float(np.sum(table**2))
    of_seeds = table.mean(axis=tuple(range(table.ndim - 1)))
    mean_of_seeds = table.size * float(np.mean(of_seeds**2)) / max(1, num_seeds - 1)
    for size in (1, 2):
        for axes in itertools.combinations(range(table.ndim - 1), size):
            by_seed = _by_seed(table, axes)  # (combinations of levels, seeds)
            effect = by_seed.mean(axis=1, keepdims=True)
            repeats = table.size / by_seed.size
            squares = repeats * num_seeds * float(np.sum(effect**2))
            degrees = math.prod(table.shape[axis] - 1 for axis in axes)
            omega_squared = p_value = None
            if num_seeds > 1:
                changes = math.sqrt(repeats) * (by_seed - effect)
                mean_error = float(np.sum(changes**2)) / (degrees * (num_seeds - 1))
                left = (squares - degrees * mean_error) / (total + mean_of_seeds)
                omega_squared = max(0.0, left)
                p_value = _p_value(squares, degrees, changes, total)
            yield Effect(axes, squares / total, omega_squared, p_value)


def _by_seed(table: "np.ndarray", axes: tuple[int, ...]) -> "np.ndarray":
    """Give an effect as each seed shows it: means over all else, without what makes less of it."""
    away = tuple(axis for axis in range(table.ndim - 1) if axis not in axes)
    means = table.mean(axis=away) if away else table
    for axis in range(len(axes)):
        means = means - means.mean(axis=axis, keepdims=True)
    found: np.ndarray = means.reshape(-1, table.shape[-1])
    return found


def _p_value(squares: float, degrees: int, changes: "np.ndarray", total: float) -> float:
    """Test an effect against how it changes with the seed: (combinations of levels, seeds)."""
    import numpy as np
    from scipy.special import fdtrc

    products = changes.T @ changes
    error = float(np.trace(products))
    if error <= _ROUNDING * total:
        return 1.0 if squares <= _ROUNDING * total else 0.0
    num_seeds = changes.shape[1]
    epsilon = error**2 / (degrees * float(np.sum(products**2)))
    ratio = squares / (error / (num_seeds - 1))
    return float(fdtrc(epsilon * degrees, epsilon * degrees * (num_seeds - 1), ratio))
