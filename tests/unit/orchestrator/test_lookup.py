"""How the store is read: by its indexes (SQLite says beforehand what it will do)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from orchestrator.measurements import lookup
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store, reading
from tests.samples import submit

COUNTED = "ix_trial_overview"
RANKED = "ix_trial_experiment_id_objective_value"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_store(f"sqlite:///{tmp_path / 'trainyard.db'}", create=True)
    submit(Queue(engine), 3)
    yield engine
    engine.dispose()


def test_overview_reads_no_wide_rows_but_the_best_ones(engine: Engine) -> None:
    with reading(engine) as connection:
        (row,) = lookup.experiments(connection)
        plans = plans_of(connection, lambda: lookup.overview(connection, row, since=0.0))

    assert [step for plan in plans for step in plan if "trial" in step] == [
        f"SEARCH trial USING COVERING INDEX {COUNTED} (experiment_id=?)",
        "SEARCH trial USING INDEX sqlite_autoindex_trial_1 (id=?)",
        f"SEARCH trial USING INDEX {RANKED} (experiment_id=? AND objective_value>?)",
    ]


def test_whole_trial_id_is_found_without_a_look_at_the_others(engine: Engine) -> None:
    with reading(engine) as connection:
        plans = plans_of(connection, lambda: lookup.trial_called(connection, "exp1-0002"))

    assert plans == [["SEARCH trial USING INDEX sqlite_autoindex_trial_1 (id=?)"]]


def plans_of(connection: Connection, read: Callable[[], object]) -> list[list[str]]:
    """Give what SQLite plans to do for each statement of a reader."""
    said: list[tuple[str, Any]] = []

    def hear(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        said.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", hear)
    read()
    event.remove(connection, "before_cursor_execute", hear)
    plans = [
        [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters)]
        for text, parameters in said
    ]
    return [plan for plan in plans if plan]
