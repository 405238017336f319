"""How trials are trained is measured on this machine, remembered, and said."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from experiments.planning.strategies import Strategy
from tests.acceptance.conftest import Trainyard

SPEC = """
name: {name}
data: {{name: digits, val_fraction: 0.2, limit: 400}}
defaults: {{epochs: 60, batch_size: 32, lr: 0.02}}
parameters:
  model:
    name: convnet
    layers:
      - conv2d: {{out_channels: 4, kernel_size: 3, padding: same}}
      - activation
      - flatten
      - linear: classes
  activation: [relu, tanh]
seeds: {seeds}
"""


def run(trainyard: Trainyard, home: Path, name: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Run an experiment of one shape, and give its trials."""
    spec = home.with_name(f"{name}.yaml")
    spec.write_text(SPEC.format(name=name, seeds=seeds))
    answer = trainyard("run", spec, home=home)
    assert answer.code == 0, answer.err
    rows: list[dict[str, Any]] = trainyard("trials", name, "--json", home=home).json()["trials"]
    assert {row["state"] for row in rows} == {"succeeded"}
    return rows


def remembered(home: Path) -> list[tuple[str, str, str]]:
    """Give the engine, the choice and the times of each shape that was measured."""
    with closing(sqlite3.connect(home / "trainyard.db")) as store:
        return store.execute("SELECT engine, chosen, step_seconds FROM strategy_timing").fetchall()


def test_the_first_experiment_of_a_shape_measures_and_the_next_one_goes_by_it(
    trainyard: Trainyard, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    run(trainyard, home, "first", [0, 1, 2, 3, 4, 5])

    ((engine, text, step_seconds),) = remembered(home)
    chosen, found = Strategy.parse(text), json.loads(step_seconds)
    assert engine.startswith("torch ")
    assert len(found) >= 2
    assert found["plain"] > 0
    assert found[text] <= 1.3 * min(found.values())  # as good in a hurry

    rows = run(trainyard, home, "second", [6, 7, 8])
    ways = {row["strategy"] for row in rows}
    if chosen.is_fused:
        assert ways <= {chosen.text_of(num) for num in range(1, len(rows) + 1)}
    else:
        assert ways == {chosen.text}
    assert len(remembered(home)) == 1
    shown = trainyard("show", rows[0]["id"], home=home)
    assert f"({rows[0]['strategy']})" in shown.out
