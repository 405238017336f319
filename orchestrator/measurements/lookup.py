"""Reading experiments and trials out of the store, by name and by id."""

import difflib
import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Text, cast, func, select

from experiments.architectures.architecture import Architecture
from experiments.errors import NotFoundError
from experiments.events import Failure
from experiments.records import Objective
from experiments.states import IncidentKind, TrialState
from orchestrator.instance import host_of
from orchestrator.store.rows import (
    OPEN_STATES,
    AttemptRow,
    ExperimentRow,
    IncidentRow,
    OrchestratorRow,
    Overview,
    TrialColumns,
    TrialRow,
    decode_metrics,
)
from orchestrator.store.tables import experiment, incident, orchestrator, trial

_ROWS_AT_ONCE: Final = 10_000
_SHOWN: Final = 5  # names or ids that a message lists at most

_EXPERIMENT_COLUMNS = [experiment.c[name] for name in ExperimentRow.__dataclass_fields__]
_JSON_COLUMNS: Final = frozenset({"params", "metrics", "failure"})
_COLUMNS_OF_TRIALS = [
    trial.c.fence
    if name == "num_attempts"
    else cast(trial.c[name], Text)
    if name in _JSON_COLUMNS
    else trial.c[name]
    for name in TrialColumns._fields
]
_TRIAL_COLUMNS = [
    trial.c.fence.label("num_attempts") if name == "num_attempts" else trial.c[name]
    for name in TrialRow.__dataclass_fields__
]


# Whether an experiment has a trial that waits or is under way; the limit keeps PostgreSQL
# from reading them all (see `turns.py`).
_HAS_OPEN_TRIAL = (
    select(trial.c.id)
    .where(trial.c.experiment_id == experiment.c.id, trial.c.state.in_(OPEN_STATES))
    .limit(1)
    .correlate(experiment)
    .scalar_subquery()
    .is_not(None)
)


def experiments(
    connection: Connection, ids: Collection[str] | None = None, *, open_only: bool = False
) -> tuple[ExperimentRow, ...]:
    """Give experiments (all, unless ids are given), the oldest first.

    With `open_only` those alone that have trials which wait or are under way.
    """
    query = select(*_EXPERIMENT_COLUMNS).order_by(experiment.c.created_at, experiment.c.id)
    if ids is not None:
        query = query.where(experiment.c.id.in_(ids))
    if open_only:
        query = query.where(_HAS_OPEN_TRIAL)
    return tuple(_experiment_row(row) for row in connection.execute(query))


def experiment_with_id(connection: Connection, experiment_id: str) -> ExperimentRow:
    """Give the experiment with exactly this id, which must be there."""
    query = select(*_EXPERIMENT_COLUMNS).where(experiment.c.id == experiment_id)
    return _experiment_row(connection.execute(query).one())


def experiment_called(connection: Connection, name_or_id: str) -> ExperimentRow:
    """Find an experiment by its name (the newest of that name), id, or start of an id.

    Raises:
        NotFoundError: There is none; the message gives the nearest names.
    """
    newest = select(*_EXPERIMENT_COLUMNS).order_by(experiment.c.created_at.desc()).limit(1)
    named = (experiment.c.name == name_or_id) | (experiment.c.id == name_or_id)
    row = connection.execute(newest.where(named)).first()
    if row is not None:
        return _experiment_row(row)
    starts = select(*_EXPERIMENT_COLUMNS).where(
        experiment.c.id.startswith(name_or_id, autoescape=True)
    )
    rows = connection.execute(starts.limit(_SHOWN)).all()
    if name_or_id and len(rows) == 1:
        return _experiment_row(rows[0])
    known = connection.scalars(select(experiment.c.name).distinct()).all()
    raise NotFoundError(
        f"no experiment is called {name_or_id!r}{_hint(name_or_id, known)}; "
        "`trainyard status` lists them all"
    )


def trials(
    connection: Connection, where: ColumnElement[bool], *, order_by: ColumnElement[Any]
) -> tuple[TrialRow, ...]:
    """Give the trials that match."""
    query = select(*_TRIAL_COLUMNS).where(where).order_by(order_by)
    return tuple(_trial_row(row) for row in connection.execute(query))


def trial_columns(connection: Connection, where: ColumnElement[bool]) -> TrialColumns:
    """Give the trials that match, by number, column by column."""
    query = select(*_COLUMNS_OF_TRIALS).where(where).order_by(trial.c.number)
    # The driver's own tuples, as in `measured.py`.
    cursor = connection.execute(query).cursor
    assert cursor is not None, "a SELECT gives rows"
    columns: list[list[Any]] = [[] for _ in TrialColumns._fields]
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        for column, values in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(values)
    found = TrialColumns(*columns)
    messages = [text and Failure.from_data(json.loads(text)).message for text in found.failure]
    return found._replace(failure=messages)


def architectures(connection: Connection, trial_ids: Collection[str]) -> Mapping[str, Architecture]:
    """Give the networks of some trials, by trial."""
    query = select(trial.c.id, trial.c.config).where(trial.c.id.in_(trial_ids))
    return {
        trial_id: Architecture.from_data(config["architecture"])
        for trial_id, config in connection.execute(query)
    }


def trial_called(connection: Connection, trial_id: str) -> TrialRow:
    """Find a trial by its id, or the start of its id if no other starts so.

    Raises:
        NotFoundError: There is none, or more than one.
    """
    query = select(*_TRIAL_COLUMNS).order_by(trial.c.id).limit(_SHOWN)
    # Two queries: to look for the start of an id is to look at every id.
    row = connection.execute(query.where(trial.c.id == trial_id)).first()
    if row is not None:
        return _trial_row(row)
    starts = trial.c.id.startswith(trial_id, autoescape=True)
    rows = connection.execute(query.where(starts)).all()
    if len(rows) == 1:
        return _trial_row(rows[0])
    if rows and trial_id:
        ids = ", ".join(row.id for row in rows)
        raise NotFoundError(f"more than one trial's id starts with {trial_id!r}: {ids}, ...")
    raise NotFoundError(
        f"no trial has the id {trial_id!r}; `trainyard trials EXPERIMENT` lists them"
    )


def overview(connection: Connection, row: ExperimentRow, *, since: float) -> Overview:
    """Count an experiment's trials by state, and find its best so far."""
    of_it = trial.c.experiment_id == row.id
    groups = connection.execute(
        select(
            trial.c.state,
            func.count(),
            func.count().filter(trial.c.finished_at >= since, trial.c.reused_from.is_(None)),
            func.count(trial.c.reused_from),
            func.count().filter(trial.c.is_paused),
            func.min(trial.c.started_at),
            func.max(trial.c.finished_at).filter(trial.c.reused_from.is_(None)),
        )
        .where(of_it)
        .group_by(trial.c.state)
    ).all()
    counts = {TrialState(state): count for state, count, *_ in groups}
    paused = {TrialState(state): num for state, *_, num, _, _ in groups}
    return Overview(
        experiment=row,
        counts={state: counts.get(state, 0) for state in TrialState},
        num_reused=sum(reused for _, _, _, reused, *_ in groups),
        num_paused=sum(paused.get(state, 0) for state in OPEN_STATES),
        best=_best(connection, row),
        num_recent=sum(recent for _, _, recent, *_ in groups),
        first_started_at=min((first for *_, first, _ in groups if first), default=None),
        last_finished_at=max((last for *_, last in groups if last), default=None),
    )


def incidents(
    connection: Connection,
    *,
    experiment_id: str | None,
    trial_id: str | None,
    since: float | None,
    limit: int,
) -> tuple[IncidentRow, ...]:
    """Give what went wrong, the newest first; None chooses nothing out."""
    columns = [incident.c[name] for name in IncidentRow.__dataclass_fields__]
    query = select(*columns).order_by(incident.c.at.desc(), incident.c.id.desc()).limit(limit)
    if experiment_id is not None:
        query = query.where(incident.c.experiment_id == experiment_id)
    if trial_id is not None:
        query = query.where(incident.c.trial_id == trial_id)
    if since is not None:
        query = query.where(incident.c.at >= since)
    return tuple(
        IncidentRow(**{**row._mapping, "kind": IncidentKind(row.kind)})
        for row in connection.execute(query)
    )


def orchestrators(
    connection: Connection, *, now: ColumnElement[float]
) -> tuple[OrchestratorRow, ...]:
    """Give who is registered on the store, who began first comes first."""
    query = select(orchestrator, (now - orchestrator.c.seen_at).label("age_seconds"))
    rows = connection.execute(query.order_by(orchestrator.c.started_at, orchestrator.c.id))
    return tuple(
        OrchestratorRow(**{**row._mapping, "host": host_of(row.host), "place": row.host})
        for row in rows
    )


def attempt_row(row: Row[Any]) -> AttemptRow:
    """Turn an attempt's row into its record."""
    failure = None if row.failure is None else Failure.from_data(row.failure)
    return AttemptRow(**{**row._mapping, "failure": failure})


def _best(connection: Connection, row: ExperimentRow) -> TrialRow | None:
    value = trial.c.objective_value  # only trials that have succeeded have one
    order = value.desc() if row.objective.goal == "maximize" else value.asc()
    best = (
        select(trial.c.id)
        .where(trial.c.experiment_id == row.id, value.is_not(None))
        .order_by(order, trial.c.number)
        .limit(1)
        .scalar_subquery()
    )
    found = connection.execute(select(*_TRIAL_COLUMNS).where(trial.c.id == best)).first()
    return None if found is None else _trial_row(found)


def _experiment_row(row: Row[Any]) -> ExperimentRow:
    return ExperimentRow(**{**row._mapping, "objective": Objective(**row.objective)})


def _trial_row(row: Row[Any]) -> TrialRow:
    changed = {
        "state": TrialState(row.state),
        "stop_requested": row.stop_requested is not None,
        "metrics": decode_metrics(row.metrics),
        "failure": None if row.failure is None else Failure.from_data(row.failure),
    }
    return TrialRow(**{**row._mapping, **changed})


def _hint(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=_SHOWN)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
