import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from experiments.states import IncidentKind
from orchestrator.measurements.results import Results
from orchestrator.mirroring.mirror_lock import MirrorLock
from orchestrator.queueing.outbox import Outbox
from orchestrator.queueing.queue import Queue
from orchestrator.settings import from_environment
from orchestrator.store.database import open_store
from orchestrator.store.outages import StoreOutageError
from tests.samples import claim, submit
from trainyard.checks import check_installation
from trainyard.findings import Check


def checks(home: Path, **more: str) -> dict[str, Check]:
    settings = from_environment({"TRAINYARD_HOME": str(home), **more})
    return {check.name: check for check in check_installation(settings)}


def test_a_fresh_installation_is_in_order_and_nothing_is_made(tmp_path: Path) -> None:
    found = checks(tmp_path / "home")
    assert [check for check in found.values() if not check.ok] == []
    assert "not made yet" in found["store"].found
    assert not (tmp_path / "home").exists()


def test_a_store_that_is_none_is_a_fault_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "trainyard.db").write_text("no database")
    store = checks(tmp_path)["store"]
    assert not store.ok
    assert store.mend


@pytest.mark.usefixtures("broken_package")
def test_a_package_whose_model_cannot_be_used_is_a_fault_with_a_mend(tmp_path: Path) -> None:
    check = checks(tmp_path)["package's model"]
    assert (check.ok, bool(check.mend)) == (False, True)
    assert "bad_net" in check.found


def test_a_home_that_is_a_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    assert not checks(tmp_path / "home")["home"].ok


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "TRAINYARD_DATABASE_URL"])
def test_no_password_is_shown(tmp_path: Path, variable: str) -> None:
    scheme = "http" if variable.startswith("MLFLOW") else "postgresql"
    found = checks(tmp_path, **{variable: f"{scheme}://me:sesame@127.0.0.1:1/x"})
    assert "sesame" not in repr(found)
    assert not all(check.ok for check in found.values())


def test_a_home_that_others_can_read_is_a_fault_with_its_mend(tmp_path: Path) -> None:
    home = tmp_path / "the home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    open_store(f"sqlite:///{home / 'trainyard.db'}", create=True).dispose()
    found = checks(home)["privacy"]
    assert (found.ok, found.mend) == (False, f"chmod 700 '{home}'")
    home.chmod(0o700)
    assert "privacy" not in checks(home)
    (home / "trainyard.db").chmod(0o644)
    assert checks(home)["privacy"].mend == f"chmod 600 '{home}/trainyard.db'"


def test_what_went_wrong_lately_is_told_with_what_can_be_done(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'trainyard.db'}", create=True)
    queue = Queue(engine, orchestrator="a1")
    for kind in IncidentKind:
        queue.note(kind, f"{kind}: queued again")
    engine.dispose()
    settings = from_environment({"TRAINYARD_HOME": str(tmp_path)})
    told = [check for check in check_installation(settings) if check.name == "lately"]
    assert len(told) == len(IncidentKind)
    assert all(check.ok and check.mend and "queued again" in check.found for check in told)


def test_an_orchestrator_that_is_gone_is_a_fault_if_it_left_trials_that_none_takes_up(
    tmp_path: Path,
) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'trainyard.db'}", create=True)
    assert checks(tmp_path)["orchestrator"].found == "none works on the store"
    queue = Queue(engine, orchestrator="a1")
    queue.enter(host=socket.gethostname(), process="1:0")
    gone = checks(tmp_path)["orchestrator"]
    assert (gone.ok, gone.mend) == (True, "")
    assert gone.found.startswith("process 1 is gone; it left no trial under way (last seen ")
    submit(queue, 3)
    claim(queue, 2)
    gone = checks(tmp_path)["orchestrator"]
    assert (gone.ok, gone.mend) == (False, "`trainyard up --until-idle` takes them up")
    assert gone.found.startswith("process 1 is gone; it left 2 trials under way (last seen ")
    Queue(engine, orchestrator="b2").enter(host="elsewhere", process="7:7")
    engine.dispose()
    settings = from_environment({"TRAINYARD_HOME": str(tmp_path)})
    told = [check for check in check_installation(settings) if check.name == "orchestrator"]
    assert [check.ok for check in told] == [True, True]
    assert "process 7 on elsewhere" in told[0].found
    assert "it left 2 trials under way" in told[1].found


def test_a_store_that_is_away_is_a_fault_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = checks(tmp_path, TRAINYARD_DATABASE_URL="postgresql://me@127.0.0.1:1/yard")["store"]
    assert (store.ok, store.mend) == (False, "start the server at 127.0.0.1:1, or see its log")
    assert store.mend not in store.found

    open_store(f"sqlite:///{tmp_path / 'trainyard.db'}", create=True).dispose()

    def is_full(*_: object, **__: object) -> None:
        raise StoreOutageError("disk is full", mend="make room on its disk")

    monkeypatch.setattr(Results, "orchestrators", is_full)
    assert checks(tmp_path)["store"] == Check(
        "store", False, "disk is full", "make room on its disk"
    )


@pytest.mark.postgres
def test_after_an_outage_the_advice_begins_with_what_holds_the_store(
    tmp_path: Path, new_postgres_url: Callable[[], str]
) -> None:
    in_file, on_server = f"sqlite:///{tmp_path / 'trainyard.db'}", new_postgres_url()
    for url, first in ((in_file, "make room"), (on_server, "look at the server's log")):
        engine = open_store(url, create=True)
        Queue(engine).note(IncidentKind.STORE_UNREACHABLE, "away for 14 s")
        engine.dispose()
        lately = checks(tmp_path, TRAINYARD_DATABASE_URL=url)["lately"]
        assert lately.mend.startswith(f"if it goes on: {first}")


def test_what_mlflow_was_not_told_is_a_fault_only_where_it_was_tried(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'trainyard.db'}", create=True)
    submit(Queue(engine), 1)
    Queue(engine).cancel(experiment_id="exp1")
    waiting = checks(tmp_path)["MLflow's backlog"]
    assert (waiting.ok, waiting.found) == (True, "1 note waits to be told")
    assert waiting.mend == "`trainyard run`, `up` and `mlflow` tell it"
    with closing(MirrorLock(f"sqlite:///{tmp_path / 'trainyard.db'}")) as lock:
        assert lock.take()
        assert checks(tmp_path)["MLflow's backlog"].mend == f"process {os.getpid()} tells it"
    outbox = Outbox(engine)
    outbox.mark_failed(outbox.pending(1)[0], "no answer\n at all", delay_seconds=60)
    refused = checks(tmp_path)["MLflow's backlog"]
    engine.dispose()
    assert not refused.ok
    assert "1 of them tried in vain: no answer at all" in refused.found
    assert refused.mend


def test_leftovers_are_counted_and_nothing_is_removed(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path / 'trainyard.db'}", create=True)
    submit(Queue(engine), 1)
    Queue(engine).cancel(experiment_id="exp1")
    engine.dispose()
    file = tmp_path / "checkpoints" / "exp1-0001" / "0000" / "best-0001.pt"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(2048))
    left = checks(tmp_path)["leftovers"]
    assert (left.ok, left.found, "gc" in left.mend) == (True, "2.0 KiB of no more use", True)
    assert file.exists()


def test_an_open_cluster_is_a_fault_that_says_what_to_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)  # Ray sets it where it has been started
    ray = checks(tmp_path, RAY_ADDRESS="10.0.0.1:6379")["Ray"]
    assert not ray.ok
    assert "RAY_AUTH_MODE=token" in ray.found
