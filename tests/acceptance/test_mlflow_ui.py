"""MLflow's own pages on what a run has left there, in a real browser: useful without set-up."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.conftest import COMMAND, Trainyard
from tests.server import until_answered
from tests.told_experiment import runs_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

_DIMENSIONS = """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap(
    plot => plot.data).flatMap(trace => trace.dimensions || []).map(
    dimension => [dimension.label.replace(/<[^>]*>/g, ""), dimension.values.length])"""


@pytest.fixture(scope="module")
def server(finished_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's pages as `trainyard mlflow` serves them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with (tmp_path_factory.mktemp("server") / "log").open("wb") as log:
        process = subprocess.Popen(
            [COMMAND, "mlflow", "--port", str(port)],
            env={**os.environ, "TRAINYARD_HOME": str(finished_home)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until_answered(f"{address}/health", process)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def runs_page(browser: "Browser", server: str) -> Iterator["Page"]:
    """The page that lists the experiment's runs."""
    from mlflow import MlflowClient

    experiment = MlflowClient(server).get_experiment_by_name("small")
    assert experiment is not None
    page = browser.new_page(viewport={"width": 1800, "height": 1000})
    page.set_default_timeout(60_000)
    page.goto(f"{server}/#/experiments/{experiment.experiment_id}/runs")
    page.get_by_text("matching runs").wait_for()
    yield page
    page.close()


def test_runs_have_readable_names_and_group_by_variant(
    runs_page: "Page", trainyard: Trainyard, finished_home: Path
) -> None:
    trials = trainyard("trials", "small", "--json", home=finished_home).json()["trials"]
    shown = runs_page.inner_text("body")
    assert "8 matching runs" in shown.replace("\n", " ")
    for trial in trials:
        assert f"{trial['variant']} seed={trial['seed']}" in shown

    runs_page.get_by_text("Group by").first.click()
    runs_page.get_by_text("variant", exact=True).first.click()
    runs_page.get_by_text("Group: ").first.wait_for()
    grouped = runs_page.inner_text("body")
    assert {f"Group: {trial['variant']}" for trial in trials} == {
        line for line in grouped.splitlines() if line.startswith("Group: ")
    }


def test_comparison_has_all_runs_on_what_varies_and_begins_with_the_objective(
    runs_page: "Page",
) -> None:
    runs_page.get_by_role("checkbox").first.click()
    runs_page.get_by_text("Compare", exact=True).first.click()
    runs_page.get_by_text("Comparing 8 Runs").wait_for()
    runs_page.locator(".js-plotly-plot .parcoords").first.wait_for(state="attached")
    found: Any = runs_page.evaluate(_DIMENSIONS)
    labels = [label for label, _ in found]
    assert {number for _, number in found} == {8}
    # `dropout` applies to one of the two networks: the other's runs are there as "n/a".
    assert {"dropout", "best/val/accuracy"} <= set(labels)


def test_charts_have_the_curves_and_bars_of_the_scores(runs_page: "Page") -> None:
    runs_page.goto(f"{runs_page.url.partition('?')[0]}?compareRunsMode=CHART")
    # Charts further down are drawn when they come into view.
    for title in ("train/loss", "val/loss", "test/accuracy", "best/val/accuracy"):
        runs_page.get_by_placeholder("Search metric charts").fill(title)
        runs_page.get_by_text(title, exact=True).first.wait_for()
    runs_page.locator(".js-plotly-plot .bars").first.wait_for(state="attached")


def test_a_report_is_shown_with_the_best_run(
    server: str, browser: "Browser", trainyard: Trainyard, finished_home: Path
) -> None:
    from mlflow import MlflowClient

    told = trainyard("report", "small", "--json", home=finished_home)
    assert told.code == 0, told.err
    document = told.json()
    best = trainyard("status", "small", "--json", home=finished_home).json()["experiments"][0]
    assert document["attached"][0] == best["best"]["trial"]
    assert len(document["attached"]) == 3
    client = MlflowClient(server)
    for run in (runs_of("small", client)[trial].info for trial in document["attached"]):
        deadline = time.monotonic() + 120
        names: set[str] = set()
        while "report/report.html" not in names and time.monotonic() < deadline:
            time.sleep(0.5)
            names = {file.path for file in client.list_artifacts(run.run_id, "report")}
        assert {"report/report.html", "report/figures"} <= names
    page = browser.new_page(viewport={"width": 1800, "height": 1000})
    page.set_default_timeout(60_000)
    first = runs_of("small", client)[document["attached"][0]].info
    page.goto(f"{server}/#/experiments/{first.experiment_id}/runs/{first.run_id}/artifacts")
    page.get_by_text("report", exact=True).first.click()
    page.get_by_text("report.html").first.wait_for()
    page.close()


def test_champion_on_a_server_answers_like_the_trained_network(
    server: str, trainyard: Trainyard, finished_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import torch

    import trainyard as ty

    told = {"MLFLOW_TRACKING_URI": server}
    first = trainyard("promote", "small", "--json", home=finished_home, environ=told)
    assert first.code == 0, first.err
    done = first.json()
    assert (done["version"], done["new"], done["uri"]) == (1, True, "models:/small@champion")
    shown = trainyard("show", done["trial"], "--json", home=finished_home).json()
    assert done["findings"] == shown["findings"]
    best = trainyard("status", "small", "--json", home=finished_home).json()["experiments"][0]
    assert done["trial"] == best["best"]["trial"]
    again = trainyard("promote", "small", "--json", home=finished_home).json()
    assert (again["version"], again["new"], again["replaced"]) == (1, False, None)

    monkeypatch.setenv("TRAINYARD_HOME", str(finished_home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    mlflow.set_tracking_uri(server)
    images = torch.randint(0, 17, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    champion = mlflow.pytorch.load_model(done["uri"])
    assert torch.equal(champion(images), ty.load_model(done["trial"])(images))

    portrait = ty.portrait(done["trial"])
    assert (portrait.num_shown, portrait.data) == (portrait.num_examples, "digits")
    assert portrait.failures


def test_nothing_to_promote_is_refused(trainyard: Trainyard, finished_home: Path) -> None:
    answer = trainyard("promote", "nothing", home=finished_home)
    assert answer.code == 5
    away = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    answer = trainyard("promote", "small", home=finished_home, environ=away)
    assert answer.code == 6
    assert "MLflow at http://127.0.0.1:1 cannot be told now" in answer.err
