"""How an experiment goes: its pace, the time left, the best trial so far."""

from dashboards.numbers import value_text
from experiments.states import ExperimentState
from orchestrator.measurements.results import RECENT_SECONDS
from orchestrator.store.rows import Overview


def pace(overview: Overview) -> tuple[float | None, float | None]:
    """Give trials a minute of late, and the seconds left at that pace.

    Counted are the trials that ended within the last minutes (`RECENT_SECONDS`), so that a
    pause of days in between does not matter, and not those that took a known result. Both are
    None where none did.
    """
    started, last = overview.first_started_at, overview.last_finished_at
    if not overview.num_recent or started is None or last is None or last <= started:
        return None, None
    if overview.state is ExperimentState.PAUSED:
        return None, None
    per_second = overview.num_recent / min(last - started, RECENT_SECONDS)
    return per_second * 60.0, overview.num_open / per_second


def paused_text(overview: Overview) -> str:
    """Say why a paused experiment does not go on."""
    return overview.experiment.paused_reason or "its open trials are paused one by one"


def best_text(overview: Overview) -> str:
    """Say which trial is the best so far; empty while none has succeeded."""
    best = overview.best
    if best is None or best.objective_value is None:
        return ""
    metric = overview.experiment.objective.metric
    return f"{metric} {value_text(best.objective_value)} ({best.variant}, seed {best.seed})"
