"""How exactly the mean difference over cells is known, where the cells have not all the same seeds.

The difference is the mean over cells of each cell's mean over its seeds. Its variance is
estimated as the sum over seeds of (sum over cells of weighted residuals)^2: seeds are the
clusters (Liang and Zeger 1986), and each residual is stretched by sqrt(n / (n - 1)) for the
cell's mean that it is taken about, which makes the estimate right on average where residuals
are independent (Bell and McCaffrey 2002). With every seed in every cell it is the variance of
the seeds' means, divided by their number.

How many degrees of freedom that estimate has is Satterthwaite's (1946) question: those of the
chi-squared with the same mean and variance. It depends on what the residuals are like, which
nobody knows: the least of three answers is taken. Two are for residuals of one spread, once
independent and once the seed's alone, the same in all its cells. The third is for independent
ones with the spread of each cell, as Welch (1947) takes it; but of that the upper end of what
it may be (a bound that holds in nine of ten cases), since two seeds may lie close together by
chance, and cells that have lost seeds are often those that vary most. With every seed in every
cell, all three are the number of seeds less one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

_CERTAINTY: Final = 0.9
"""How often the bound of a cell's spread holds."""


def clustered_error(
    cells: Sequence[Mapping[int, float]], means: Sequence[float]
) -> tuple[float, float]:
    """Give the standard error of the mean of `means`, and its degrees of freedom.

    `cells` are the values by seed, `means` their means. Every cell has two seeds or more.
    """
    import numpy as np

    column = {seed: i for i, seed in enumerate(sorted({seed for cell in cells for seed in cell}))}
    there = np.zeros((len(cells), len(column)))  # (cells, seeds)
    residuals = np.zeros_like(there)
    for row, (cell, mean) in enumerate(zip(cells, means, strict=True)):
        for seed, value in cell.items():
            there[row, column[seed]] = 1.0
            residuals[row, column[seed]] = value - mean
    largest = float(np.abs(residuals).max()) or 1.0  # squares of large numbers do not fit
    residuals /= largest
    n = there.sum(axis=1)
    weights = np.sqrt(n / (n - 1)) / (n * len(cells))
    error = largest * math.sqrt(float(np.sum((weights @ residuals) ** 2)))
    if there.all():
        return error, len(column) - 1.0
    variances = np.sum(residuals**2, axis=1) / (n - 1)
    return error, _least_degrees(there, weights, variances)


def _least_degrees(there: "np.ndarray", weights: "np.ndarray", variances: "np.ndarray") -> float:
    """Give the least degrees of freedom of the three; `there` is (cells, seeds), 0 or 1.

    Of a sum of squares of normals with covariance H they are tr(H)^2 / tr(H^2) (Satterthwaite
    1946; Box 1954); H is that of the seeds' sums.
    """
    import numpy as np
    from scipy.special import chdtri

    n = there.sum(axis=1)

    def sums(of_cells: "np.ndarray") -> "np.ndarray":
        """Give sum_c of_cells[c] (I - 1 1' / n_c) over the seeds of cell c: (seeds, seeds)."""
        found: np.ndarray = np.diag(of_cells @ there) - there.T @ (there * (of_cells / n)[:, None])
        return found

    independent = sums(weights**2)
    together = sums(weights)
    candidates = [independent, together @ together.T]
    if variances.any():
        highest = variances * (n - 1) / chdtri(n - 1, _CERTAINTY)
        candidates.append(sums(weights**2 * highest))
    return min(float(np.trace(h) ** 2 / np.sum(h * h)) for h in candidates)
