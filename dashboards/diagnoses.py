"""What the curve doctor says of recorded trials: rows of the store in, findings out."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, Final

from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.layers import Activation, Dropout, Layer
from experiments.diagnosis.diagnosis import diagnose
from experiments.diagnosis.finding import Finding
from experiments.diagnosis.trial_curve import BATCH_LOSS, Series, TrialCurve
from experiments.records import TrialConfig
from experiments.states import FailureKind
from orchestrator.store.rows import CurveColumns, CurvePoint, TrialRow

_YES_OR_NO: Final = 2


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings of one trial, the worst first; none where its curves are as they should be.

    `is_read` says whether there was a curve to read.
    """

    trial: TrialRow
    findings: tuple[Finding, ...]
    is_read: bool

    @property
    def is_sick(self) -> bool:
        """Whether something should be changed."""
        return any(finding.is_sick for finding in self.findings)


def diagnoses(
    rows: Sequence[TrialRow], configs: Mapping[str, TrialConfig], points: CurveColumns
) -> list[Diagnosis]:
    """Diagnose trials, in their order.

    Args:
        rows: The trials.
        configs: What each trains, by its id.
        points: All that was measured of them, as `Results.curve_columns` gives it.
    """
    curves = _series(points)
    return [_diagnosis(row, configs[row.id], curves.get(row.id, {})) for row in rows]


def diagnosis_of(row: TrialRow, config: TrialConfig, points: Sequence[CurvePoint]) -> Diagnosis:
    """Diagnose one trial by its points, by metric and step."""
    columns = CurveColumns(
        [point.trial_id for point in points],
        [point.metric for point in points],
        array("q", (point.epoch for point in points)),
        array("q", (point.step for point in points)),
        array("d", (point.value for point in points)),
        array("q", (point.timestamp_ms for point in points)),
    )
    return _diagnosis(row, config, _series(columns).get(row.id, {}))


def _diagnosis(row: TrialRow, config: TrialConfig, series: Mapping[str, Series]) -> Diagnosis:
    failed = row.failure is not None and row.failure.kind is FailureKind.NOT_FINITE
    curve = curve_of(config, series, params=row.params, is_not_finite=failed)
    return Diagnosis(row, diagnose(curve), is_read=bool(series) or failed)


def curve_of(
    config: TrialConfig,
    series: Mapping[str, Series],
    *,
    params: Mapping[str, Any],
    is_not_finite: bool,
) -> TrialCurve:
    """Put curves beside their configuration; `params` names the hyperparameters that apply."""
    functions, dropout = _hidden(config.architecture)
    return TrialCurve(
        series=series,
        task=config.task,
        loss=config.loss,
        lr=config.optimizer.lr,
        epochs=config.epochs,
        batch_size=config.batch_size,
        num_classes=_num_classes(config),
        optimizer=config.optimizer.name,
        schedule=config.schedule.name,
        weight_decay=config.optimizer.weight_decay,
        dropout=dropout,
        takes_dropout="dropout" in params,
        takes_activation="activation" in params,
        augmentation=config.augmentation.name,
        is_image=len(config.architecture.input_shape) > 1,
        label_noise=float(config.data.changes.get("label_noise") or 0.0),
        activations=functions,
        is_not_finite=is_not_finite,
    )


def _series(points: CurveColumns) -> dict[str, dict[str, Series]]:
    """Give the series of each trial by metric; points come by trial, metric and step."""
    found: dict[str, dict[str, Series]] = {}
    end = 0
    for (trial, metric), run in groupby(zip(points.trial_id, points.metric, strict=True)):
        start, end = end, end + sum(1 for _ in run)
        places = points.step if metric == BATCH_LOSS else points.epoch
        series = Series(tuple(places[start:end]), tuple(points.value[start:end]))
        found.setdefault(trial, {})[metric] = series
    return found


def _num_classes(config: TrialConfig) -> int | None:
    match config.task:
        case "binary":
            return _YES_OR_NO
        case "classification" | "segmentation":
            return config.architecture.output_shape[0]
    return None


@lru_cache(maxsize=256)  # the trials of an experiment share a few networks
def _hidden(architecture: Architecture) -> tuple[tuple[str, ...], float]:
    """Name a network's functions, and give its largest probability of dropout."""
    layers = [*_flat(architecture.layers)]
    names = dict.fromkeys(layer.name for layer in layers if isinstance(layer, Activation))
    return tuple(names), max((layer.p for layer in layers if isinstance(layer, Dropout)), default=0)


def _flat(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield all layers, those inside blocks too."""
    for layer in layers:
        yield layer
        match layer:
            case Residual():
                for _, branch in layer.branches:
                    yield from _flat(branch)
            case Patches():
                yield from _flat(layer.layers)
