"""The orchestrator's handle on the mirror, and what it does where MLflow's database is gone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from orchestrator.mirroring.mirror import Mirror, is_database_missing
from orchestrator.queueing.outbox import Outbox
from orchestrator.queueing.queue import Queue
from orchestrator.settings import Settings, from_environment
from orchestrator.store.database import open_store
from tests.samples import submit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return from_environment({"TRAINYARD_HOME": str(tmp_path)})


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """A store of two trials that have ended, of which MLflow has been told."""
    engine = open_store(settings.database_url, create=True)
    submit(Queue(engine), 2)
    Queue(engine).cancel(experiment_id="exp1")
    outbox = Outbox(engine)
    for entry in outbox.pending(2):
        outbox.mark_done(entry)
    yield engine
    engine.dispose()


def database_of(settings: Settings, content: bytes | None) -> None:
    if content is not None:
        (settings.home / "mlflow.db").write_bytes(content)


@pytest.mark.parametrize("content", [None, b""])
def test_all_is_told_again_once_where_the_homes_database_is_gone(
    settings: Settings, engine: Engine, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    database_of(settings, content)
    beside = Mirror(settings, engine=engine)

    assert [beside.num_pending(), beside.num_pending()] == [2, 2]
    (warning,) = caplog.messages
    assert f"MLflow's database is gone (sqlite:///{settings.home}/mlflow.db)" in warning
    assert "2 runs and models" in warning


def test_it_is_told_again_before_a_process_makes_a_new_database(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = []

    def start(*_: object, **__: object) -> None:
        pending.append(Outbox(engine).num_pending())
        raise OSError("no process")

    monkeypatch.setattr("subprocess.Popen", start)
    with pytest.raises(OSError, match="no process"):
        Mirror(settings, engine=engine).start()
    assert pending == [2]


def test_nothing_is_told_again_where_the_database_is_there(
    settings: Settings, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    database_of(settings, b"SQLite format 3")

    assert Mirror(settings, engine=engine).num_pending() == 0
    assert not caplog.messages


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "sqlite:////elsewhere/mlflow.db"])
def test_a_tracking_store_of_ones_own_is_not_taken_for_lost(
    settings: Settings, engine: Engine, uri: str
) -> None:
    assert is_database_missing(settings)
    settings = replace(settings, mlflow_uri=uri)

    assert not is_database_missing(settings)
    assert Mirror(settings, engine=engine).num_pending() == 0


def test_a_new_home_has_nothing_to_tell_again(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_store(settings.database_url, create=True)
    assert Mirror(settings, engine=engine).num_pending() == 0
    assert not caplog.messages
    engine.dispose()
