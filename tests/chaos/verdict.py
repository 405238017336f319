"""What became of a disturbed run: compared with the undisturbed one, and counted."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Engine

from experiments.states import AttemptState, TrialState
from orchestrator.measurements.results import Results
from orchestrator.mirroring.mlflow_records import Records
from orchestrator.queueing.outbox import Outbox
from orchestrator.settings import Settings
from orchestrator.store.rows import AttemptRow
from tests.chaos.monkey import ORPHAN_SECONDS, WORKER, Log


@dataclass(frozen=True, slots=True)
class Verdict:
    """All figures of a run. `faults` says in words what must not be; empty if all is well."""

    faults: tuple[str, ...]
    figures: dict[str, Any]


def judge(
    engine: Engine,
    settings: Settings,
    experiment_id: str,
    *,
    log: Log,
    digest: str,
    num_trials: int,
    seconds: float,
    left_alive: int,
    has_mlflow: bool,
) -> Verdict:
    """Compare a store with what an undisturbed run gave (`digest`), and count what it took."""
    results = Results(engine)
    rows = results.trials(experiment_id)
    attempts = {row.id: results.attempts(row.id) for row in rows}
    states = Counter(row.state for row in rows)
    successes = {
        trial_id: sum(each.state == AttemptState.SUCCEEDED for each in its)
        for trial_id, its in attempts.items()
    }
    lost = num_trials - sum(row.state is TrialState.SUCCEEDED for row in rows)
    doubled = sum(number > 1 for number in successes.values())
    odd = sum(number != 1 for number in successes.values())
    is_equal = results.digest(experiment_id) == digest
    mlflow = compare_mlflow(engine, settings, experiment_id) if has_mlflow else {}
    outliving = [
        process.command
        for orphans in log.orphans
        if orphans.seconds is None or orphans.seconds > ORPHAN_SECONDS
        for process in orphans.left
    ]
    faults = {
        f"{lost} trials have no result": lost,
        f"{doubled} trials have two": doubled,
        f"{odd} trials have not just one attempt that succeeded": odd,
        "the results are not those of the undisturbed run": not is_equal,
        f"{left_alive} processes are left": left_alive,
        f"outlived a killed orchestrator by {ORPHAN_SECONDS:g} s: {outliving}": outliving,
        f"MLflow: {mlflow}": any(mlflow.values()),
    }
    figures = {
        "seconds": round(seconds, 1),
        "trials": {state.value: number for state, number in states.items()},
        "lost": lost,
        "doubled": doubled,
        "results_equal_to_undisturbed": is_equal,
        "kills": dict(Counter(kill.what for kill in log.kills)),
        "orchestrator_ended_by_itself": dict(Counter(map(str, log.exits))),
        "attempts": dict(Counter(str(each.state) for its in attempts.values() for each in its)),
        "attempts_that_went_on_from_a_checkpoint": sum(
            bool(each.begun_epoch) for its in attempts.values() for each in its
        ),
        "seconds_from_a_worker_kill_to_queued_again": spread(requeue_seconds(log, attempts)),
        "epochs_on_record_trained_again_per_kill": spread(wasted_epochs(log, attempts)),
        "seconds_until_a_killed_orchestrators_processes_were_gone": spread(
            orphans.seconds for orphans in log.orphans if orphans.seconds is not None
        ),
        "processes_left": left_alive,
        "mlflow": mlflow,
    }
    return Verdict(tuple(text for text, is_so in faults.items() if is_so), figures)


def requeue_seconds(log: Log, attempts: dict[str, tuple[AttemptRow, ...]]) -> list[float]:
    """Give, of each worker killed at its trial, the time until that could be claimed again."""
    lost = sorted(
        each.ended_at
        for its in attempts.values()
        for each in its
        if each.ended_at is not None and each.failure and each.failure.kind == "lost"
    )
    kills = sorted(log.kills, key=lambda kill: kill.at)
    seconds = []
    for kill, following in zip(kills, [*kills[1:], None], strict=True):
        until = math.inf if following is None else following.at
        if kill.what == WORKER:
            seconds += [at - kill.at for at in lost if kill.at <= at < until][:1]
    return seconds


def wasted_epochs(log: Log, attempts: dict[str, tuple[AttemptRow, ...]]) -> list[int]:
    """Give, for each attempt that a kill ended, how many epochs on record were trained again."""
    last_seen = {
        (trial_id, fence): epoch
        for kill in sorted(log.kills, key=lambda kill: kill.at)
        for trial_id, (fence, epoch) in kill.epochs.items()
    }
    wasted = []
    for trial_id, its in attempts.items():
        for ended, following in pairwise(its):
            seen = last_seen.get((trial_id, ended.fence))
            if seen is not None and following.begun_epoch is not None:
                wasted.append(max(0, seen - following.begun_epoch))
    return wasted


def spread(values: Iterable[float]) -> dict[str, float] | None:
    """Give number, median and maximum; None of nothing."""
    values = sorted(values)
    if not values:
        return None
    return {
        "n": len(values),
        "median": round(statistics.median(values), 2),
        "max": round(values[-1], 2),
    }


def compare_mlflow(engine: Engine, settings: Settings, experiment_id: str) -> dict[str, int]:
    """Count how MLflow differs from the store: what it was not told, told twice, told wrong."""
    from mlflow import MlflowClient

    results, client = Results(engine), MlflowClient(settings.mlflow_uri)
    records = Records(results)
    there = client.get_experiment_by_name(results.experiment(experiment_id).name)
    runs: dict[str, list[Any]] = {}
    token: str | None = None
    while there is not None:
        page = client.search_runs([there.experiment_id], max_results=1000, page_token=token)
        for run in page:
            runs.setdefault(run.data.tags["trainyard.trial"], []).append(run)
        token = page.token
        if not token:
            break
    rows = results.trials(experiment_id)
    different = 0
    for row in rows:
        record = records.run(row.id)
        newest = {} if record is None else {point.key: point.value for point in record.points}
        different += any(run.data.metrics != newest for run in runs.get(row.id, []))
    return {
        "untold": Outbox(engine).num_pending(),
        "missing": sum(row.id not in runs for row in rows),
        "doubled": sum(len(each) > 1 for each in runs.values()),
        "different": different,
    }
