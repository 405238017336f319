"""What the store holds, as people read it in a terminal: experiments, trials, ranks.

One trial by itself is in `trial_view.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from rich.console import RenderableType
from rich.table import Table

from dashboards.incident_view import incident_lines, orchestrator_lines
from dashboards.numbers import duration_text, metric_text
from dashboards.pace import best_text, pace, paused_text
from dashboards.tables import Column, fitted_table, one_line, shown
from experiments.comparison.leaderboard import Standing
from experiments.comparison.wording import count
from experiments.records import Objective
from experiments.states import TERMINAL_STATES, ExperimentState, TrialState
from experiments.tasks import TASKS
from orchestrator.store.rows import (
    ExperimentRow,
    IncidentRow,
    OrchestratorRow,
    Overview,
    TrialRow,
)


def status_view(
    overviews: Sequence[Overview],
    *,
    incidents: Sequence[IncidentRow] = (),
    orchestrators: Sequence[OrchestratorRow] = (),
    num_left: Mapping[str, int] = MappingProxyType({}),
    now: float,
    width: int,
) -> Iterator[RenderableType]:
    """Show each experiment in a row, why one paused, what happened lately and who works.

    `num_left` counts the trials under way by the id of their orchestrator.
    """
    columns = [
        Column("experiment", flexible=True),
        Column("id"),
        Column("state"),
        *(Column(f">{name}") for name in ("queued", "running", "succeeded", "failed", "other")),
        Column(">reused", drop=4),
        Column(">paused", drop=3),
        Column("best", drop=1, flexible=True),
        Column(">left", drop=2),
    ]
    yield fitted_table(columns, [_status_row(overview) for overview in overviews], width=width)
    for overview in overviews:
        if overview.state is ExperimentState.PAUSED:
            yield shown(f"{overview.experiment.name} paused: {paused_text(overview)}")
    yield from map(shown, incident_lines(incidents, now=now))
    num_queued = sum(
        max(0, overview.counts[TrialState.QUEUED] - overview.num_paused)
        for overview in overviews
        if overview.state is not ExperimentState.PAUSED
    )
    lines = orchestrator_lines(orchestrators, num_queued=num_queued, num_left=num_left, now=now)
    yield from map(shown, lines)


def _status_row(overview: Overview) -> list[str]:
    counts = overview.counts
    numbers = (
        counts[TrialState.QUEUED],
        counts[TrialState.LEASED],
        counts[TrialState.SUCCEEDED],
        counts[TrialState.FAILED] + counts[TrialState.QUARANTINED],
        counts[TrialState.CANCELLED] + counts[TrialState.PRUNED],
    )
    _, left = pace(overview)
    return [
        shown(overview.experiment.name),
        shown(overview.experiment.id),
        overview.state.value,
        *(f"{number:,}" if number else "-" for number in numbers),
        *(f"{number:,}" if number else "" for number in (overview.num_reused, overview.num_paused)),
        shown(best_text(overview)),
        duration_text(left) if left else "",
    ]


def trials_table(experiment: ExperimentRow, rows: Sequence[TrialRow], *, width: int) -> Table:
    """Show each trial in a row, with the metrics that people look for first.

    That is the objective's, what its task is mostly judged by, the loss; and the objective's
    on the test split.
    """
    objective = experiment.objective.metric
    on_val = dict.fromkeys((objective, f"val/{TASKS[experiment.task].headline}", "val/loss"))
    metrics = (*on_val, _on_test(objective))
    columns = [
        Column("trial"),
        Column("variant", flexible=True),
        Column(">seed"),
        Column("state"),
        Column(">attempts", drop=3),
        *(Column(f">{name}", drop=0 if name == objective else 2) for name in on_val),
        Column(f">{metrics[-1]}", drop=1),
        Column(">seconds", drop=4),
        Column("failure", flexible=True),
    ]
    return fitted_table(columns, [_trial_row(row, metrics) for row in rows], width=width)


def _trial_row(row: TrialRow, metrics: Sequence[str]) -> list[str]:
    measured = row.metrics or {}
    return [
        row.id,
        shown(row.variant),
        str(row.seed),
        state_text(row),
        str(row.num_attempts),
        *(metric_text(name, measured[name]) if name in measured else "" for name in metrics),
        "" if row.duration_seconds is None else f"{row.duration_seconds:.1f}",
        "" if row.failure is None else one_line(row.failure.message),
    ]


def state_text(row: TrialRow) -> str:
    """Say how a trial stands, and whether its result is another one's or it is made to wait."""
    if row.is_paused and row.state not in TERMINAL_STATES:
        return "paused" if row.state is TrialState.QUEUED else "running, to be paused"
    if row.reused_from is not None:
        return f"{row.state.value} (reused)"
    return "running" if row.state is TrialState.LEASED else row.state.value


def _on_test(metric: str) -> str:
    """Name the metric of the test split that goes with one of the validation split."""
    return f"test/{metric.rpartition('/')[2]}"


def leaderboard_view(
    name: str, objective: Objective, standings: Sequence[Standing], *, width: int
) -> Iterator[RenderableType]:
    """Show variants by rank, with mean, spread and interval of the objective."""
    columns = [
        Column(">"),
        Column("variant", flexible=True),
        Column(f">{objective.metric}"),
        Column(">std", drop=2),
        Column(">95% interval", drop=1),
        Column(">n"),
        Column(f">{_on_test(objective.metric)}", drop=3),
    ]
    yield f"[bold]{shown(name)}[/bold]  {objective.metric}, mean over seeds, {objective.goal}"
    rows = [
        _standing_row(place, standing, objective.metric)
        for place, standing in enumerate(standings, start=1)
    ]
    yield fitted_table(columns, rows, width=width)
    yield from _caveats(standings, _on_test(objective.metric))


def _standing_row(place: int, standing: Standing, metric: str) -> list[str]:
    summary = standing.objective
    if summary is None:
        return ["", shown(standing.variant), "no result", "", "", "0", ""]
    interval = ""
    if summary.low is not None and summary.high is not None:
        interval = f"{metric_text(metric, summary.low)} to {metric_text(metric, summary.high)}"
    test = standing.others.get(_on_test(metric))
    return [
        str(place),
        shown(standing.variant),
        metric_text(metric, summary.mean),
        "" if summary.std is None else metric_text(metric, summary.std),
        interval,
        str(summary.n),
        "" if test is None else metric_text(metric, test),
    ]


def _caveats(standings: Sequence[Standing], test: str) -> Iterator[str]:
    fewest = min((s.objective.n for s in standings if s.objective), default=0)
    if fewest == 1:
        asked = max(s.num_trials for s in standings)
        yield "One seed tells nothing of the spread" + (
            ": set `seeds` to 3 or more." if asked == 1 else "; here are variants with no more."
        )
    incomplete = sum((s.objective.n if s.objective else 0) < s.num_trials for s in standings)
    if incomplete:
        noun = "variant lacks" if incomplete == 1 else "variants lack"
        yield f"{incomplete} {noun} the result of some seeds (n says how many there are)."
    fewer = sum(
        s.objective is not None and s.others_n.get(test, s.objective.n) < s.objective.n
        for s in standings
    )
    if fewer:
        yield f"{test} of {count(fewer, 'variant')} is over fewer seeds than n."
    if fewest:
        yield (
            "The interval is Student's t for the mean. The first place was picked for its "
            "validation score, which flatters it; the test column was not used to pick."
        )
