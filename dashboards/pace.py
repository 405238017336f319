"""How fast an experiment goes, and how long it will still take."""

from orchestrator.rows import Overview


def pace(overview: Overview) -> tuple[float | None, float | None]:
    """Give trials a minute since the first one started, and the seconds left at that pace.

    Both are None until a trial has ended.
    """
    ended = overview.experiment.num_trials - overview.num_open
    started, last = overview.first_started_at, overview.last_finished_at
    if not ended or started is None or last is None or last <= started:
        return None, None
    per_second = ended / (last - started)
    return per_second * 60.0, overview.num_open / per_second
