"""Every recipe is planned or run; the numbers that it promises are held."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import Trainyard

RECIPES = Path("experiments/recipes")


@pytest.mark.parametrize(
    ("recipe", "variants", "trials"),
    [("quickstart", 14, 42), ("mnist-lenet", 1, 3), ("mnist-grid", 241, 723)],
)
def test_every_recipe_plans(
    trainyard: Trainyard, tmp_path: Path, recipe: str, variants: int, trials: int
) -> None:
    planned = trainyard("plan", RECIPES / f"{recipe}.yaml", "--json", home=tmp_path).json()
    assert (planned["variants"], planned["trials"]) == (variants, trials)


def test_no_recipe_goes_without_a_test() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {
        "quickstart",
        "mnist-lenet",
        "mnist-grid",
    }


@pytest.mark.slow
def test_quickstart_reads_97_of_100_digits(trainyard: Trainyard, tmp_path: Path) -> None:
    home = tmp_path / "home"
    answer = trainyard("run", RECIPES / "quickstart.yaml", home=home)
    assert answer.code == 0, answer.err
    variants = trainyard("leaderboard", "quickstart", "--json", home=home).json()["variants"]
    assert variants[0]["mean"] >= 0.97
    assert [variant["n"] for variant in variants] == [3] * 14


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
    answer = trainyard("run", small_spec, home=home, environ=environ)
    assert answer.code == 0, answer.err
    assert not (home / "trainyard.db").exists()
    there = trainyard("trials", "small", "--json", home=home, environ=environ).json()["trials"]
    here = trainyard("trials", "small", "--json", home=finished_home).json()["trials"]
    assert [(row["id"], row["metrics"]) for row in there] == [
        (row["id"], row["metrics"]) for row in here
    ]
