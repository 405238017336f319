"""One hash of what an experiment has found, by which two stores, or two runs, are compared."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrator.store.rows import CurvePoint, TrialRow

TIMINGS: Final = frozenset({"images_per_second"})
"""Metrics that say how fast a machine was, which no other run repeats."""


def digest_of(
    trials: Iterable[TrialRow],
    *,
    confusions: Mapping[str, Any],
    points: Iterable[CurvePoint],
) -> str:
    """Give the SHA-256, in hexadecimal, of all that a repetition would give again.

    That is, of each trial, its variant, seed, state, hyperparameters, metrics, selected epoch,
    confusion counts and curve; not how long it took, where, in how many attempts, or whether
    it was trained at all. `confusions` are by the trial's id. The order of none matters;
    numbers count to the last digit.
    """
    curves: dict[str, list[tuple[str, int, int, float]]] = {}
    for point in points:
        if point.metric not in TIMINGS:
            measured = (point.metric, point.epoch, point.step, point.value)
            curves.setdefault(point.trial_id, []).append(measured)
    digest = hashlib.sha256()
    for row in sorted(trials, key=lambda row: (row.variant, row.seed)):
        curve = sorted(curves.get(row.id, ()), key=lambda point: point[:3])
        told = _told(row) | {"confusion": confusions.get(row.id), "curve": curve}
        digest.update(json.dumps(told, sort_keys=True).encode() + b"\n")  # floats as `repr` does
    return digest.hexdigest()


def _told(row: TrialRow) -> dict[str, Any]:
    metrics = row.metrics and {
        name: value for name, value in row.metrics.items() if name not in TIMINGS
    }
    return {
        "variant": row.variant,
        "seed": row.seed,
        "state": row.state,
        "params": row.params,
        "metrics": metrics,
        "objective_value": row.objective_value,
        "selected_epoch": row.selected_epoch,
    }
