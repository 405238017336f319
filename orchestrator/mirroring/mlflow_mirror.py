"""Tells MLflow what the store knows: one flat run a trial, one model a variant, the champion.

The only module that imports mlflow. Telling may end anywhere, even by `kill -9`, and
begin again: a run is found by its trial before one is made, what was sent is sent again
with its own timestamps (MLflow keeps one of each), and a run is terminated last. When it is
told, and what happens if that fails, is `mlflow_drain.py`'s.
"""

import errno
import fcntl
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

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
from mlflow.exceptions import RestException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from orchestrator.mirroring.mlflow_drain import InDoubtError, MlflowBusyError
from orchestrator.mirroring.mlflow_records import FilesRecord, ModelRecord, RunRecord
from orchestrator.settings import Settings, sqlite_path

_MOST_AT_ONCE: Final = 1000
_MOST_PARAMS: Final = 100  # of those
_EXPERIMENT_TAGS: Final = {
    # These are training runs, not traces of language-model agents.
    "mlflow.experimentKind": "custom_model_development"
}
_CONFUSION_FILE: Final = "confusion_matrix.json"
_REPORT_FOLDER: Final = PurePosixPath("report")
_PROMOTED_TAG: Final = "trainyard.promoted"
_MODEL_TAG: Final = "trainyard.model"
_ENDING_TAGS: Final = ("trainyard.fence", "trainyard.state")
_OK: Final = 200
_LOOK: Final = "/api/2.0/mlflow/experiments/search"
_LEAST_FREE_BYTES: Final = 2**20


class Mlflow:
    """One tracking store, spoken to through its client."""

    def __init__(self, settings: Settings, *, client: MlflowClient | None = None) -> None:
        """Connect; a new store in a database is made now, which takes seconds."""
        if client is None:
            _make_store(settings.mlflow_uri)
        self._uri = settings.mlflow_uri
        self._client = client or MlflowClient(settings.mlflow_uri)
        self._artifacts = settings.mlflow_artifacts
        # A server knows where its files go; a store that we open ourselves must be told.
        self._is_served = settings.mlflow_uri.startswith(("http://", "https://"))
        self._experiment_ids: dict[str, str] = {}
        self._made: dict[str, set[str]] = {}  # experiments of our making: the trials told of each

    def check(self) -> None:
        """Take a look, to see that there is an answer, and on our own disk room for more.

        It may be another store than before, so nothing is taken for known any more.

        Raises:
            MlflowBusyError: A server answers, but that it will not answer now.
            OSError: There is no room.
            MlflowException: There is no answer, or it is none of MLflow's.
        """
        self._experiment_ids.clear()
        self._made.clear()
        if not self._is_served:
            _require_room(self._uri)
            self._client.search_experiments(max_results=1)
            return
        creds = get_default_host_creds(self._uri)  # type: ignore[no-untyped-call]
        answer = http_request(  # type: ignore[no-untyped-call]
            creds, _LOOK, "GET", params={"max_results": 1}, raise_on_status=False
        )
        if answer.status_code != _OK:
            wish = answer.headers.get("Retry-After", "")
            raise MlflowBusyError(
                f"MLflow answers {answer.status_code}: {answer.text}",
                retry_after_seconds=float(wish) if wish.isdigit() else 0.0,
            )

    def write_run(self, record: RunRecord) -> None:
        """Send a trial's run whole, then end it; makes it unless it is there."""
        run_id = self._begin_run(record)
        if record.confusion is not None:
            # It reads the run to find its place, which is quick before there is anything in it.
            self._client.log_dict(run_id, record.confusion.to_data(), _CONFUSION_FILE)
        self._client.log_inputs(run_id, [_dataset_input(record)])
        params = [Param(*param) for param in record.params.items()]
        metrics = [Metric(*point) for point in record.points]
        for some_params, some_metrics in _batches(params, metrics):
            self._client.log_batch(run_id, params=some_params, metrics=some_metrics)
        self._client.set_terminated(run_id, record.status, record.end_ms)

    def write_model(self, record: ModelRecord) -> None:
        """Log a model as an output of its trial's run, loadable without trainyard.

        Once it is there, the model of the trial that was the variant's best before goes, unless
        somebody has promoted it.

        Raises:
            CheckpointError: The checkpoint is missing or altered.
            LookupError: The run is not there yet.
        """
        run = self._run_of(record)
        logged = self._log_model(record, run)
        for other in self._models_of_variant(record, run.info.experiment_id):
            if other.model_id != logged.model_id and _PROMOTED_TAG not in other.tags:
                self._client.delete_logged_model(other.model_id)

    def write_files(self, record: FilesRecord) -> None:
        """Show a report's files with a trial's run, in place of those of the same names.

        Raises:
            LookupError: The run is not there yet.
        """
        run_id = self._run_of(record).info.run_id
        for path in record.files:
            place = str(_REPORT_FOLDER / path.parent)
            self._client.log_artifact(run_id, str(record.folder / path), place)

    def promote(
        self, record: ModelRecord, *, alias: str, about: str
    ) -> tuple[int, int | None, bool]:
        """Register a model under its experiment's name, with an alias; once, however often asked.

        `about` is for the pages of the version. The run must be there.

        Returns:
            The version; the one that had the alias before, if any; whether the version is new.

        Raises:
            CheckpointError: The checkpoint is missing or altered.
            LookupError: The run is not there yet.
        """
        client, name, run = self._client, record.experiment, self._run_of(record)
        logged = self._log_model(record, run)
        client.set_logged_model_tags(logged.model_id, {_PROMOTED_TAG: "true"})
        if not client.search_registered_models(f"name = '{name}'"):
            about_all = f"Promoted models of the experiment {name}; `{alias}` is the last one."
            client.create_registered_model(name, description=about_all)
        found = client.search_model_versions(f"name = '{name}'")
        versions = [each for each in found if each.tags.get(_MODEL_TAG) == logged.model_id]
        version = versions[0] if versions else None
        if version is None:
            version = client.create_model_version(
                name,
                logged.artifact_location,  # MLflow would look "models:/" up in another store
                run.info.run_id,
                tags={**record.tags, _MODEL_TAG: logged.model_id},
                description=about,
                model_id=logged.model_id,
            )
        before = client.get_registered_model(name).aliases.get(alias)
        if before is None or int(before) != int(version.version):
            client.set_registered_model_alias(name, alias, str(version.version))
        return int(version.version), None if before is None else int(before), not versions

    def _run_of(self, record: ModelRecord | FilesRecord) -> Run:
        run = self._find(record.experiment, record.trial_id)
        if run is None:
            raise LookupError(f"trial {record.trial_id} has no run yet")
        return run

    def _log_model(self, record: ModelRecord, run: Run) -> LoggedModel:
        """Give the run's model, logged whole, as an output of the run."""
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
        return logged

    def _begin_run(self, record: RunRecord) -> str:
        """Give the id of the trial's run; one from before a person's `retry` goes in the bin.

        Such a one has another fence, or, where nobody claimed the trial since, another state.
        """
        run = None
        if not self._is_new(record):
            run = self._find(record.experiment, record.trial_id)
        if run is not None and any(run.data.tags.get(k) != record.tags[k] for k in _ENDING_TAGS):
            self._client.delete_run(run.info.run_id)
            run = None
        if run is None:
            with _in_doubt("a run", record.trial_id):
                self._client.create_run(
                    self._experiment_id(record.experiment),
                    start_time=record.start_ms,
                    run_name=record.name,
                    tags=dict(record.tags),
                )
            # Found again, because another mirror may have made one at the same moment.
            run = self._find(record.experiment, record.trial_id)
            if run is None:
                raise InDoubtError(f"trial {record.trial_id}: its run was made, and is not there")
        return str(run.info.run_id)

    def _is_new(self, record: RunRecord) -> bool:
        """Say whether the trial has no run for certain: we have just made its experiment.

        It is said once of each, since what was asked for may have been made.
        """
        experiment_id, asked = self._experiment_id(record.experiment), record.trial_id
        told = self._made.get(experiment_id)
        if told is None or asked in told:
            return False
        told.add(asked)
        return True

    def _find(self, experiment: str, trial_id: str) -> Run | None:
        """Give the trial's run; of several, made by calls without an answer, one stays.

        It is one that has been told whole, if any, and the same for everybody who looks.
        """
        found = self._client.search_runs(
            [self._experiment_id(experiment)],
            f"tags.`trainyard.trial` = '{trial_id}'",
            run_view_type=ViewType.ACTIVE_ONLY,
        )
        runs = sorted(found, key=lambda run: (run.info.end_time is None, run.info.run_id))
        for other in runs[1:]:
            self._client.delete_run(other.info.run_id)
        return runs[0] if runs else None

    def _logged_model(self, record: ModelRecord, run: Run) -> LoggedModel:
        """Find the run's model of that name, perhaps unfinished, or make it."""
        found = self._client.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
        )
        for model in found:
            if model.name == record.name:
                return model
        with _in_doubt("a model", record.trial_id):
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
                self._made[self._experiment_ids[name]] = set()
        return self._experiment_ids[name]


@contextmanager
def _in_doubt(what: str, trial_id: str) -> Generator[None]:
    """Say of a making without a clear answer that it may have been made, or may yet be."""
    try:
        yield
    except RestException:
        raise  # a clear one
    except Exception as error:
        raise InDoubtError(f"trial {trial_id}: {what} was to be made: {error}") from error


def _require_room(uri: str) -> None:
    """Look whether the disk of a SQLite store is full; reading from one would still go well.

    Raises:
        OSError: It is.
    """
    path = sqlite_path(uri)
    if path is not None and shutil.disk_usage(path.parent).free < _LEAST_FREE_BYTES:
        raise OSError(errno.ENOSPC, f"no room for MLflow's store {path}: make room on its disk")


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


def _batches(
    params: Sequence[Param], metrics: Sequence[Metric]
) -> Iterator[tuple[Sequence[Param], Sequence[Metric]]]:
    """Spread a run over as few requests, each a transaction, as MLflow takes."""
    while params or metrics:
        some = params[:_MOST_PARAMS]
        num_metrics = _MOST_AT_ONCE - len(some)
        yield some, metrics[:num_metrics]
        params, metrics = params[_MOST_PARAMS:], metrics[num_metrics:]
