import json
from pathlib import Path

import pytest

from trainyard.command.main import run

QUICKSTART = Path("experiments/recipes/quickstart.yaml").read_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_copies_the_quickstart_and_says_what_comes_next(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init"]) == 0
    assert (here / "quickstart.yaml").read_text() == QUICKSTART
    said = capsys.readouterr()
    assert said.out == "quickstart.yaml\n"
    assert "trainyard plan quickstart.yaml" in said.err


def test_init_never_overwrites_unless_forced(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "quickstart.yaml").write_text("mine")
    assert run(["init"]) == 2
    assert "quickstart.yaml is there already" in capsys.readouterr().err
    assert (here / "quickstart.yaml").read_text() == "mine"
    assert run(["init", "--force"]) == 0
    assert (here / "quickstart.yaml").read_text() == QUICKSTART


def test_init_writes_where_it_is_told(here: Path) -> None:
    (here / "specs").mkdir()
    assert run(["init", "autoencoder", "--to", "mine.yaml"]) == 0
    assert run(["init", "autoencoder", "--to", "specs"]) == 0
    written = [path.relative_to(here) for path in sorted(here.rglob("*.yaml"))]
    assert written == [Path("mine.yaml"), Path("specs/autoencoder.yaml")]


def test_init_into_a_folder_that_is_not_there_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", "--to", "none/mine.yaml"]) == 1
    assert "none/mine.yaml" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_an_unknown_recipe_ends_with_5_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", "quikstart"]) == 5
    assert "did you mean 'quickstart'?" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_recipes_lists_them_and_prints_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert listed[0]["name"] == "quickstart"
    assert {"topic", "question", "expect", "takes"} < listed[0].keys()
    assert run(["recipes"]) == 0
    for_people = capsys.readouterr().out
    assert all(item["name"] in for_people for item in listed)
    assert run(["recipes", "quickstart"]) == 0
    assert capsys.readouterr().out == QUICKSTART
