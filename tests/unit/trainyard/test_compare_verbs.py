"""compare, leaderboard and export, by their functions and by their verbs."""

import json
from pathlib import Path

import pandas as pd
import pytest

import trainyard as ty
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from tests.samples import learn_one
from trainyard.command.main import run

SPEC = "name: one\nparameters: {model: mlp, lr: [0.1, 0.2]}\nseeds: 3\n"


@pytest.fixture
def learned(home: Path) -> Path:
    """An experiment of two rates, the second of which is better with every seed."""
    ty.submit(SPEC)
    engine = open_store(f"sqlite:///{home / 'trainyard.db'}", create=False)
    for accuracy in (0.70, 0.71, 0.72, 0.80, 0.81, 0.82):
        learn_one(Queue(engine), Results(engine), accuracy)
    engine.dispose()
    return home


def test_compare_gives_the_fields_that_programs_rely_on(
    learned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", "one", "--by", "lr", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [level["level"] for level in document["levels"]] == [0.2, 0.1]
    assert document["levels"][0].keys() >= {"level", "mean", "n", "low", "high"}
    (pair,) = document["pairs"]
    assert pair.keys() >= {"a", "b", "difference", "low", "high", "p_value", "verdict"}
    assert pair["difference"] == pytest.approx(0.1)
    assert pair["verdict"] == ty.compare("one", by="lr").pairs[0].verdict.value
    assert learned.is_dir()


@pytest.mark.usefixtures("learned")
def test_compare_shows_levels_and_names_the_nearest_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["compare", "one", "--by", "lr"]) == 0
    assert "0.8100" in capsys.readouterr().out
    assert run(["compare", "one", "--by", "lrr"]) == 5
    assert "did you mean 'lr'?" in capsys.readouterr().err
    assert run(["compare", "two", "--by", "lr"]) == 5
    for margin in ("nan", "inf", "-1"):
        assert run(["compare", "one", "--by", "lr", "--margin", margin]) == 2


@pytest.mark.usefixtures("learned")
def test_experiments_are_ranked_together_unless_they_are_of_different_kinds() -> None:
    ty.submit(SPEC.replace("one", "two").replace("[0.1, 0.2]", "0.3"))
    together = ty.leaderboard("one", "two")
    assert together[0].variant.startswith("one: ")
    assert {each.params["experiment"] for each in together} == {"one", "two"}
    ty.submit(SPEC.replace("one", "loss") + "objective: {metric: val/loss, goal: minimize}\n")
    with pytest.raises(ty.IncomparableError, match="the objective is not the same"):
        ty.compare("one", "loss", by="lr")
    assert run(["leaderboard", "one", "loss"]) == 2


def test_export_writes_the_frames_that_python_gets(
    learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "one", "--out", str(tmp_path / "out"), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [Path(name).name for name in files] == ["trials.parquet", "curves.parquet"]
    pd.testing.assert_frame_equal(pd.read_parquet(files[0]), ty.trials("one"))
    (trials, _) = ty.export("one", kind="csv")
    assert trials.parent.parent == learned / "exports"
    capsys.readouterr()
    for out, words in (("/proc/none", "cannot write into the folder /proc/none"), ("", "is empty")):
        for verb in ("export", "report"):
            assert run([verb, "one", "--out", out]) == 2
            assert words in capsys.readouterr().err
