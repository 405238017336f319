"""Recipes from the command line; that all can be planned is held by the unit tests."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import Trainyard

RECIPES = Path("experiments/recipes")


def test_a_recipe_can_be_copied_and_planned(trainyard: Trainyard, tmp_path: Path) -> None:
    spec = tmp_path / "mine.yaml"
    assert trainyard("init", "segmentation", "--to", spec, home=tmp_path).out == f"{spec}\n"
    planned = trainyard("plan", spec, "--json", home=tmp_path).json()
    found = [model["model"] for model in planned["models"]]
    assert found == [f"fcn{stride}s width=0.125" for stride in (32, 16, 8)]


@pytest.mark.slow
def test_quickstart_reads_97_of_100_digits(trainyard: Trainyard, tmp_path: Path) -> None:
    home = tmp_path / "home"
    answer = trainyard("run", RECIPES / "quickstart.yaml", home=home)
    assert answer.code == 0, answer.err
    variants = trainyard("leaderboard", "quickstart", "--json", home=home).json()["variants"]
    assert variants[0]["mean"] >= 0.97
    assert [variant["n"] for variant in variants] == [3] * 14


SCENES = """
name: scenes
task: segmentation
data: {name: digit_scenes, examples: 400, size: 64}
defaults: {epochs: 12, batch_size: 8, optimizer: adam, lr: 0.003, schedule: cosine}
parameters:
  model:
    - {name: fcn32s, width: 0.125}
    - {name: fcn16s, width: 0.125}
    - {name: fcn8s, width: 0.125}
"""
"""The recipe `segmentation` with one seed, on smaller scenes."""


@pytest.mark.slow
def test_skips_from_finer_layers_sharpen_a_segmentation(
    trainyard: Trainyard, tmp_path: Path
) -> None:
    spec = tmp_path / "scenes.yaml"
    spec.write_text(SCENES)
    answer = trainyard("run", spec, home=tmp_path / "home")
    assert answer.code == 0, answer.err
    rows = trainyard("trials", "scenes", "--json", home=tmp_path / "home").json()["trials"]
    found = {row["params"]["model"]: row["metrics"]["test/mean_iou"] for row in rows}
    fcn32s, fcn16s, fcn8s = (found[f"fcn{stride}s width=0.125"] for stride in (32, 16, 8))
    assert fcn32s < fcn16s < fcn8s


@pytest.mark.slow
def test_lenet_reads_mnist_after_one_epoch_with_every_seed(
    trainyard: Trainyard, tmp_path: Path, shared_data: Path
) -> None:
    source = shared_data / "MNIST"
    if not source.is_dir():
        pytest.skip(f"no MNIST in {shared_data}")
    data = tmp_path / "data"
    shutil.copytree(source, data / "MNIST")
    environ = {"TRAINYARD_DATA": str(data)}
    home = tmp_path / "home"
    answer = trainyard("run", RECIPES / "mnist-lenet.yaml", home=home, environ=environ)
    assert answer.code == 0, answer.err
    rows = trainyard("trials", "mnist-lenet", "--json", home=home).json()["trials"]
    assert len(rows) == 3
    assert all(row["metrics"]["test/accuracy"] > 0.9684 for row in rows)


@pytest.mark.postgres
def test_the_same_spec_gives_the_same_numbers_on_postgresql(
    trainyard: Trainyard,
    small_spec: Path,
    finished_home: Path,
    tmp_path: Path,
    new_postgres_url: Callable[[], str],
) -> None:
    home = tmp_path / "home"
    environ = {"TRAINYARD_DATABASE_URL": new_postgres_url()}
    answer = trainyard("run", small_spec, "--wait-for-mlflow", home=home, environ=environ)
    assert answer.code == 0, answer.err
    assert not (home / "trainyard.db").exists()
    there = trainyard("trials", "small", "--json", home=home, environ=environ).json()["trials"]
    here = trainyard("trials", "small", "--json", home=finished_home).json()["trials"]
    assert [(row["id"], row["metrics"]) for row in there] == [
        (row["id"], row["metrics"]) for row in here
    ]
