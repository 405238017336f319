"""The store as pandas frames: the tables that analyses start from (docs/frames.md)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from dashboards.experiment_labels import experiment_labels
from experiments.hyperparameters import HYPERPARAMETERS
from experiments.language.kinds import Integer, Number
from experiments.tasks import TASKS
from orchestrator.measurements.results import Results
from orchestrator.store.rows import CurveColumns, ExperimentRow, TrialColumns, decode_metrics

_TEXT: Final = "string"
_TIME: Final = "datetime64[ms, UTC]"

_BEFORE: Final = {
    "experiment": _TEXT,
    "trial": _TEXT,
    "number": "int64",
    "variant": _TEXT,
    "seed": "int64",
    "state": _TEXT,
    "attempts": "int64",
    "reused_from": _TEXT,
}
"""Columns before the hyperparameters, and their types."""

_FACTS: Final = {"parameters": "Int64", "multiply_adds": "Int64", "receptive_field": "Int64"}

_AFTER: Final = {
    "selected_epoch": "Int64",
    "seconds": "float64",
    "peak_memory_bytes": "Int64",
    "machine": _TEXT,
    "device": _TEXT,
    "strategy": _TEXT,
    "queued_at": _TIME,
    "started_at": _TIME,
    "finished_at": _TIME,
    "failure": _TEXT,
}
"""Columns after the metrics, and their types."""

_CURVES: Final = {
    "experiment": _TEXT,
    "trial": _TEXT,
    "metric": _TEXT,
    "epoch": "int64",
    "step": "int64",
    "value": "float64",
    "timestamp": _TIME,
}

_NETWORK_KEYS: Final = ("model", "init", "activation", "loss", "output_activation")
"""What decides the numbers of a network within an experiment: all but these leave them alone."""


def trials_frame(results: Results, experiments: Sequence[ExperimentRow]) -> pd.DataFrame:
    """Give one row a trial, experiment after experiment, each in the order of its plan.

    Columns are those of docs/frames.md. All but the hyperparameters' are always there (the metrics
    of every task that the experiments have), and every column is always of the same type.
    """
    labels = experiment_labels(experiments)
    read = [(row, results.trial_columns(row.id)) for row in experiments]
    used = _names_used(columns.params for _, columns in read)
    hyperparameters = {name: _type_of(name) for name in HYPERPARAMETERS if name in used}
    metrics = metric_names(*(row.task for row in experiments))
    parts = [
        _one_experiment(results, columns, labels[row.id], hyperparameters, metrics)
        for row, columns in read
    ]
    types = {**_BEFORE, **hyperparameters, **_FACTS, **dict.fromkeys(metrics, "float64"), **_AFTER}
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})
    return pd.concat(parts, ignore_index=True)[[*types]]


def curves_frame(results: Results, experiments: Sequence[ExperimentRow]) -> pd.DataFrame:
    """Give one row a measured point, by experiment, trial, metric and step (docs/frames.md)."""
    labels = experiment_labels(experiments)
    parts = [_points(results.curve_columns(row.id), labels[row.id]) for row in experiments]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _CURVES.items()})
    return pd.concat(parts, ignore_index=True)


def metric_names(*tasks: str) -> tuple[str, ...]:
    """Name what is measured of trials: on the selected epoch, and on the test split then."""
    names: dict[str, None] = {}
    for split in ("train", "val", "test"):
        for task in tasks:
            own = TASKS[task].train_metrics if split == "train" else TASKS[task].metrics
            names |= dict.fromkeys(f"{split}/{name}" for name in ("loss", *own))
    return tuple(names)


@dataclass(frozen=True, slots=True)
class _Distinct:
    """The distinct hyperparameters of trials, and which of them each trial has."""

    params: list[dict[str, Any]]
    codes: list[int]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "_Distinct":
        places: dict[str, int] = {}
        codes = [places.setdefault(text, len(places)) for text in texts]
        return cls([json.loads(text) for text in places], codes)

    def column(self, name: str, kind: str) -> Any:
        """Give a hyperparameter of each trial, missing where it has none."""
        return _array([each.get(name) for each in self.params], kind).take(self.codes)


def _one_experiment(
    results: Results,
    read: TrialColumns,
    label: str,
    hyperparameters: Mapping[str, str],
    metrics: Sequence[str],
) -> pd.DataFrame:
    distinct = _Distinct.of(read.params)
    return pd.DataFrame(
        {
            "experiment": _repeated(label, len(read.id)),
            "trial": _texts(read.id),
            "number": np.asarray(read.number, np.int64),
            "variant": _texts(read.variant),
            "seed": np.asarray(read.seed, np.int64),
            "state": _texts(read.state),
            "attempts": np.asarray(read.num_attempts, np.int64),
            "reused_from": _texts(read.reused_from),
            **{name: distinct.column(name, kind) for name, kind in hyperparameters.items()},
            **_network_facts(results, read.id, distinct),
            **_metric_columns(read.metrics, metrics),
            "selected_epoch": _array(read.selected_epoch, "Int64"),
            "seconds": np.asarray(read.duration_seconds, np.float64),
            "peak_memory_bytes": _array(read.peak_memory_bytes, "Int64"),
            "machine": _texts(read.machine),
            "device": _texts([machine and _device(machine) for machine in read.machine]),
            "strategy": _texts(read.strategy),
            "queued_at": _times(read.queued_at),
            "started_at": _times(read.started_at),
            "finished_at": _times(read.finished_at),
            "failure": _texts(read.failure),
        }
    )


def _network_facts(results: Results, ids: Sequence[str], distinct: _Distinct) -> dict[str, Any]:
    """Give the columns of `_FACTS`; of each different network the layers are read once."""
    networks = [tuple(params.get(name) for name in _NETWORK_KEYS) for params in distinct.params]
    first: dict[int, str] = {}
    for trial_id, code in zip(ids, distinct.codes, strict=True):
        first.setdefault(code, trial_id)
    examples: dict[tuple[Any, ...], str] = {}
    for code, trial_id in first.items():
        examples.setdefault(networks[code], trial_id)
    known = results.architectures(examples.values()) if examples else {}
    facts: dict[tuple[Any, ...], tuple[int, int, int | None]] = {}
    for network, trial_id in examples.items():
        architecture = known[trial_id]
        seen = architecture.receptive_field
        facts[network] = (
            architecture.parameters,
            architecture.multiply_adds,
            None if seen is None else max(seen),
        )
    return {
        name: _array([facts[network][place] for network in networks], kind).take(distinct.codes)
        for place, (name, kind) in enumerate(_FACTS.items())
    }


def _metric_columns(texts: Sequence[str | None], names: Sequence[str]) -> dict[str, Any]:
    """Give a column for each metric; NaN where it was not measured."""
    lines = "\n".join(text or "{}" for text in texts)
    if not lines or '"nan"' in lines or 'inf"' in lines:  # words that Arrow takes for no numbers
        found = [decode_metrics(json.loads(text)) if text else {} for text in texts]
        return {
            name: np.asarray([(each or {}).get(name) for each in found], dtype=np.float64)
            for name in names
        }
    import pyarrow as pa
    from pyarrow import json as arrow_json

    # Ten times as fast as Python's parser, of 100,000 trials two seconds.
    table = arrow_json.read_json(
        pa.BufferReader(lines.encode()),
        parse_options=arrow_json.ParseOptions(
            explicit_schema=pa.schema([(name, pa.float64()) for name in names]),
            unexpected_field_behavior="ignore",
        ),
    )
    return {name: table[name].to_numpy() for name in names}


def _points(read: CurveColumns, label: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "experiment": _repeated(label, len(read.trial_id)),
            "trial": _texts(read.trial_id),
            "metric": _texts(read.metric),
            "epoch": np.asarray(read.epoch),
            "step": np.asarray(read.step),
            "value": np.asarray(read.value),
            "timestamp": pd.DatetimeIndex(
                np.asarray(read.timestamp_ms).view("datetime64[ms]")
            ).tz_localize("UTC"),
        }
    )


def _names_used(texts: Iterable[Sequence[str]]) -> set[str]:
    distinct = {text for column in texts for text in column}
    return {name for text in distinct for name in json.loads(text)}


def _type_of(hyperparameter: str) -> str:
    """Give the type of a hyperparameter's column, whatever its values are."""
    kind = HYPERPARAMETERS[hyperparameter].kind
    if isinstance(kind, Integer):
        return "Int64"
    return "float64" if isinstance(kind, Number) else _TEXT


def _device(machine: str) -> str:
    """Name what a share of a machine trains on: a GPU where it has (a part of) one."""
    return "gpu" if machine.endswith("gpu") else "cpu"


def _texts(values: Sequence[str | None]) -> Any:
    try:
        return _array(values, _TEXT)
    except UnicodeEncodeError:  # half a character, as a failing program's message may have
        whole = (text and text.encode(errors="backslashreplace").decode() for text in values)
        return _array(list(whole), _TEXT)


def _repeated(text: str, times: int) -> Any:
    return _array([text], _TEXT).take(np.zeros(times, np.intp))


def _times(seconds: Sequence[float | None]) -> Any:
    """Give Unix seconds as times of whole milliseconds."""
    milliseconds = np.asarray(seconds, np.float64) * 1000
    return pd.to_datetime(milliseconds.round(), unit="ms", utc=True).as_unit("ms")


def _array(values: Any, kind: Any) -> Any:
    """Give an array of pandas' of a type that is known by name at run time alone."""
    return pd.array(values, dtype=kind)
