"""The mirror on a real MLflow store: what MLflow shows is what the SQL store has."""

import math
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from sqlalchemy import Double, Engine, literal

from experiments.events import Failure, MetricPoint, PointsMeasured, TrialBegun, TrialSucceeded
from experiments.records import CheckpointPolicy, Resources, Trial
from experiments.states import FailureKind
from orchestrator.mirroring import mlflow_mirror
from orchestrator.mirroring.mirror import Mirror
from orchestrator.mirroring.mirror_lock import MirrorLock, teller
from orchestrator.mirroring.mlflow_drain import Drain
from orchestrator.mirroring.mlflow_mirror import Mlflow
from orchestrator.mirroring.mlflow_records import Records
from orchestrator.queueing.outbox import Outbox
from orchestrator.settings import Settings, from_environment
from tests.pools import is_alive
from tests.samples import SOME_WORK, some_trials
from tests.told_experiment import (
    NUM_EPOCHS,
    NUM_STEPS,
    Store,
    assert_equal_everywhere,
    assert_mlflow_equals_sql,
    curves_in_mlflow,
    models_of,
    runs,
    runs_of,
)
from workers.predictor import load_predictor

pytestmark = pytest.mark.slow


def mirror(store: Store, settings: Settings, *, client: MlflowClient | None = None) -> int:
    return tell(Outbox(store.engine), store, Mlflow(settings, client=client))


def tell(outbox: Outbox, store: Store, mlflow: Mlflow) -> int:
    drain = Drain(outbox, Records(store.results), engine=store.engine, open_mlflow=lambda: mlflow)
    return drain.turn()


def test_every_trial_becomes_one_run_with_equal_curves(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"lr=0.1": {"lr": 0.1}, "lr=0.2": {"lr": 0.2, "momentum": 0.9}}, seeds=2)
    for _ in range(4):
        store.succeed()

    assert mirror(store, settings) == 6  # four trials, two models
    assert Outbox(store.engine).num_pending() == 0
    assert_equal_everywhere(store, client)


def test_run_says_what_the_trial_was(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"lr=0.1": {"lr": 0.1}, "lr=0.2": {"lr": 0.2, "momentum": 0.9}})
    trial_id = store.succeed(accuracy=0.875)
    mirror(store, settings)

    run = runs(store, client)[trial_id]
    trial = store.results.trial(trial_id)
    assert run.info.run_name == "lr=0.1 seed=0"
    assert trial.started_at is not None
    assert trial.finished_at is not None
    assert run.info.start_time == round(trial.started_at * 1000)
    assert run.info.end_time == round(trial.finished_at * 1000)
    assert run.data.params == {
        "lr": "0.1",
        "momentum": "n/a",
        "parameters": "650",
        "multiply_adds": "640",
    }
    assert (
        run.data.tags.items()
        >= {
            "experiment": store.name,
            "task": "classification",
            "variant": "lr=0.1",
            "seed": "0",
            "team": "vision",
            "odd_key": "kept",
            "trainyard.experiment": store.name,
            "trainyard.experiment_id": trial.experiment_id,
            "trainyard.state": "succeeded",
            "mlflow.source.git.commit": "abc123",
        }.items()
    )
    assert run.data.metrics["best/val/accuracy"] == 0.875
    assert run.data.metrics["test/accuracy"] == 0.775
    confusion = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/confusion_matrix.json")
    assert confusion == {"classes": ["cat", "dog"], "counts": [[5, 1], [0, 4]]}
    assert run.inputs is not None
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "digits"
    assert trial.params == {"lr": 0.1}
    assert store.results.config(trial_id).data.digest.startswith(dataset.dataset.digest)
    assert [(tag.key, tag.value) for tag in dataset.tags] == [("mlflow.data.context", "training")]


def test_diverged_and_cancelled_trials_are_shown_as_what_they_are(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"high": {"lr": 9.0}, "never": {"lr": 0.1}})
    points = [
        MetricPoint("train/batch_loss", 1, 1, 2.5, 1_000),
        MetricPoint("train/batch_loss", 1, 2, math.nan, 1_001),
        MetricPoint("train/batch_loss", 1, 3, math.inf, 1_002),
    ]
    failure = Failure(FailureKind.NOT_FINITE, "NotFiniteError", "the loss is nan at step 2")
    diverged = store.fail(failure, points)
    store.queue.cancel(experiment_id=f"id-{store._folder.name}")
    mirror(store, settings)

    shown = runs(store, client)
    run = shown.pop(diverged)
    assert run.info.status == "FAILED"
    assert run.data.tags["diverged"] == "true"
    assert run.data.tags["trainyard.failure.message"] == "the loss is nan at step 2"
    assert curves_in_mlflow(client, run) == {("train/batch_loss", 1, 2.5, 1_000)}
    (cancelled,) = shown.values()
    assert cancelled.info.status == "KILLED"
    assert not cancelled.data.metrics


class Interrupted(BaseException):
    """Stands for `kill -9`: nothing may catch it."""


class DyingClient:
    """An MLflow client whose process dies after so many calls that write."""

    def __init__(self, client: MlflowClient, *, calls: int) -> None:
        self._client = client
        self._left = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        writes = name.startswith(("create_", "log_", "set_", "finalize_", "delete_"))

        def call(*arguments: Any, **options: Any) -> Any:
            answer = method(*arguments, **options)
            self._left -= writes
            if writes and self._left == 0:
                raise Interrupted  # after the store has it, before we know
            return answer

        return call


def test_draining_may_be_interrupted_after_any_write(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    store.succeed(checkpoint=True)

    outbox, deaths = Outbox(store.engine), 0
    for entry in outbox.pending(10):  # the trial, then its variant's model
        for calls in range(1, 20):  # each life gets one write further than the last
            dying: Any = DyingClient(client, calls=calls)
            try:
                tell(outbox, store, Mlflow(settings, client=dying))
            except Interrupted:
                deaths += 1
            if entry not in outbox.pending(10):
                break

    assert outbox.num_pending() == 0
    assert deaths >= 8  # one after every write, at least
    assert_equal_everywhere(store, client)
    (run,) = runs(store, client).values()
    assert len(client.search_logged_models([run.info.experiment_id])) == 1
    assert len(models_of(run)) == 1


class CountingClient(DyingClient):
    """Counts what an MLflow client is asked."""

    def __init__(self, client: MlflowClient) -> None:
        super().__init__(client, calls=-1)
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.asked[name] += 1
        return super().__getattr__(name)


def test_a_run_takes_few_requests_and_none_of_an_experiment_just_made_is_searched_for_before(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}}, seeds=3)
    for _ in range(2):
        store.succeed()
    counting: Any = CountingClient(client)
    there = Mlflow(settings, client=counting)
    outbox = Outbox(store.engine)
    tell(outbox, store, there)

    assert counting.asked["search_runs"] == counting.asked["create_run"] == 2
    assert counting.asked["log_batch"] == 2 * 2  # 1,100 points

    trial_id = store.succeed()
    client.create_run(there._experiment_id(store.name), tags={"trainyard.trial": trial_id})
    counting.asked.clear()
    there.check()  # as after any trouble: perhaps it is another store
    tell(outbox, store, there)
    assert counting.asked["search_runs"] >= 2
    assert_equal_everywhere(store, client)


def test_parameters_and_points_are_sent_within_mlflows_limits() -> None:
    params = [Param(f"p{number}", "1") for number in range(250)]
    metrics = [Metric("m", 1.0, step, step) for step in range(2_500)]
    sent = list(mlflow_mirror._batches(params, metrics))
    assert [(len(some), len(points)) for some, points in sent] == [
        (100, 900),
        (100, 900),
        (50, 700),
    ]
    assert [param for some, _ in sent for param in some] == params
    assert [point for _, points in sent for point in points] == metrics
    assert list(mlflow_mirror._batches([], [])) == []


def test_telling_again_changes_nothing(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    trial_id = store.succeed()
    mirror(store, settings)
    first = runs(store, client)[trial_id]

    record_again(store, trial_id)
    assert mirror(store, settings) == 1

    again = runs(store, client)[trial_id]
    assert again.info.run_id == first.info.run_id
    assert again.data.to_dictionary() == first.data.to_dictionary()
    assert_equal_everywhere(store, client)


def record_again(store: Store, trial_id: str) -> None:
    from orchestrator.queueing import outbox
    from orchestrator.store.database import writing

    with writing(store.engine) as connection:
        outbox.enqueue(connection, outbox.TRIAL, [trial_id], now=0.0)


def test_trial_tried_anew_by_a_person_replaces_its_run(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    early = [MetricPoint("val/loss", 1, NUM_STEPS // NUM_EPOCHS, 9.0, 1)]
    trial_id = store.fail(Failure(FailureKind.ERROR, "ValueError", "no"), early)
    mirror(store, settings)
    failed = runs(store, client)[trial_id]

    store.queue.retry(trial_id=trial_id)
    assert store.succeed() == trial_id
    mirror(store, settings)

    assert runs(store, client)[trial_id].info.run_id != failed.info.run_id
    assert client.get_run(failed.info.run_id).info.lifecycle_stage == "deleted"
    assert_equal_everywhere(store, client)


def test_trial_cancelled_before_it_was_tried_anew_is_no_longer_shown_as_failed(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    failure = Failure(FailureKind.NOT_FINITE, "NotFiniteError", "nan")
    trial_id = store.fail(failure, [MetricPoint("val/loss", 1, 1, 9.0, 1)])
    mirror(store, settings)
    assert runs(store, client)[trial_id].data.tags["trainyard.state"] == "failed"

    store.queue.retry(trial_id=trial_id)
    store.queue.cancel(trial_id=trial_id)
    mirror(store, settings)

    run = runs(store, client)[trial_id]
    assert run.info.status == "KILLED"
    assert run.data.tags["trainyard.state"] == "cancelled"
    assert not {"diverged", "trainyard.failure"} & run.data.tags.keys()


def test_curve_of_a_trial_that_was_killed_and_went_on_is_the_one_in_sql(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    said = list(store.points())
    per_epoch = NUM_STEPS // NUM_EPOCHS
    (claim,) = store.queue.claim(worker="w", limit=1, lease_seconds=60, resources=Resources())
    trial_id = claim.lease.trial_id
    # It dies in its second epoch, whose points come again, measured at other times.
    early = [point for point in said if point.step <= per_epoch + 50]
    begun = TrialBegun(trial_id, 0, 0)
    store.results.record([(claim.lease, begun), (claim.lease, points_measured(trial_id, early))])
    store.queue.lose(claim.lease, "killed")

    (again,) = store.queue.claim(worker="w", limit=1, lease_seconds=60, resources=Resources())
    late = [
        replace(point, timestamp_ms=point.timestamp_ms + 60_000)
        for point in said
        if point.step > per_epoch
    ]
    begun = TrialBegun(trial_id, 1, per_epoch)
    store.results.record([(again.lease, begun), (again.lease, points_measured(trial_id, late))])
    store.queue.succeed(again.lease, TrialSucceeded(trial_id, {"val/accuracy": 0.9}, 2, 1.5))
    mirror(store, settings)

    assert_equal_everywhere(store, client)
    steps = [
        point.step
        for point in client.get_metric_history(
            runs(store, client)[trial_id].info.run_id, "train/batch_loss"
        )
    ]
    assert sorted(steps) == list(range(1, NUM_STEPS + 1))


def points_measured(trial_id: str, points: list[MetricPoint]) -> PointsMeasured:
    return PointsMeasured(trial_id, tuple(points))


def test_trial_that_took_a_known_result_has_a_run_with_the_curve_and_the_model_of_its_source(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    source = store.succeed(checkpoint=True)
    other = replace(
        store.experiment(),
        id="other",
        name=f"{store.name} again",
        checkpoints=CheckpointPolicy(keep=("best",)),
    )
    known = store.results.trial(source)
    trial = Trial(
        id="other-1",
        number=1,
        variant="b",
        seed=0,
        params={"lr": 0.1},
        config=store.results.config(source),
        content_key=f"{known.variant}-{known.seed}",
        work=SOME_WORK,
    )
    assert store.queue.submit(other, [trial]).num_reused == 1
    assert mirror(store, settings) == 4

    assert_mlflow_equals_sql(store.results, "other", client)
    run = runs_of(other.name, client)["other-1"]
    assert run.data.tags["trainyard.reused_from"] == source
    assert len(curves_in_mlflow(client, run)) == NUM_STEPS + 4 * NUM_EPOCHS
    assert len(models_of(run)) == 1
    assert "trainyard.reused_from" not in runs(store, client)[source].data.tags


def test_run_made_late_by_a_call_without_an_answer_goes(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    trial_id = store.succeed()
    mirror(store, settings)
    told = runs(store, client)[trial_id]
    for _ in range(3):  # whatever the order of their ids
        client.create_run(told.info.experiment_id, tags=told.data.tags)
    record_again(store, trial_id)
    mirror(store, settings)

    assert runs(store, client)[trial_id].info.run_id == told.info.run_id
    assert_equal_everywhere(store, client)


def test_new_best_trial_of_a_variant_replaces_its_model(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"lr=0.1": {"lr": 0.1}, "lr=0_1": {"lr": 0.1}}, seeds=2)
    first = store.succeed(accuracy=0.7, checkpoint=True)
    second = store.fail(Failure(FailureKind.ERROR, "ValueError", "no"), [])
    for _ in range(2):
        store.succeed(checkpoint=True)
    mirror(store, settings)
    shown = runs(store, client)
    (old,) = models_of(shown[first])
    (others,) = [
        models_of(run)
        for run in shown.values()
        if run.data.tags["variant"] == "lr=0_1" and models_of(run)
    ]

    store.queue.retry(trial_id=second)
    assert store.succeed(accuracy=0.9, checkpoint=True) == second
    mirror(store, settings)

    (new,) = models_of(runs(store, client)[second])
    found = client.search_logged_models([shown[first].info.experiment_id])
    assert {model.model_id for model in found} == {new, *others}
    assert old not in {new, *others}


def test_experiment_named_like_anothers_id_is_not_taken_for_it(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    trial_id = store.succeed(checkpoint=True)
    impostor = replace(store.experiment(), id="impostor", name=store.experiment().id)
    store.queue.submit(impostor, some_trials(1, of="impostor"))

    assert mirror(store, settings) == 2
    assert list(runs(store, client)) == [trial_id]


def test_refused_entry_waits_and_the_others_go_on(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}}, seeds=2)
    refused, told = store.succeed(), store.succeed()

    class RefusingClient(DyingClient):
        def create_run(self, *arguments: Any, **options: Any) -> Any:
            if options["tags"]["trainyard.trial"] == refused:
                raise MlflowException("503 from the server")
            return self._client.create_run(*arguments, **options)

    outbox = Outbox(store.engine)
    refusing: Any = RefusingClient(client, calls=-1)
    tell(outbox, store, Mlflow(settings, client=refusing))

    assert list(runs(store, client)) == [told]
    assert outbox.num_pending() == 1
    assert outbox.pending(10) == ()  # not due yet
    later = Outbox(store.engine, now=lambda: literal(9e9, Double()))
    (entry,) = later.pending(10)
    assert (entry.key, entry.tries) == (refused, 1)
    tell(later, store, Mlflow(settings))
    assert_equal_everywhere(store, client)


def test_a_store_whose_making_was_interrupted_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = from_environment({"TRAINYARD_HOME": str(tmp_path / "new")})
    path = tmp_path / "new" / "mlflow.db"

    def interrupted(uri: str) -> MlflowClient:
        Path(uri.removeprefix("sqlite:///")).write_text("half a store")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mlflow_mirror, "MlflowClient", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Mlflow(settings)
    assert not path.exists()
    Mlflow(settings)
    assert MlflowClient(settings.mlflow_uri).search_experiments(max_results=1)
    assert path.exists()


def test_best_model_of_a_variant_loads_and_predicts_as_the_trained_one(
    store: Store, settings: Settings, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.submit({"lr=0.1": {"lr": 0.1}}, seeds=3)
    store.succeed(accuracy=0.7, checkpoint=True)
    best = store.succeed(accuracy=0.9, checkpoint=True)
    store.succeed(accuracy=0.8, checkpoint=True)
    mirror(store, settings)

    run = runs(store, client)[best]
    (model_id,) = models_of(run)
    assert client.get_logged_model(model_id).name == "lr=0_1"
    # Also set by set_tracking_uri; said here so that it is taken back after the test.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_uri)
    mlflow.set_tracking_uri(settings.mlflow_uri)
    loaded = mlflow.pytorch.load_model(f"models:/{model_id}")
    (checkpoint,) = store.results.checkpoints(best)
    trained = load_predictor(Path(checkpoint.path), sha256=checkpoint.sha256)
    for num_images in (1, 5):
        pixels = np.random.default_rng(0).integers(0, 17, (num_images, 1, 8, 8))
        images = torch.from_numpy(pixels).float()
        assert torch.equal(loaded(images), trained(images))


def test_missing_checkpoint_shows_the_run_without_a_model(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    store.submit({"a": {"lr": 0.1}})
    trial_id = store.succeed(checkpoint=True)
    (checkpoint,) = store.results.checkpoints(trial_id)
    Path(checkpoint.path).unlink()

    assert mirror(store, settings) == 2
    run = runs(store, client)[trial_id]
    assert run.info.status == "FINISHED"
    assert not models_of(run)


def test_mirror_process_tells_beside_the_work_and_ends_when_let_go(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    beside = Mirror(settings, engine=store.engine)
    beside.start()
    store.submit({"a": {"lr": 0.1}})
    store.succeed()

    wait_until(lambda: "told MLflow" in (settings.logs / "mirror.log").read_text())
    assert beside.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, beside.pid) == 19  # nothing waits for it
    session = Path(f"/proc/{beside.pid}/autogroup")
    assert not session.exists() or session.read_text().endswith("nice 19\n")
    beside.stop()

    assert not beside.is_running
    assert beside.num_pending() == 0
    assert_equal_everywhere(store, client)


def test_a_database_that_was_deleted_in_the_home_is_made_and_filled_again(
    store: Store, tmp_path: Path
) -> None:
    settings, outbox = from_environment({"TRAINYARD_HOME": str(tmp_path)}), Outbox(store.engine)
    store.submit({"a": {"lr": 0.1}})
    trial_id = store.succeed(checkpoint=True)
    for entry in outbox.pending(9):  # as if told to a database that is not there any more
        outbox.mark_done(entry)

    beside = Mirror(settings, engine=store.engine)
    beside.start()
    wait_until(lambda: outbox.num_pending() == 0)
    beside.stop()

    client = MlflowClient(settings.mlflow_uri)
    assert_equal_everywhere(store, client)
    assert len(models_of(runs(store, client)[trial_id])) == 1


def test_mirror_process_outlives_a_store_that_cannot_be_opened(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    beside = Mirror(
        replace(settings, database_url=f"sqlite:///{tmp_path / 'later.db'}"), engine=engine
    )
    beside.start()
    log = settings.logs / "mirror.log"

    wait_until(lambda: "cannot be told anything now" in log.read_text())
    assert "later.db: no store yet" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert beside.is_running
    beside.stop()


def test_a_mirror_that_was_let_go_tells_the_rest_and_ends(
    store: Store, settings: Settings, client: MlflowClient
) -> None:
    beside = Mirror(settings, engine=store.engine)
    with closing(MirrorLock(settings.database_url)) as another:
        assert another.take()  # one that goes on by itself after an earlier run
        beside.start()
        store.submit({"a": {"lr": 0.1}}, seeds=2)
        for _ in range(2):
            store.succeed(checkpoint=True)
        pid = beside.pid
        assert pid is not None
        assert beside.let_go()
        log = settings.logs / "mirror.log"
        wait_until(lambda: "this one waits for it" in log.read_text())
        assert not beside.is_running  # it is nobody's any more
        assert beside.num_pending() == 3
    wait_until(lambda: not is_alive(pid))

    assert "told MLflow of" in log.read_text()
    assert beside.num_pending() == 0
    assert_equal_everywhere(store, client)


def test_a_mirror_that_was_let_go_leaves_a_home_that_is_deleted_alone(
    store: Store, settings: Settings
) -> None:
    settings = replace(settings, mlflow_uri="http://127.0.0.1:1")  # so it does not end by itself
    store.submit({"a": {"lr": 0.1}})
    store.succeed()
    beside = Mirror(settings, engine=store.engine)
    beside.start()
    wait_until(lambda: teller(settings.database_url) == beside.pid)
    pid = beside.pid
    assert pid is not None
    assert beside.let_go()
    threading.Event().wait(1.0)
    assert is_alive(pid)
    shutil.rmtree(settings.home)

    wait_until(lambda: not is_alive(pid), seconds=10.0)
    assert not settings.home.exists()


def wait_until(done: Callable[[], bool], *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not done after {seconds:g} s"
        threading.Event().wait(0.05)
