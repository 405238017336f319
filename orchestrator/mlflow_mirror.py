"""Tells MLflow what the store knows: one flat run a trial, one model a variant.

The only module that imports mlflow. Telling may end anywhere, even by `kill -9`, and
begin again: a run is found by its trial before one is made, what was sent is sent again
with its own timestamps (MLflow keeps one of each), and a run is terminated last.
"""

import fcntl
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    ViewType,
)
from sqlalchemy import Engine, func, select

from experiments.errors import CheckpointError
from orchestrator.mlflow_records import ModelRecord, Records, RunRecord
from orchestrator.outbox import MODEL, Entry, Outbox
from orchestrator.settings import Settings, sqlite_path

_MOST_METRICS: Final = 1000
_MOST_PARAMS: Final = 100
_BATCH: Final = 16
_LONGEST_DELAY_SECONDS: Final = 300.0
_EXPERIMENT_TAGS: Final = {
    # These are training runs, not traces of language-model agents.
    "mlflow.experimentKind": "custom_model_development"
}
_CONFUSION_FILE: Final = "confusion_matrix.json"
_ENDING_TAGS: Final = ("trainyard.fence", "trainyard.state")
_ADVISORY_LOCK: Final = 0x6D6972726F72  # "mirror"

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def drain(outbox: Outbox, mlflow: "Mlflow", records: Records, *, engine: Engine) -> int:
    """Tell all that is due, and give how many entries are done.

    What cannot be told now is tried again later, each time after a longer while.
    """
    num_done = 0
    with _alone(engine) as alone:
        while alone and (entries := outbox.pending(_BATCH)):
            for entry in entries:
                num_done += _tell(entry, outbox, mlflow, records)
    return num_done


def _tell(entry: Entry, outbox: Outbox, mlflow: "Mlflow", records: Records) -> bool:
    try:
        if entry.kind == MODEL:
            _tell_model(entry, mlflow, records)
        else:
            mlflow.write_run(records.run(entry.key))
    # Whatever it is (a server down, a full disk, an answer nobody expected), the other
    # entries go on, and this one is tried again.
    except Exception as error:
        delay = min(2.0**entry.tries, _LONGEST_DELAY_SECONDS)
        _log.warning("%s %s: not told yet: %s", entry.kind, entry.key, error)
        outbox.mark_failed(entry, f"{type(error).__name__}: {error}", delay_seconds=delay)
        return False
    return outbox.mark_done(entry)


def _tell_model(entry: Entry, mlflow: "Mlflow", records: Records) -> None:
    experiment_id, _, variant = entry.key.partition("/")
    model = records.model(experiment_id, variant)
    if model is None:
        _log.info("model %s: no checkpoint of it was kept, so none is shown", entry.key)
        return
    try:
        mlflow.write_model(model)
    except CheckpointError as error:
        _log.warning("model %s: left out: %s", entry.key, error)


class Mlflow:
    """One tracking store, spoken to through its client."""

    def __init__(self, settings: Settings, *, client: MlflowClient | None = None) -> None:
        """Connect; a new store in a database is made now, which takes seconds."""
        if client is None:
            _make_store(settings.mlflow_uri)
        self._client = client or MlflowClient(settings.mlflow_uri)
        self._artifacts = settings.mlflow_artifacts
        # A server knows where its files go; a store that we open ourselves must be told.
        self._is_served = settings.mlflow_uri.startswith(("http://", "https://"))
        self._experiment_ids: dict[str, str] = {}

    def write_run(self, record: RunRecord) -> None:
        """Send a trial's run whole, then end it; makes it unless it is there."""
        run_id = self._begin_run(record)
        params = [Param(*param) for param in record.params.items()]
        for batch in _batches(params, _MOST_PARAMS):
            self._client.log_batch(run_id, params=batch)
        self._client.log_inputs(run_id, [_dataset_input(record)])
        metrics = [Metric(*point) for point in record.points]
        for points in _batches(metrics, _MOST_METRICS):
            self._client.log_batch(run_id, metrics=points)
        if record.confusion is not None:
            self._client.log_dict(run_id, record.confusion.to_data(), _CONFUSION_FILE)
        self._client.set_terminated(run_id, record.status, record.end_ms)

    def write_model(self, record: ModelRecord) -> None:
        """Log a model as an output of its trial's run, loadable without trainyard.

        Once it is there, the model of the trial that was the variant's best before goes.

        Raises:
            CheckpointError: The checkpoint is missing or altered.
            LookupError: The run is not there yet.
        """
        run = self._find(record.experiment, record.trial_id)
        if run is None:
            raise LookupError(f"trial {record.trial_id} has no run yet")
        logged = self._logged_model(record, run)
        if logged.status != "READY":
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model"
                _save_model(record, logged, run.info.run_id, path)
                self._client.log_model_artifacts(logged.model_id, str(path))
            self._client.finalize_logged_model(logged.model_id, "READY")
        outputs = run.outputs.model_outputs if run.outputs else []
        if logged.model_id not in {output.model_id for output in outputs}:
            output = LoggedModelOutput(logged.model_id, step=record.epoch)
            self._client.log_outputs(run.info.run_id, [output])
        for other in self._models_of_variant(record, run.info.experiment_id):
            if other.model_id != logged.model_id:
                self._client.delete_logged_model(other.model_id)

    def _begin_run(self, record: RunRecord) -> str:
        """Give the id of the trial's run; one from before a person's `retry` goes in the bin.

        Such a one has another fence, or, where nobody claimed the trial since, another state.
        """
        run = self._find(record.experiment, record.trial_id)
        if run is not None and any(run.data.tags.get(k) != record.tags[k] for k in _ENDING_TAGS):
            self._client.delete_run(run.info.run_id)
            run = None
        if run is None:
            run = self._client.create_run(
                self._experiment_id(record.experiment),
                start_time=record.start_ms,
                run_name=record.name,
                tags=dict(record.tags),
            )
        return str(run.info.run_id)

    def _find(self, experiment: str, trial_id: str) -> Run | None:
        runs = self._client.search_runs(
            [self._experiment_id(experiment)],
            f"tags.`trainyard.trial` = '{trial_id}'",
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=1,
        )
        return runs[0] if runs else None

    def _logged_model(self, record: ModelRecord, run: Run) -> LoggedModel:
        """Find the run's model of that name, perhaps unfinished, or make it."""
        found = self._client.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
        )
        for model in found:
            if model.name == record.name:
                return model
        return self._client.create_logged_model(
            run.info.experiment_id,
            name=record.name,
            source_run_id=run.info.run_id,
            tags=dict(record.tags),
            params=dict(run.data.params),
        )

    def _models_of_variant(self, record: ModelRecord, experiment_id: str) -> list[LoggedModel]:
        found = self._client.search_logged_models(
            [experiment_id],
            f"name = '{record.name}' AND "
            f"tags.`trainyard.experiment_id` = '{record.tags['trainyard.experiment_id']}'",
        )
        # Two variants may be spelt alike as models.
        return [each for each in found if each.tags.get("variant") == record.tags["variant"]]

    def _experiment_id(self, name: str) -> str:
        if name not in self._experiment_ids:
            found = self._client.get_experiment_by_name(name)
            if found is not None:
                self._experiment_ids[name] = found.experiment_id
            else:
                location = None if self._is_served else (self._artifacts / name).as_uri()
                self._experiment_ids[name] = self._client.create_experiment(
                    name, location, tags=_EXPERIMENT_TAGS
                )
        return self._experiment_ids[name]


def _make_store(uri: str) -> None:
    """Make MLflow's SQLite store, unless it is there: whole, or not at all.

    MLflow's migrations, ended half way, leave a file that it can never use again. So they
    run on a file of another name; and one at a time, since several mirrors may share it.
    """
    path = sqlite_path(uri)
    if path is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        partial = path.with_name(f"{path.name}.partial")
        partial.unlink(missing_ok=True)
        MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
        partial.chmod(0o600)
        partial.rename(path)


def _dataset_input(record: RunRecord) -> DatasetInput:
    data = record.dataset
    dataset = Dataset(data.name, data.digest, "trainyard", data.name, profile=data.profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _save_model(record: ModelRecord, logged: LoggedModel, run_id: str, path: Path) -> None:
    """Write a model as MLflow keeps it: a traced graph ("pt2"), free of code and pickles.

    It takes raw values (of pixels: 0 to 255) as float32: the standardisation is part of it.
    """
    import mlflow.pytorch
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from workers.predictor import load_predictor

    module = load_predictor(record.path, sha256=record.sha256)
    # Two examples: the export would take a batch of one for a fixed size.
    example = np.zeros((2, *record.architecture.input_shape), dtype=np.float32)
    batch = (-1, *record.architecture.input_shape)
    outputs = (-1, *record.architecture.output_shape)
    mlflow.pytorch.save_model(
        module,
        path,
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=run_id,
            model_id=logged.model_id,
        ),
        signature=ModelSignature(
            inputs=Schema([TensorSpec(example.dtype, batch)]),
            outputs=Schema([TensorSpec(example.dtype, outputs)]),
        ),
        input_example=example,
        pip_requirements=["torch", "numpy"],  # given, because finding them out takes seconds
        serialization_format="pt2",
    )


@contextmanager
def _alone(engine: Engine) -> Iterator[bool]:
    """Say whether no other mirror drains this store (on PostgreSQL there may be several)."""
    if engine.dialect.name != "postgresql":
        yield True  # one orchestrator at a time, whose mirror ends with it
        return
    with engine.connect() as connection:
        lock = select(func.pg_try_advisory_xact_lock(_ADVISORY_LOCK))
        yield bool(connection.scalar(lock))


def _batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
