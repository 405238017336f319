"""The JSON documents that programs rely on: one function for each shape (docs/command-line.md)."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from experiments.states import TrialState

if TYPE_CHECKING:
    from dashboards.diagnoses import Diagnosis
    from experiments.architectures.architecture import LayerSummary
    from experiments.comparison.comparison import Comparison
    from experiments.comparison.leaderboard import Standing
    from experiments.planning.estimates import Estimate
    from experiments.planning.plan import Plan
    from orchestrator.store.rows import (
        AttemptRow,
        CurvePoint,
        IncidentRow,
        OrchestratorRow,
        Overview,
        TrialRow,
    )


def status_fields(
    overviews: "Iterable[Overview]",
    *,
    incidents: "Iterable[IncidentRow]" = (),
    orchestrators: "Iterable[OrchestratorRow]" = (),
) -> dict[str, Any]:
    """Give what `status` and `run` print: `experiments[]`, and what happened around them."""
    return {
        "experiments": [_experiment_fields(overview) for overview in overviews],
        "incidents": [incident_fields(incident) for incident in incidents],
        "orchestrators": [_orchestrator_fields(row) for row in orchestrators],
    }


def incident_fields(row: "IncidentRow") -> dict[str, Any]:
    """Give one of `incidents[]`; experiment and trial are ids, null where it is about neither."""
    return {
        "at": row.at,
        "kind": row.kind.value,
        "experiment": row.experiment_id,
        "trial": row.trial_id,
        "message": row.message,
    }


def _orchestrator_fields(row: "OrchestratorRow") -> dict[str, Any]:
    from dashboards.incident_view import is_alive

    return {
        "id": row.id,
        "host": row.host,
        "process": row.process,
        "started_at": row.started_at,
        "seen_at": row.seen_at,
        "alive": is_alive(row),
    }


def _experiment_fields(overview: "Overview") -> dict[str, Any]:
    from dashboards.pace import pace

    best = overview.best
    per_minute, left = pace(overview)
    counts = overview.counts
    return {
        "name": overview.experiment.name,
        "id": overview.experiment.id,
        "state": overview.state.value,
        "trials": {
            "queued": counts[TrialState.QUEUED],
            "running": counts[TrialState.LEASED],
            **{
                state.value: number
                for state, number in counts.items()
                if state not in (TrialState.QUEUED, TrialState.LEASED)
            },
        },
        "reused": overview.num_reused,
        "paused": overview.num_paused,
        "best": None
        if best is None
        else {
            "trial": best.id,
            "value": best.objective_value,
            "metric": overview.experiment.objective.metric,
            "variant": best.variant,
        },
        "trials_per_minute": per_minute,
        "eta_seconds": left,
        "paused_reason": overview.experiment.paused_reason,
    }


def plan_fields(planned: "Plan") -> dict[str, Any]:
    """Give what `plan` prints."""
    return {
        "experiment": planned.experiment.name,
        "id": planned.experiment.id,
        "trials": len(planned.trials),
        "variants": len(planned.variants),
        "excluded": [{"variant": item.variant, "reason": item.reason} for item in planned.excluded],
        "merged": planned.num_merged,
        "warnings": list(planned.warnings),
        "cached": planned.num_reused,
        "submitted": planned.is_submitted,
        "estimate": _estimate_fields(planned.estimate),
        "task": planned.task,
        "data": {
            "name": planned.data.name,
            "input_shape": list(planned.data.input_shape),
            "target": planned.data.target,
            "target_names": list(planned.data.target_names),
            "classes": len(planned.data.class_names),
            "num_train": planned.num_train,
            "num_val": planned.num_val,
            "num_test": planned.data.num_test,
            "digest": planned.data.digest,
        },
        "models": [
            _model_fields(label, architecture.trace(), planned.estimate)
            for label, architecture in planned.architectures.items()
        ],
    }


def _estimate_fields(estimate: "Estimate") -> dict[str, Any]:
    """Give what a plan will cost; the seconds are null while there is nothing to go by."""
    seconds = estimate.seconds
    return {
        "seconds": seconds and seconds.seconds,
        "seconds_low": seconds and seconds.low,
        "seconds_high": seconds and seconds.high,
        "unsure": bool(seconds and seconds.is_unsure),
        "learned_from": estimate.learned_from,
        "workers": estimate.num_workers,
        "peak_memory_bytes": estimate.peak_memory_bytes,
    }


def _model_fields(
    label: str, trace: "Sequence[LayerSummary]", estimate: "Estimate"
) -> dict[str, Any]:
    """Give a network: its sums, and its layers."""
    return {
        "model": label,
        "parameters": sum(row.parameters for row in trace),
        "multiply_adds": sum(row.multiply_adds for row in trace),
        "activation_bytes": sum(row.activation_bytes for row in trace),
        "output_shape": list(trace[-1].output_shape),
        "trial_seconds": estimate.trial_seconds.get(label),
        "layers": [
            {
                "path": row.path,
                "kind": row.kind,
                "text": row.text,
                "output_shape": list(row.output_shape),
                "parameters": row.parameters,
                "multiply_adds": row.multiply_adds,
                "activation_bytes": row.activation_bytes,
                "receptive_field": row.receptive_field and list(row.receptive_field),
            }
            for row in trace
        ],
    }


def diagnosis_fields(diagnosis: "Diagnosis") -> dict[str, Any]:
    """Give one of `diagnose`'s `trials[]`; `read` says whether there was a curve to read."""
    trial = diagnosis.trial
    return {
        "id": trial.id,
        "variant": trial.variant,
        "seed": trial.seed,
        "state": trial.state.value,
        "read": diagnosis.is_read,
        "findings": [finding.to_data() for finding in diagnosis.findings],
    }


def trial_fields(row: "TrialRow") -> dict[str, Any]:
    """Give one of `trials[]`."""
    return {
        "id": row.id,
        "number": row.number,
        "variant": row.variant,
        "seed": row.seed,
        "state": "running" if row.state is TrialState.LEASED else row.state.value,
        "params": dict(row.params),
        "metrics": dict(row.metrics or {}),
        "attempts": row.num_attempts,
        "paused": row.is_paused,
        "reused_from": row.reused_from,
        "selected_epoch": row.selected_epoch,
        "duration_seconds": row.duration_seconds,
        "peak_memory_bytes": row.peak_memory_bytes,
        "machine": row.machine,
        "strategy": row.strategy,
        "failure": None if row.failure is None else row.failure.to_data(),
    }


def attempt_fields(row: "AttemptRow") -> dict[str, Any]:
    """Give one of a trial's `attempts[]`."""
    return {
        "fence": row.fence,
        "state": row.state,
        "worker": row.worker,
        "begun_epoch": row.begun_epoch,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "failure": None if row.failure is None else row.failure.to_data(),
    }


def point_fields(point: "CurvePoint") -> dict[str, Any]:
    """Give one of `points[]`."""
    return {
        "trial": point.trial_id,
        "metric": point.metric,
        "epoch": point.epoch,
        "step": point.step,
        "value": point.value,
    }


def standing_fields(standing: "Standing", *, metric: str) -> dict[str, Any]:
    """Give one of `variants[]` of the leaderboard; numbers are null without a result.

    `bca_low`, `bca_high` and `interquartile_mean` are null where there are too few seeds.
    """
    from experiments.comparison.bootstrap import robust
    from experiments.comparison.statistics import metric_bounds

    summary, values = standing.objective, standing.values
    described = robust(values, bounds=metric_bounds(metric)) if values else None
    return {
        "variant": standing.variant,
        "params": dict(standing.params),
        "mean": summary and summary.mean,
        "std": summary and summary.std,
        "n": summary.n if summary else 0,
        "low": summary and summary.low,
        "high": summary and summary.high,
        "bca_low": described and described.low,
        "bca_high": described and described.high,
        "interquartile_mean": described and described.interquartile_mean,
        "trials": standing.num_trials,
        "metrics": dict(standing.others),
        "metrics_n": dict(standing.others_n),
    }


def comparison_fields(comparison: "Comparison") -> dict[str, Any]:
    """Give what `compare` prints: `levels[]`, the best mean first, and `pairs[]` of them."""
    return {
        "by": comparison.by,
        "metric": comparison.metric,
        "goal": comparison.goal,
        "levels": [asdict(level) for level in comparison.levels],
        "pairs": [asdict(pair) for pair in comparison.pairs],
        "caveats": list(comparison.caveats),
    }
