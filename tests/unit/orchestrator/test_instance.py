import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.errors import StoreBusyError, StoreError
from orchestrator.instance import sole_orchestrator

HOLD = """
import sys
from orchestrator.instance import sole_orchestrator
with sole_orchestrator(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trainyard.db'}"


def a_holder(url: str, repository: Path) -> subprocess.Popen[bytes]:
    """Start a process that holds the store until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
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
