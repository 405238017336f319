import random
from typing import Any

import pytest

from experiments.comparison import forest
from experiments.comparison.forest import forest_importances


def test_what_does_not_matter_has_next_to_no_importance() -> None:
    """On the trials that it was grown on, a forest finds a use for anything with many values."""
    chance = random.Random(0)
    acts = [chance.choice(("relu", "tanh")) for _ in range(150)]
    columns: dict[str, list[Any]] = {
        "acts": acts,
        "idle": [chance.random() for _ in range(150)],
    }
    values = [(act == "relu") + chance.gauss(0, 1) for act in acts]
    found = forest_importances(columns, values)
    assert found.importances["acts"] > 0.9
    assert sum(found.importances.values()) == pytest.approx(1.0)


def test_names_and_numbers_and_what_is_missing_are_all_inputs() -> None:
    columns: dict[str, list[Any]] = {
        "lr": [None, 1e-300, 1e300] * 20,
        "mixed": ["a", 1, None, (bool, True)] * 15,
    }
    values = [(lr is None) + 2 * (mixed == 1) for lr, mixed in zip(*columns.values(), strict=True)]
    found = forest_importances(columns, [float(value) for value in values])
    assert found.out_of_bag_r2 > 0.9
    assert found.importances["mixed"] > found.importances["lr"] > 0.1


def test_of_very_many_trials_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forest, "MOST_TRIALS", 50)
    columns = {"lr": [i % 7 for i in range(300)]}
    found = forest_importances(columns, [float(i % 7) for i in range(300)])
    assert (found.num_trials, found.importances) == (50, {"lr": 1.0})
