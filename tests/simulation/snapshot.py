"""The whole store at one moment, and what must be true of it, alone and after another one."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from experiments.states import TERMINAL_STATES, AttemptState, TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.outbox import MODEL, TRIAL
from orchestrator.store.database import reading
from orchestrator.store.tables import (
    attempt,
    checkpoint,
    experiment,
    metric,
    orchestrator,
    outbox,
    trial,
)
from tests.simulation.model import Model
from tests.simulation.model_records import ModelTrial


@dataclass(frozen=True, slots=True)
class TrialNow:
    """What the store says of a trial."""

    experiment_id: str
    variant: str
    content_key: str
    shared_key: str | None
    state: TrialState
    fence: int
    orchestrator: str | None
    is_paused: bool
    reused_from: str | None
    objective_value: float | None
    attempts: Mapping[int, str]
    points: Mapping[tuple[str, int], tuple[float, int]]
    checkpoints: frozenset[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All trials, what MLflow has to be told, and (if asked for) what the overviews count."""

    trials: Mapping[str, TrialNow]
    outbox: Mapping[tuple[str, str], bool]
    is_paused: Mapping[str, bool]
    counts: Mapping[str, Mapping[TrialState, int]]
    orchestrators: frozenset[str]


def read_snapshot(engine: Engine, *, with_counts: bool) -> Snapshot:
    with reading(engine) as connection:

        def rows(table: Any) -> Any:
            return connection.execute(select(table))

        attempts: dict[str, dict[int, str]] = defaultdict(dict)
        for row in rows(attempt):
            attempts[row.trial_id][row.fence] = row.state
        points: dict[str, dict[tuple[str, int], tuple[float, int]]] = defaultdict(dict)
        for row in rows(metric):
            points[row.trial_id][row.metric, row.step] = (row.value, row.fence)
        checkpoints: dict[str, set[tuple[str, int, int]]] = defaultdict(set)
        for row in rows(checkpoint):
            checkpoints[row.trial_id].add((row.kind, row.fence, row.epoch))
        trials = {
            row.id: TrialNow(
                experiment_id=row.experiment_id,
                variant=row.variant,
                content_key=row.content_key,
                shared_key=row.shared_key,
                state=TrialState(row.state),
                fence=row.fence,
                orchestrator=row.orchestrator,
                is_paused=row.is_paused,
                reused_from=row.reused_from,
                objective_value=row.objective_value,
                attempts=attempts[row.id],
                points=points[row.id],
                checkpoints=frozenset(checkpoints[row.id]),
            )
            for row in rows(trial)
        }
        told = {(row.kind, row.key): row.done_at is not None for row in rows(outbox)}
        paused = {row.id: row.paused_reason is not None for row in rows(experiment)}
        ids = frozenset(row.id for row in rows(orchestrator))
    overviews = Results(engine).overviews() if with_counts else ()
    counts = {overview.experiment.id: overview.counts for overview in overviews}
    return Snapshot(trials, told, paused, counts, ids)


def compare(now: Snapshot, model: Model) -> None:
    """Hold the store to the model, and to what must be true of any store."""
    assert now.trials.keys() == model.trials.keys(), "a trial was lost, or came from nowhere"
    for trial_id, wanted in model.trials.items():
        _compare_trial(now.trials[trial_id], wanted)
    for experiment_id, asked in model.experiments.items():
        assert now.is_paused[experiment_id] == bool(asked.paused_by), f"{experiment_id}: paused?"
        states = Counter(each.state for each in model.of(experiment_id))
        if now.counts:
            assert now.counts[experiment_id] == {state: states[state] for state in TrialState}
    assert now.orchestrators == model.orchestrators.keys()
    _check_outbox(now, model)
    _check_shared_leases(now)


def _compare_trial(is_: TrialNow, wanted: ModelTrial) -> None:
    name = wanted.id
    assert is_.state == wanted.state, f"{name} is {is_.state}, not {wanted.state}"
    assert is_.fence == wanted.fence, f"{name}: fence {is_.fence}, not {wanted.fence}"
    assert is_.attempts == wanted.attempts, f"{name}: {is_.attempts}, not {wanted.attempts}"
    assert is_.points == wanted.points, f"{name}: {is_.points}, not {wanted.points}"
    assert is_.checkpoints == wanted.checkpoints, (
        f"{name}: {is_.checkpoints}, not {wanted.checkpoints}"
    )
    assert is_.objective_value == wanted.result, f"{name}: {is_.objective_value}, {wanted.result}"
    assert is_.reused_from == wanted.reused_from, f"{name}: from {is_.reused_from}"
    assert is_.is_paused == wanted.is_paused, f"{name}: is_paused {is_.is_paused}"
    if wanted.state is TrialState.LEASED:
        assert is_.orchestrator == wanted.orchestrator, f"{name}: held by {is_.orchestrator}"


def _check_outbox(now: Snapshot, model: Model) -> None:
    pending = {key for (kind, key), is_done in now.outbox.items() if kind == TRIAL and not is_done}
    assert pending == {
        each.id for each in model.trials.values() if each.is_terminal and not each.is_told
    }, "what MLflow is to be told"
    of_variant: dict[str, list[TrialState]] = defaultdict(list)
    for each in now.trials.values():
        of_variant[f"{each.experiment_id}/{each.variant}"].append(each.state)
    for key, states in of_variant.items():
        if TrialState.SUCCEEDED in states and TERMINAL_STATES.issuperset(states):
            assert (MODEL, key) in now.outbox, f"{key} is finished; MLflow is not told of it"


def _check_shared_leases(now: Snapshot) -> None:
    leased = [each for each in now.trials.values() if each.state is TrialState.LEASED]
    keys = [each.shared_key for each in leased if each.shared_key is not None]
    assert len(keys) == len(set(keys)), "one content key is trained twice at a time"


def compare_histories(before: Snapshot, now: Snapshot, *, retried: bool) -> None:
    """Check what no step may do, whatever the model says; `retried`: a person asked again."""
    for trial_id, was in before.trials.items():
        is_ = now.trials[trial_id]
        assert is_.fence >= was.fence, f"{trial_id}: its fence fell"
        assert list(is_.attempts.values()).count(AttemptState.SUCCEEDED) <= 1
        running = [fence for fence, state in is_.attempts.items() if state == AttemptState.RUNNING]
        assert running == ([is_.fence] if is_.state is TrialState.LEASED else [])
        if was.state is TrialState.SUCCEEDED:
            assert (is_.state, is_.objective_value, is_.reused_from, is_.points) == (
                was.state,
                was.objective_value,
                was.reused_from,
                was.points,
            ), f"{trial_id}: a recorded result changed"
        elif was.state in TERMINAL_STATES and not retried:
            assert is_.state is was.state, f"{trial_id} came back from {was.state}"
