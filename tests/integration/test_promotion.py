"""Promoting and attaching on a real MLflow store, whatever the mirror has told so far."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient

from experiments.errors import MlflowUnavailableError, NotFoundError
from experiments.events import Failure
from experiments.states import FailureKind
from orchestrator.mirroring.attachment import attach, best_trials
from orchestrator.mirroring.mlflow_drain import Drain
from orchestrator.mirroring.mlflow_mirror import Mlflow
from orchestrator.mirroring.mlflow_records import Records
from orchestrator.mirroring.promotion import promote
from orchestrator.queueing.outbox import FILES, Outbox
from orchestrator.settings import Settings, from_environment
from tests.told_experiment import Store, models_of, runs
from workers.predictor import load_predictor

pytestmark = pytest.mark.slow


def drain(store: Store, settings: Settings) -> int:
    return Drain(
        Outbox(store.engine),
        Records(store.results),
        engine=store.engine,
        open_mlflow=lambda: Mlflow(settings),
    ).turn()


def test_champion_is_the_best_on_validation_and_answers_like_the_trained_network(
    store: Store, settings: Settings, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.submit({"a": {"lr": 0.1}, "b": {"lr": 0.2}}, seeds=2)
    store.succeed(accuracy=0.7, checkpoint=True)
    store.succeed(accuracy=0.8, checkpoint=True)
    best = store.succeed(accuracy=0.9, checkpoint=True)
    done = promote(settings, store.results, experiment=store.name)  # the mirror has told nothing

    assert (done.trial_id, done.name, done.version, done.new) == (best, store.name, 1, True)
    assert done.replaced is None
    (version,) = client.search_model_versions(f"name = '{store.name}'")
    assert client.get_model_version_by_alias(store.name, "champion").version == version.version
    assert version.run_id == runs(store, client)[best].info.run_id
    assert version.tags["trainyard.trial"] == best
    assert "val/accuracy = 0.9" in (version.description or "")
    # Also set by set_tracking_uri; said here so that it is taken back after the test.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_uri)
    mlflow.set_tracking_uri(settings.mlflow_uri)
    loaded = mlflow.pytorch.load_model(done.uri)
    (checkpoint,) = store.results.checkpoints(best)
    trained = load_predictor(Path(checkpoint.path), sha256=checkpoint.sha256)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 17, (3, 1, 8, 8))).float()
    assert torch.equal(loaded(images), trained(images))

    assert drain(store, settings) == 4  # three runs and a variant's model, told again or at last
    assert len(runs(store, client)) == 3
    assert len(models_of(runs(store, client)[best])) == 1


def test_promoting_again_changes_nothing_and_another_trial_takes_over(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}}, seeds=2)
    other = store.succeed(accuracy=0.7, checkpoint=True)
    best = store.succeed(accuracy=0.9, checkpoint=True)
    first = promote(settings, store.results, experiment=store.name)
    again = promote(settings, store.results, experiment=store.name)
    assert (first.trial_id, first.version, first.new) == (best, 1, True)
    assert (again.trial_id, again.version, again.new, again.replaced) == (best, 1, False, None)

    taken = promote(settings, store.results, experiment=store.name, trial_id=other)
    assert (taken.version, taken.replaced, taken.new) == (2, 1, True)
    back = promote(settings, store.results, experiment=store.name)
    assert (back.version, back.replaced, back.new) == (1, 2, False)
    assert len(client.search_model_versions(f"name = '{store.name}'")) == 2

    drain(store, settings)  # which takes away models that were the best before
    for trial_id in (best, other):
        (model_id,) = models_of(runs(store, client)[trial_id])
        assert client.get_logged_model(model_id).status == "READY"


def test_what_cannot_be_promoted_is_refused_with_a_reason(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}}, seeds=2)
    failed = store.fail(Failure(FailureKind.ERROR, "ValueError", "no"), [])
    with pytest.raises(NotFoundError, match="no trial has succeeded"):
        promote(settings, store.results, experiment=store.name)
    with pytest.raises(NotFoundError, match="has no weights"):
        promote(settings, store.results, experiment=store.name, trial_id=failed)
    store.succeed()  # no checkpoint of it was kept
    with pytest.raises(NotFoundError, match="has no weights"):
        promote(settings, store.results, experiment=store.name)
    assert not client.search_registered_models(f"name = '{store.name}'")


def test_mlflow_that_does_not_answer_is_said_soon_and_without_its_password(
    store: Store, tmp_path: Path
) -> None:
    store.submit({"a": {"lr": 0.1}})
    store.succeed(checkpoint=True)
    away = from_environment(
        {
            "TRAINYARD_HOME": str(tmp_path),
            "MLFLOW_TRACKING_URI": "http://me:hunter2@127.0.0.1:1",
        }
    )
    with pytest.raises(MlflowUnavailableError, match="MLflow at http://me:") as refusal:
        promote(away, store.results, experiment=store.name)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.exit_code == 6


def test_report_is_attached_to_the_best_run_of_each_of_the_best_variants(
    store: Store, settings: Settings, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr("orchestrator.mirroring.attachment.tell_the_rest", asked.append)
    store.submit({name: {"lr": 0.1} for name in "abcd"}, seeds=2)
    ids = [store.succeed(accuracy=0.5 + 0.01 * number) for number in range(8)]
    folder = settings.home / "reports" / "grid"
    (folder / "figures").mkdir(parents=True)
    (folder / "report.html").write_text("<h1>first</h1>")
    (folder / "figures" / "curves.png").write_bytes(b"png")
    (folder / ".env").write_text("not the report's")
    listed = ["report.html", "manifest.json", "figures/curves.png", "gone.md", "../trainyard.db"]
    (folder / "manifest.json").write_text(json.dumps({"files": listed}))
    outbox = Outbox(store.engine)

    told = attach(settings, store.results, outbox, experiment=store.name, folder=folder)
    assert told == (ids[7], ids[5], ids[3])
    assert asked == [settings]
    experiment = store.results.resolve_experiment(store.name)
    assert [trial.id for trial in best_trials(store.results, experiment)][-1] == ids[1]
    drain(store, settings)

    def text_of(trial_id: str) -> str:
        uri = runs(store, client)[trial_id].info.artifact_uri
        text: str = mlflow.artifacts.load_text(f"{uri}/report/report.html")
        return text

    for trial_id in told:
        run_id = runs(store, client)[trial_id].info.run_id
        names = {file.path for file in client.list_artifacts(run_id, "report")}
        assert names == {"report/report.html", "report/manifest.json", "report/figures"}
        (picture,) = client.list_artifacts(run_id, "report/figures")
        assert picture.path == "report/figures/curves.png"
        assert text_of(trial_id) == "<h1>first</h1>"
    others = runs(store, client)[ids[6]].info.run_id
    assert not client.list_artifacts(others, "report")

    (folder / "report.html").write_text("<h1>second</h1>")
    attach(settings, store.results, outbox, experiment=store.name, folder=folder)
    assert len(outbox.pending(10, kind=FILES)) == 3
    drain(store, settings)
    assert text_of(ids[7]) == "<h1>second</h1>"


@pytest.mark.parametrize("manifest", [None, "[]", '{"files": 3}', "{"])
def test_a_folder_without_a_report_is_not_attached(
    store: Store, settings: Settings, tmp_path: Path, manifest: str | None
) -> None:
    store.submit({"a": {"lr": 0.1}})
    store.succeed()
    folder = tmp_path / "mine"
    if manifest is not None:
        folder.mkdir()
        (folder / "manifest.json").write_text(manifest)
    outbox = Outbox(store.engine)
    with pytest.raises(NotFoundError, match="no report lies in"):
        attach(settings, store.results, outbox, experiment=store.name, folder=folder)
    assert not outbox.pending(10, kind=FILES)
