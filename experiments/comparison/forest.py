"""What mattered where the grid is not balanced: importances by a random forest.

In a module of its own, the only one here that imports scikit-learn, and late: it takes a second.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from experiments.comparison.bootstrap import named_generator

if TYPE_CHECKING:
    import numpy as np

_NUM_TREES: Final = 200
_NUM_REPEATS: Final = 5


@dataclass(frozen=True, slots=True)
class Importances:
    """Each hyperparameter's part of all importances, and how well the forest foretells."""

    importances: Mapping[str, float]
    out_of_bag_r2: float


def forest_importances(
    columns: Mapping[str, Sequence[Any]], values: Sequence[float]
) -> Importances:
    """Share out importance among hyperparameters; parts add up to 1, or are all 0.

    Breiman (2001): how much worse a forest foretells the results when a hyperparameter is
    shuffled, by the forest's own trees on all trials. Numbers stand in their order, which is all
    that a tree asks of them (a missing one below all others); names and mixtures as one column a
    value, which are shuffled together.
    """
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    blocks = {name: _encoded(column) for name, column in columns.items()}
    inputs, results = np.hstack(list(blocks.values())), np.asarray(values, dtype=float)
    results = results / np.abs(results).max()  # squares of large numbers do not fit
    forest = RandomForestRegressor(
        _NUM_TREES, oob_score=False, bootstrap=True, random_state=0, n_jobs=1
    ).fit(inputs, results)
    generator, start, worse = named_generator("forest"), 0, {}
    base = _error(forest.predict(inputs), results)
    for name, block in blocks.items():
        errors = []
        for _ in range(_NUM_REPEATS):
            shuffled = inputs.copy()
            order = generator.permutation(len(results))
            shuffled[:, start : start + block.shape[1]] = block[order]
            errors.append(_error(forest.predict(shuffled), results))
        worse[name] = max(0.0, sum(errors) / len(errors) - base)
        start += block.shape[1]
    total = math.fsum(worse.values())
    shares = {name: each / total if total > 0 else 0.0 for name, each in worse.items()}
    return Importances(shares, _out_of_bag_r2(forest, inputs, results))


def _out_of_bag_r2(forest: Any, inputs: "np.ndarray", results: "np.ndarray") -> float:
    """Give R^2 of each trial foretold by the trees that were grown without it.

    A trial that every tree has seen is left out; `oob_score` would warn of it, and count it as 0.
    """
    import numpy as np

    sums, counts = np.zeros(len(results)), np.zeros(len(results))
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        unseen = np.ones(len(results), dtype=bool)
        unseen[drawn] = False
        if unseen.any():
            sums[unseen] += tree.predict(inputs[unseen])
            counts[unseen] += 1
    told = counts > 0
    spread = float(np.sum((results[told] - results[told].mean()) ** 2)) if told.any() else 0.0
    if spread == 0.0:
        return 0.0
    return 1.0 - float(np.sum((results[told] - sums[told] / counts[told]) ** 2)) / spread


def _error(foretold: "np.ndarray", results: "np.ndarray") -> float:
    return float(((foretold - results) ** 2).mean())


def _encoded(column: Sequence[Any]) -> "np.ndarray":
    import numpy as np

    known = {value for value in column if value is not None}
    if all(isinstance(value, int | float) for value in known):
        places = {value: place for place, value in enumerate(sorted(known), start=1)}
        return np.array([[places.get(value, 0)] for value in column], dtype=float)
    levels = list(dict.fromkeys(column))
    return np.array([[value == level for level in levels] for value in column], dtype=float)
