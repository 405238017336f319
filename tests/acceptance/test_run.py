"""A spec goes in; trained, recorded and compared trials come out."""

import time
from collections import defaultdict
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.mirroring.mirror_lock import teller
from tests.acceptance.conftest import Answer, Trainyard
from tests.pools import is_alive

Curves = dict[tuple[str, str], list[tuple[int, int, float]]]


def test_counts_agree_in_plan_store_and_mlflow(
    trainyard: Trainyard, small_spec: Path, finished_home: Path
) -> None:
    planned = trainyard("plan", small_spec, "--json", home=finished_home).json()
    (status,) = trainyard("status", "small", "--json", home=finished_home).json()["experiments"]
    rows = trainyard("trials", "small", "--json", home=finished_home).json()["trials"]
    assert planned["trials"] == 8
    assert status["state"] == "finished"
    assert status["trials"]["succeeded"] == 8
    assert sum(status["trials"].values()) == 8
    assert [row["state"] for row in rows] == ["succeeded"] * 8
    assert len(mlflow_runs(finished_home)) == 8


def test_curves_are_equal_in_store_and_mlflow(trainyard: Trainyard, finished_home: Path) -> None:
    client = MlflowClient(f"sqlite:///{finished_home / 'mlflow.db'}")
    points = trainyard("curves", "small", "--json", home=finished_home).json()["points"]
    expected: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        step = point["step"] if point["metric"] == "train/batch_loss" else point["epoch"]
        expected[point["trial"]][point["metric"]].append((step, point["value"]))
    for run in mlflow_runs(finished_home):
        trial = run.data.tags["trainyard.trial"]
        for metric, curve in expected[trial].items():
            history = client.get_metric_history(run.info.run_id, metric)
            assert sorted((m.step, m.value) for m in history) == sorted(curve), (trial, metric)
    assert len(expected) == 8
    assert set(expected[trial]) == {
        "train/loss",
        "train/accuracy",
        "val/loss",
        "val/accuracy",
        "val/error",
        "val/precision",
        "val/recall",
        "val/f1",
        "val/dead_units",
        "lr",
        "images_per_second",
        "train/batch_loss",
    }


def test_results_are_equal_in_store_and_mlflow(trainyard: Trainyard, finished_home: Path) -> None:
    rows = trainyard("trials", "small", "--json", home=finished_home).json()["trials"]
    runs = {run.data.tags["trainyard.trial"]: run for run in mlflow_runs(finished_home)}
    for row in rows:
        run = runs[row["id"]]
        assert run.data.metrics["test/accuracy"] == row["metrics"]["test/accuracy"]
        assert run.data.metrics["best/val/accuracy"] == row["metrics"]["val/accuracy"]
        assert run.data.params["lr"] == str(row["params"]["lr"])
        assert run.data.tags["variant"] == row["variant"]


def test_the_best_trial_of_each_variant_is_a_loadable_model(
    trainyard: Trainyard, finished_home: Path
) -> None:
    rows = trainyard("trials", "small", "--json", home=finished_home).json()["trials"]
    best: dict[str, tuple[float, str]] = {}
    for row in rows:
        value = row["metrics"]["val/accuracy"]
        if value > best.get(row["variant"], (0.0, ""))[0]:
            best[row["variant"]] = (value, row["id"])
    with_model = {
        run.data.tags["trainyard.trial"]
        for run in mlflow_runs(finished_home)
        if run.outputs and run.outputs.model_outputs
    }
    assert with_model == {trial for _, trial in best.values()}


def test_another_home_with_one_worker_gives_the_same_numbers_to_the_last_bit(
    trainyard: Trainyard, small_spec: Path, finished_home: Path, tmp_path: Path
) -> None:
    other_home = tmp_path / "other"
    answer = trainyard("run", small_spec, "--workers", "1", "--wait-for-mlflow", home=other_home)
    assert answer.code == 0, answer.err
    assert "goes on by itself" not in answer.err
    one, other = curves_in(trainyard, finished_home), curves_in(trainyard, other_home)
    assert one == other
    assert len(one) == 8 * 11
    assert results_in(trainyard, finished_home) == results_in(trainyard, other_home)


def test_mlflow_is_told_the_rest_by_a_process_that_goes_on_by_itself(
    trainyard: Trainyard, small_spec: Path, finished_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    answer = trainyard("run", small_spec, home=home)
    assert answer.code == 0, answer.err
    deadline = time.monotonic() + 30.0
    while (teller_now := teller(f"sqlite:///{home / 'trainyard.db'}")) is None:
        assert time.monotonic() < deadline  # it began when the work was done
        time.sleep(0.05)
    assert "runs and models; that goes on by itself" in answer.err
    checks = trainyard("doctor", "--json", home=home).json()["checks"]
    (backlog,) = [check for check in checks if check["check"] == "MLflow's backlog"]
    assert backlog["mend"] == f"process {teller_now} tells it"

    deadline = time.monotonic() + 120
    while is_alive(teller_now):
        assert time.monotonic() < deadline, (home / "logs" / "mirror.log").read_text()
        time.sleep(0.1)
    assert numbers_of(home) == numbers_of(finished_home)


def numbers_of(home: Path) -> dict[str, dict[str, float]]:
    """Give the metrics that MLflow shows, by trial, without the one that no two runs share."""
    return {
        run.data.tags["trainyard.trial"]: {
            name: value for name, value in run.data.metrics.items() if name != "images_per_second"
        }
        for run in mlflow_runs(home)
    }


def test_running_it_again_trains_nothing(
    trainyard: Trainyard, small_spec: Path, finished_home: Path
) -> None:
    before = trainyard("trials", "small", "--json", home=finished_home).out
    submitted = trainyard("submit", small_spec, "--json", home=finished_home).json()
    assert submitted["new"] is False
    assert trainyard("trials", "small", "--json", home=finished_home).out == before


def test_the_leaderboard_ranks_all_variants_with_their_spread(
    trainyard: Trainyard, finished_home: Path
) -> None:
    variants = trainyard("leaderboard", "small", "--json", home=finished_home).json()["variants"]
    means = [variant["mean"] for variant in variants]
    assert len(variants) == 4
    assert means == sorted(means, reverse=True)
    assert all(v["n"] == 2 and v["low"] <= v["mean"] <= v["high"] for v in variants)
    shown = trainyard("leaderboard", "small", home=finished_home)
    assert shown.code == 0
    assert all(variant["variant"] in shown.out for variant in variants)


def test_a_trials_page_shows_its_curve_attempts_and_checkpoints(
    trainyard: Trainyard, finished_home: Path
) -> None:
    (first, *_) = trainyard("trials", "small", "--json", home=finished_home).json()["trials"]
    shown = trainyard("show", first["id"], home=finished_home)
    assert shown.code == 0
    for part in ("val/accuracy", "attempt  1: succeeded", "saved    best", first["variant"]):
        assert part in shown.out
    whole = trainyard("show", first["id"], "--json", home=finished_home).json()
    assert whole["trial"] == first
    assert [attempt["state"] for attempt in whole["attempts"]] == ["succeeded"]


def test_the_python_api_gives_the_same_as_the_command_line(
    trainyard: Trainyard, finished_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trainyard as ty

    monkeypatch.setenv("TRAINYARD_HOME", str(finished_home))
    rows = trainyard("trials", "small", "--json", home=finished_home).json()["trials"]
    frame = ty.trials("small")
    assert list(frame["trial"]) == [row["id"] for row in rows]
    assert list(frame["val/accuracy"]) == [row["metrics"]["val/accuracy"] for row in rows]
    assert len(ty.curves("small")) == len(
        trainyard("curves", "small", "--json", home=finished_home).json()["points"]
    )
    assert ty.wait("small", timeout_seconds=0).num_open == 0
    assert [s.variant for s in ty.leaderboard("small")] == [
        v["variant"]
        for v in trainyard("leaderboard", "small", "--json", home=finished_home).json()["variants"]
    ]


def test_a_loaded_model_scores_what_was_recorded(
    trainyard: Trainyard, finished_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    import trainyard as ty
    from workers.datasets.digits import read_digits

    monkeypatch.setenv("TRAINYARD_HOME", str(finished_home))
    (row, *_) = trainyard("trials", "small", "--json", home=finished_home).json()["trials"]
    model = ty.load_model(row["id"])
    test = read_digits().test
    images = torch.cat([torch.from_numpy(block) for block in test.inputs])
    with torch.inference_mode():
        guesses = model(images).argmax(dim=1)
    accuracy = (guesses == torch.from_numpy(test.targets)).double().mean().item()
    assert accuracy == pytest.approx(row["metrics"]["test/accuracy"], abs=1e-12)


def mlflow_runs(home: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def curves_in(trainyard: Trainyard, home: Path) -> Curves:
    answer: Answer = trainyard("curves", "small", "--json", home=home)
    curves: Curves = defaultdict(list)
    for point in answer.json()["points"]:
        if point["metric"] != "images_per_second":  # a timing, the one thing that may differ
            key = point["trial"], point["metric"]
            curves[key].append((point["epoch"], point["step"], point["value"]))
    return dict(curves)


def results_in(trainyard: Trainyard, home: Path) -> dict[str, dict[str, float]]:
    rows = trainyard("trials", "small", "--json", home=home).json()["trials"]
    return {row["id"]: row["metrics"] for row in rows}
