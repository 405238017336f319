"""Labelled curves as a file: compact JSON, numbers to four digits."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from experiments.diagnosis.finding import Code
from experiments.diagnosis.trial_curve import BATCH_LOSS, Series, TrialCurve

FILE: Final = Path("tests/unit/experiments/diagnosis/labelled_curves.json")
_DIGITS: Final = 4
_READ: Final = (
    *("train/loss", "train/accuracy", "train/rmse", "val/loss", "val/accuracy", "val/r2"),
    *("val/mean_iou", "val/dead_units", BATCH_LOSS),
)
_FACTS: Final = tuple(each.name for each in fields(TrialCurve) if each.name != "series")


@dataclass(frozen=True, slots=True)
class LabelledCurve:
    """A real run, what was wrong with it by intent, and what it should be found to have.

    `labels` are yes, no or undecided (None); `truth` holds the numbers that decided them.
    """

    name: str
    half: str
    fault: str
    curve: TrialCurve
    labels: Mapping[Code, bool | None]
    truth: Mapping[str, Any]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing was wrong by intent, and nothing sick may be true of it."""
        harmless = {Code.JUMPS, Code.VAL_BELOW_TRAIN}
        return not self.fault and all(
            label is False for code, label in self.labels.items() if code not in harmless
        )


def write(curves: Iterable[LabelledCurve], path: Path) -> None:
    """Write curves, one a line."""
    lines = [json.dumps(_to_data(each), separators=(",", ":")) for each in curves]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def read(path: Path) -> list[LabelledCurve]:
    """Read curves."""
    return [_from_data(data) for data in json.loads(path.read_text())]


def _to_data(labelled: LabelledCurve) -> dict[str, Any]:
    curve = labelled.curve
    series = {name: curve.get(name) for name in _READ if curve.get(name).values}
    return {
        "name": labelled.name,
        "half": labelled.half,
        "fault": labelled.fault,
        "labels": {code.value: label for code, label in labelled.labels.items()},
        "truth": _short(labelled.truth),
        "facts": {name: getattr(curve, name) for name in _FACTS},
        "series": {name: _of_series(each) for name, each in series.items()},
    }


def _from_data(data: Mapping[str, Any]) -> LabelledCurve:
    facts = {**data["facts"], "activations": tuple(data["facts"]["activations"])}
    series = {name: _series(written) for name, written in data["series"].items()}
    return LabelledCurve(
        name=data["name"],
        half=data["half"],
        fault=data["fault"],
        curve=TrialCurve(series=series, **facts),
        labels={Code(name): label for name, label in data["labels"].items()},
        truth=data["truth"],
    )


def _of_series(series: Series) -> list[Any]:
    """Write first place, stride and values: points are evenly spaced."""
    places = series.places
    stride = places[1] - places[0] if len(places) > 1 else 1
    assert places == tuple(range(places[0], places[-1] + 1, stride)), places
    return [places[0], stride, [_short(value) for value in series.values]]


def _series(written: list[Any]) -> Series:
    first, stride, values = written
    return Series(tuple(first + stride * i for i in range(len(values))), tuple(values))


def _short(value: Any) -> Any:
    """Give numbers to four digits; those that are none as text."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key: _short(item) for key, item in value.items()}
    return [_short(item) for item in value] if isinstance(value, list | tuple) else value
