import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.errors import StoreBusyError, StoreError
from orchestrator.instance import (
    host_of,
    is_running,
    own_process,
    place_on,
    sole_orchestrator,
)

HOLD = """
import sys
from orchestrator.instance import sole_orchestrator
with sole_orchestrator(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""

HOLD_WITH_A_CHILD = """
import subprocess
import sys
from orchestrator.instance import sole_orchestrator
with sole_orchestrator(sys.argv[1]):
    subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trainyard.db'}"


def a_holder(url: str, repository: Path, *, program: str = HOLD) -> subprocess.Popen[bytes]:
    """Start a process that holds the store until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, url],
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_second_orchestrator_is_refused_and_told_the_holder(url: str, repository: Path) -> None:
    with (
        a_holder(url, repository) as holder,
        pytest.raises(StoreBusyError, match=rf"process {holder.pid} on .*`kill {holder.pid}`"),
        sole_orchestrator(url),
    ):
        pytest.fail("two orchestrators on one SQLite store")


def test_lock_vanishes_with_a_killed_process(url: str, repository: Path) -> None:
    with a_holder(url, repository) as holder:
        holder.kill()
        holder.wait()

        with sole_orchestrator(url):
            pass


def test_a_child_that_outlives_its_orchestrator_does_not_hold_the_lock(
    url: str, repository: Path
) -> None:
    with a_holder(url, repository, program=HOLD_WITH_A_CHILD) as holder:
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text()
        holder.kill()
        holder.wait()
        child = int(children)
        try:
            with sole_orchestrator(url):
                os.kill(child, 0)  # it is there
        finally:
            os.kill(child, signal.SIGKILL)


def test_lock_can_be_taken_where_the_disk_is_full(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with (
        sole_orchestrator(url),
        pytest.raises(StoreBusyError, match="has just started"),
        sole_orchestrator(url),
    ):
        pytest.fail("two orchestrators on one SQLite store")


def test_lock_can_be_taken_again_after_it_was_given_up(url: str) -> None:
    for _ in range(2):
        with sole_orchestrator(url):
            pass


def test_two_paths_to_one_file_meet(tmp_path: Path, url: str) -> None:
    (tmp_path / "trainyard.db").touch()
    (tmp_path / "link.db").symlink_to("trainyard.db")

    with (
        sole_orchestrator(url),
        pytest.raises(StoreBusyError),
        sole_orchestrator(f"sqlite:///{tmp_path / 'link.db'}"),
    ):
        pytest.fail("two orchestrators on one SQLite file")


def test_holder_that_has_not_signed_yet_is_still_respected(tmp_path: Path, url: str) -> None:
    with sole_orchestrator(url):
        (tmp_path / "trainyard.db.lock").write_text("")

        with pytest.raises(StoreBusyError, match="has just started"), sole_orchestrator(url):
            pytest.fail("two orchestrators on one SQLite store")


def test_killed_process_is_not_named_as_the_holder(
    tmp_path: Path, url: str, repository: Path
) -> None:
    with a_holder(url, repository) as holder:
        holder.kill()
        holder.wait()
    lock = tmp_path / "trainyard.db.lock"
    assert str(holder.pid) in lock.read_text()

    with lock.open() as file:  # another one, which has not signed yet
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StoreBusyError, match="has just started"), sole_orchestrator(url):
            pytest.fail("two orchestrators on one SQLite store")


def test_lock_that_was_given_up_names_nobody(tmp_path: Path, url: str) -> None:
    with sole_orchestrator(url):
        assert (tmp_path / "trainyard.db.lock").read_text()

    assert (tmp_path / "trainyard.db.lock").read_text() == ""


def test_lock_of_another_user_is_a_store_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with (
        pytest.raises(StoreError, match=r"trainyard\.db\.lock.*Permission denied.*another user"),
        sole_orchestrator(url),
    ):
        pytest.fail("locked what cannot be opened")


def test_lock_that_cannot_be_opened_is_a_store_error(tmp_path: Path, url: str) -> None:
    (tmp_path / "trainyard.db.lock").mkdir()

    with pytest.raises(StoreError, match="cannot be opened: Is a directory"):
        sole_orchestrator(url).__enter__()


def test_lock_may_come_before_the_folder_of_its_store(tmp_path: Path) -> None:
    with sole_orchestrator(f"sqlite:///{tmp_path / 'new' / 'yard' / 'trainyard.db'}"):
        assert (tmp_path / "new" / "yard").stat().st_mode & 0o777 == 0o700


def test_lock_is_for_its_owner_only(tmp_path: Path, url: str) -> None:
    with sole_orchestrator(url):
        assert (tmp_path / "trainyard.db.lock").stat().st_mode & 0o777 == 0o600


def test_postgresql_is_shared_by_any_number() -> None:
    url = "postgresql+psycopg://db/yard"

    with sole_orchestrator(url), sole_orchestrator(url):
        pass


def test_a_process_runs_until_it_ends_and_a_later_one_of_its_number_is_another() -> None:
    assert is_running(own_process())
    number, _, start = own_process().partition(":")
    assert not is_running(f"{number}:{int(start) + 1}")
    with subprocess.Popen(["sleep", "60"]) as process:
        stat = Path(f"/proc/{process.pid}/stat").read_text().split()
        name = f"{process.pid}:{stat[21]}"
        assert is_running(name)
        process.send_signal(signal.SIGSTOP)
        assert is_running(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not is_running(name)  # a zombie by now
    assert not is_running(name)


def test_process_whose_start_cannot_be_told_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    name = own_process()

    def refuse(_: Path) -> bytes:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # as `hidepid` does

    assert is_running(name)


def test_place_tells_machines_and_containers_of_one_hostname_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = place_on("box")
    assert here == place_on("box")
    assert host_of(here) == "box"
    assert place_on("other") != here
    for what in ("_boot", "_namespace"):
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(f"orchestrator.instance.{what}", lambda: "1")
            assert place_on("box") != here
