"""Writing a plan into the store: an experiment and all its trials, or nothing.

An experiment's id is a hash of its spec, so asking twice, or twenty times at once, is
asking once.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, insert
from sqlalchemy.dialects import postgresql, sqlite

from experiments.planning.pack_shapes import network_shape, pack_shape
from experiments.records import Experiment, Trial
from experiments.states import TrialState
from orchestrator.store.tables import AT_ONCE
from orchestrator.store.tables import experiment as experiment_table
from orchestrator.store.tables import trial as trial_table

_MANY_TRIALS: Final = 1000
_TELLING_COLUMNS: Final = (
    "id",
    "experiment_id",
    "number",
    "variant",
    "content_key",
    "shared_key",
    "pack_shape",
    "state",
    "is_paused",
    "available_at",
)
"""What trials are looked for by; the others are wide, and slow to read."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of a submit; `new` is false where the same spec had been submitted before.

    `num_reused` trials had their results at once, since they were known.
    """

    experiment_id: str
    new: bool
    num_reused: int = 0


def insert_experiment(
    connection: Connection,
    experiment: Experiment,
    trials: Sequence[Trial],
    *,
    class_names: Sequence[str],
    now: float,
    git_commit: str | None,
) -> bool:
    """Write the experiment and its trials; False where it is in the store already."""
    assert trials, "a plan without trials is refused"
    row = {
        **_experiment_row(experiment),
        "task": trials[0].config.task,
        "class_names": class_names,
        "num_trials": len(trials),
        "created_at": now,
        "git_commit": git_commit,
    }
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    inserted = connection.execute(
        dialect.insert(experiment_table)
        .values(row)
        .on_conflict_do_nothing(index_elements=["id"])
        .returning(experiment_table.c.id)
    ).first()
    if inserted is None:
        return False
    shapes = _pack_shapes(trials) if experiment.execution.strategy == "auto" else {}
    rows = [
        _trial_row(
            trial,
            experiment.id,
            shares=experiment.execution.reuse,
            shape=shapes.get(trial.id),
            now=now,
        )
        for trial in trials
    ]
    connection.execute(insert(trial_table), rows)
    return True


def note_growth(connection: Connection, num_trials: int) -> None:
    """Have PostgreSQL see at once what a large submission has changed.

    Until it has looked by itself, which takes it a minute, it expects a few trials, and sorts
    all that wait for each claim. (SQLite keeps no statistics.)
    """
    if connection.dialect.name == "postgresql" and num_trials >= _MANY_TRIALS:
        columns = ", ".join(_TELLING_COLUMNS)
        connection.exec_driver_sql(f"ANALYZE {trial_table.name} ({columns})")


def _experiment_row(experiment: Experiment) -> dict[str, Any]:
    return {
        "id": experiment.id,
        "name": experiment.name,
        "spec": experiment.spec,
        "text": experiment.text,
        "tags": experiment.tags,
        "objective": asdict(experiment.objective),
        "execution": asdict(experiment.execution),
        "checkpoints": asdict(experiment.checkpoints),
        "priority": experiment.execution.priority,
        "cpus": experiment.resources.cpus,
        "gpus": experiment.resources.gpus,
        "failures_forgiven": 0,
    }


def _pack_shapes(trials: Sequence[Trial]) -> dict[str, str | None]:
    """Give the trials' pack shapes by id; each network is looked through once."""
    networks: dict[int, str] = {}
    shapes = {}
    for trial in trials:
        layers = trial.config.architecture.layers
        if id(layers) not in networks:  # the trials keep them, so an id stays theirs
            networks[id(layers)] = network_shape(layers)
        shapes[trial.id] = pack_shape(trial.config, network=networks[id(layers)])
    return shapes


def _trial_row(
    trial: Trial, experiment_id: str, *, shares: bool, shape: str | None, now: float
) -> dict[str, Any]:
    return {
        "id": trial.id,
        "experiment_id": experiment_id,
        "number": trial.number,
        "variant": trial.variant,
        "seed": trial.seed,
        "params": trial.params,
        "config": trial.config.to_data(),
        "content_key": trial.content_key,
        "shared_key": trial.content_key if shares else None,
        "work": trial.work.to_data(),
        "pack_shape": shape,
        "state": TrialState.QUEUED,
        "fence": 0,
        "is_paused": False,
        "spent": {},
        "available_at": AT_ONCE,
        "queued_at": now,
    }
