"""The schema: made at once or migrated step by step, it is the same."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    JSON,
    Connection,
    Engine,
    MetaData,
    Select,
    create_engine,
    insert,
    select,
    text,
)

from experiments.errors import StoreBusyError, StoreVersionError
from experiments.records import Execution
from orchestrator.instance import sole_orchestrator
from orchestrator.queueing.queue import Queue
from orchestrator.settings import sqlite_path
from orchestrator.store import sqlite_file
from orchestrator.store.database import StoreMissingError, open_store, reading, upgrade, writing
from orchestrator.store.migrations import configuration, migrate
from orchestrator.store.tables import SCHEMA_VERSION, VERSION_TABLE, metadata
from tests.samples import SettableClock

DEFINITIONS = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL",
    "postgresql": """
        SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
        UNION ALL SELECT table_name || '.' || column_name,
            concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default)
            FROM information_schema.columns WHERE table_schema = 'public'
    """,
}


def definitions(connection: Connection) -> dict[str, list[str]]:
    """Give the words by which the database itself describes its tables and indexes.

    Sorted, since a table's constraints may stand in another order; without quotes, which
    SQLite adds to a name when it renames a table.
    """
    rows = connection.execute(text(DEFINITIONS[connection.dialect.name]))
    return {name: sorted(re.sub(r'[,"]', " ", sql).split()) for name, sql in rows}


# What stores of version 0001 hold: every table, and every state that the step must tell apart.
_TRIAL = {
    "experiment_id": "exp1",
    "params": {"lr": 0.1},
    "config": {"loss": "cross_entropy"},
    "work": {"steps": 3},
    "fence": 1,
    "lease_expires_at": None,
    "worker": None,
    "stop_requested": False,
    "available_at": 0.0,
    "failures": 0,
    "losses": 0,
    "failure": None,
    "metrics": None,
    "objective_value": None,
    "selected_epoch": None,
    "duration_seconds": None,
    "peak_memory_bytes": None,
    "machine": None,
    "queued_at": 5.0,
    "started_at": 6.0,
    "finished_at": None,
    "confusion": None,
}
_DONE = {
    "state": "succeeded",
    "metrics": {"val/accuracy": 0.1 + 0.2},
    "objective_value": 0.1 + 0.2,
    "selected_epoch": 2,
    "finished_at": 7.0,
    "confusion": [[3, 0], [1, 2]],
}
_LEASED = {"state": "leased", "worker": "w1", "lease_expires_at": 66.0}
_FAILED = {"type": "ValueError", "kind": "error", "message": "m", "traceback": None}
_TRIALS: list[dict[str, Any]] = [
    {"content_key": "a", **_DONE},
    {"content_key": "b", "state": "queued", "failures": 2, "losses": 1, "available_at": 9.5},
    {"content_key": "c", **_LEASED, "stop_requested": True},
    {"content_key": "c", **_LEASED, "losses": 1},
    {"content_key": "d", "state": "failed", "failures": 3, "failure": _FAILED},
]
_CHECKPOINT = {"fence": 1, "step": 20, "sha256": "a" * 64, "num_bytes": 5, "created_at": 6.5}
OLD_ROWS: dict[str, list[dict[str, Any]]] = {
    "experiment": [
        {
            "id": "exp1",
            "name": "grid",
            "spec": {"name": "grid"},
            "text": "name: grid\n",
            "tags": {},
            "task": "classification",
            "class_names": ["cat", "dog"],
            "objective": {"metric": "val/accuracy", "goal": "maximize", "select": "best"},
            "execution": {"timeout": None, "retries": 1, "max_failed_trials": None, "priority": 0},
            "checkpoints": {"every_epochs": 1, "keep": ["best"]},
            "priority": 0,
            "cpus": 1,
            "gpus": 0.0,
            "num_trials": len(_TRIALS),
            "created_at": 5.0,
            "git_commit": None,
            "paused_reason": "2 trials failed",
        }
    ],
    "trial": [
        {**_TRIAL, "id": f"exp1-{n}", "number": n, "variant": f"v{n}", "seed": 2**40 + n, **row}
        for n, row in enumerate(_TRIALS, start=1)
    ],
    "attempt": [
        {
            "trial_id": f"exp1-{n}",
            "fence": 1,
            "state": "running" if row["state"] == "leased" else "failed",
            "worker": "w1",
            "started_at": 6.0,
            "ended_at": None,
            "failure": row.get("failure"),
        }
        for n, row in enumerate(_TRIALS, start=1)
    ],
    "metric": [
        {
            "trial_id": "exp1-1",
            "metric": "train/loss",
            "step": 10 * epoch,
            "epoch": epoch,
            "value": value,
            "timestamp_ms": 1_700_000_000_000,
            "fence": 1,
        }
        for epoch, value in enumerate((0.3, None), start=1)
    ],
    "checkpoint": [
        {"trial_id": "exp1-1", "kind": kind, "epoch": 2, "path": f"{kind}.pt", **_CHECKPOINT}
        for kind in ("best", "last")
    ],
    "outbox": [
        {
            "id": 7,
            "kind": "trial",
            "key": "exp1-1",
            "revision": 2,
            "created_at": 7.0,
            "available_at": 9.0,
            "tries": 1,
            "done_at": None,
            "error": "503",
        }
    ],
}


def make_store_of_version_1(url: str) -> None:
    """Make a store as the first version of trainyard did, with rows in every table."""

    def create(connection: Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    path = sqlite_path(url)
    if path is not None:
        sqlite_file.create(path, create)
    engine = create_engine(url)
    with engine.begin() as connection:
        if path is None:
            create(connection)
        tables = MetaData()
        tables.reflect(connection)
        for name, rows in OLD_ROWS.items():
            for column in tables.tables[name].c:
                if isinstance(column.type, JSON):
                    column.type.none_as_null = True  # as trainyard's own tables have it
            connection.execute(insert(tables.tables[name]), rows)
    engine.dispose()


def require_same_as_created(connection: Connection) -> None:
    # Alembic does not compare the conditions of partial indexes, nor rowids.
    migrated = definitions(connection)
    metadata.drop_all(connection)
    metadata.create_all(connection)
    assert definitions(connection) == migrated


def set_version(engine: Engine, version: str) -> None:
    with writing(engine) as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'"))


@pytest.fixture
def created(url: str) -> Iterator[Engine]:
    engine = open_store(url, create=True)
    yield engine
    engine.dispose()


def test_migrations_give_what_the_tables_say(url: str) -> None:
    engine = create_engine(url)
    if sqlite_path(url) is not None:
        sqlite_file.prepare(engine)
    with writing(engine) as connection:
        migrate(connection)

        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
        require_same_as_created(connection)
    engine.dispose()


def test_schema_version_is_the_last_migration() -> None:
    assert ScriptDirectory.from_config(configuration()).get_current_head() == SCHEMA_VERSION


def test_missing_store_is_no_store_to_read(url: str) -> None:
    with pytest.raises(StoreMissingError, match="nothing has been submitted"):
        open_store(url, create=False)


def test_missing_store_cannot_be_upgraded(url: str) -> None:
    with pytest.raises(StoreMissingError):
        upgrade(url)


def test_store_of_a_newer_version_is_refused(url: str, created: Engine) -> None:
    set_version(created, "0099")

    for use in (lambda: open_store(url, create=True), lambda: upgrade(url)):
        with pytest.raises(StoreVersionError, match=r"newer trainyard \(schema 0099\)"):
            use()


def test_store_of_an_older_version_names_the_command(url: str, created: Engine) -> None:
    set_version(created, "0000")

    with pytest.raises(StoreVersionError, match="run `trainyard db upgrade`"):
        open_store(url, create=False)


def test_upgrade_leaves_a_store_of_this_version_as_it_is(url: str, created: Engine) -> None:
    with reading(created) as connection:
        before = definitions(connection)

    upgrade(url)

    with reading(created) as connection:
        assert definitions(connection) == before


def test_store_is_not_upgraded_beside_a_working_orchestrator(
    url: str, created: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.migrations.migrate", lambda _: pytest.fail("migrated"))
    with sole_orchestrator(url):
        Queue(created, orchestrator="a1").enter(host="box", process="12:345")
        upgrade(url)  # of this version: there is nothing to do
        set_version(created, "0001")

        with pytest.raises(StoreBusyError, match="orchestrator works on this store: process"):
            upgrade(url)


def test_orchestrator_that_is_gone_keeps_no_store_from_being_upgraded(
    url: str, created: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated: list[object] = []
    monkeypatch.setattr("orchestrator.store.migrations.migrate", migrated.append)
    Queue(created, now=SettableClock(), orchestrator="a1").enter(host="box", process="12:345")
    set_version(created, "0001")

    upgrade(url)

    assert len(migrated) == 1


def test_upgrade_keeps_all_that_an_old_store_holds(url: str) -> None:
    make_store_of_version_1(url)
    with pytest.raises(StoreVersionError, match="run `trainyard db upgrade`"):
        open_store(url, create=False)

    upgrade(url)

    engine = open_store(url, create=False)
    with reading(engine) as connection:
        rows = {
            name: [dict(row) for row in connection.execute(query_of(name)).mappings()]
            for name in OLD_ROWS
        }
    experiment = rows["experiment"][0]
    assert experiment.pop("failures_forgiven") == 0
    assert experiment["execution"] == {
        **OLD_ROWS["experiment"][0]["execution"],
        "max_losses": 3,
        "stall_timeout": 600.0,
        "reuse": True,
    }
    assert Execution(**experiment["execution"]) == Execution(retries=1)
    experiment["execution"] = OLD_ROWS["experiment"][0]["execution"]
    new = {
        "spent": [{}, {"error": 2, "lost": 1}, {}, {"lost": 1}, {"error": 3}],
        "shared_key": ["a", "b", "c", None, "d"],
        "reused_from": [None] * 5,
        "orchestrator": [None, None, "", "", None],
        "is_paused": [False] * 5,
        "stop_requested": [None, None, "cancel", None, None],
        "pack_shape": [None] * 5,
        "strategy": [None] * 5,
    }
    for name, values in new.items():
        assert [row.pop(name) for row in rows["trial"]] == values, name
    for row in rows["attempt"]:
        assert (row.pop("orchestrator"), row.pop("begun_epoch")) == ("", 0)
    assert rows["outbox"][0].pop("failed_at") is None
    gone = {"failures", "losses", "stop_requested"}
    old_trials = [{name: row[name] for name in row.keys() - gone} for row in OLD_ROWS["trial"]]
    assert rows == {**OLD_ROWS, "trial": old_trials}
    engine.dispose()


def test_upgraded_store_is_as_durable_and_private_as_a_new_one(url: str) -> None:
    make_store_of_version_1(url)
    upgrade(url)
    engine = open_store(url, create=False)
    with writing(engine) as connection:
        if (path := sqlite_path(url)) is not None:
            assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
            assert connection.scalar(text("PRAGMA foreign_keys")) == 1
            assert path.stat().st_mode & 0o777 == 0o600
        require_same_as_created(connection)
    engine.dispose()


def query_of(name: str) -> Select[Any]:
    table = metadata.tables[name]
    return select(table).order_by(*table.primary_key)
