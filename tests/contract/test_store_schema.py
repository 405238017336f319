"""The schema: made at once or migrated step by step, it is the same."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text

from experiments.errors import StoreVersionError
from orchestrator import sqlite_file
from orchestrator.database import StoreMissingError, open_store, reading, upgrade, writing
from orchestrator.migrations import configuration, migrate
from orchestrator.settings import sqlite_path
from orchestrator.tables import SCHEMA_VERSION, VERSION_TABLE, metadata

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

    Sorted, since a table's constraints may stand in another order.
    """
    rows = connection.execute(text(DEFINITIONS[connection.dialect.name]))
    return {name: sorted(sql.replace(",", " ").split()) for name, sql in rows}


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
        # Alembic does not compare the conditions of partial indexes, nor rowids.
        migrated = definitions(connection)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        assert definitions(connection) == migrated
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
