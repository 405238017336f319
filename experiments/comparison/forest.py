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

MOST_TRIALS: Final = 10_000
"""To grow a forest on: more take minutes, and tell no more."""


@dataclass(frozen=True, slots=True)
class Importances:
    """Each hyperparameter's part of all importances, and how well the forest foretells.

    `num_trials` is on how many trials the forest was grown.
    """

    importances: Mapping[str, float]
    out_of_bag_r2: float
    num_trials: int


def forest_importances(
    columns: Mapping[str, Sequence[Any]], values: Sequence[float]
) -> Importances:
    """Share out importance among hyperparameters; parts add up to 1, or are all 0.

    Breiman (2001), section 10: how much worse each tree foretells the trials that it was grown
    without when a hyperparameter is shuffled among them. Numbers stand in their order, which is all
    that a tree asks of them (a missing one below all others); names and mixtures as one column a
    value, which are shuffled together. Of more than 10,000 trials as many are drawn.
    """
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    generator = named_generator("forest")
    blocks = {name: _encoded(column) for name, column in columns.items()}
    inputs, results = np.hstack(list(blocks.values())), np.asarray(values, dtype=float)
    if len(results) > MOST_TRIALS:
        drawn = generator.choice(len(results), MOST_TRIALS, replace=False)
        inputs, results = inputs[drawn], results[drawn]
    results = results / np.abs(results).max()  # squares of large numbers do not fit
    forest = RandomForestRegressor(
        _NUM_TREES, oob_score=False, bootstrap=True, random_state=0, n_jobs=1
    ).fit(inputs, results)
    ends = np.cumsum([block.shape[1] for block in blocks.values()])
    places = dict(zip(blocks, np.split(np.arange(inputs.shape[1]), ends[:-1]), strict=True))
    sums, counts = np.zeros(len(results)), np.zeros(len(results))
    worse = dict.fromkeys(blocks, 0.0)
    for tree, seen in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        unseen = np.setdiff1d(np.arange(len(results)), seen)
        if not unseen.size:
            continue
        foretold = tree.predict(inputs[unseen])
        sums[unseen] += foretold
        counts[unseen] += 1
        base = _error(foretold, results[unseen])
        for name, of_name in places.items():
            shuffled = inputs[unseen]
            shuffled[:, of_name] = shuffled[generator.permutation(unseen.size)][:, of_name]
            worse[name] += _error(tree.predict(shuffled), results[unseen]) - base
    parts = {name: max(0.0, each) for name, each in worse.items()}
    total = math.fsum(parts.values())
    shares = {name: each / total if total > 0 else 0.0 for name, each in parts.items()}
    return Importances(shares, _r2(sums, counts, results), len(results))


def _r2(sums: "np.ndarray", counts: "np.ndarray", results: "np.ndarray") -> float:
    """Give R^2 of each trial foretold by the trees that were grown without it.

    A trial that every tree has seen is left out; `oob_score` would warn of it, and count it as 0.
    """
    told = counts > 0
    spread = float(((results[told] - results[told].mean()) ** 2).sum()) if told.any() else 0.0
    if spread == 0.0:
        return 0.0
    return 1.0 - float(((results[told] - sums[told] / counts[told]) ** 2).sum()) / spread


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
