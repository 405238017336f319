"""One process at a time tells MLflow of a SQLite store."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.mirroring.mirror_lock import MirrorLock, teller


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'trainyard.db'}"


def test_of_two_one_holds_it_until_its_end(url: str) -> None:
    with closing(MirrorLock(url)) as first, closing(MirrorLock(url)) as second:
        assert first.take()
        assert first.take()
        assert not second.take()
        first.close()
        assert second.take()


def test_who_holds_it_can_be_asked_and_keeps_it(url: str) -> None:
    assert teller(url) is None
    with closing(MirrorLock(url)) as lock:
        assert lock.take()
        assert teller(url) == os.getpid()
        assert not MirrorLock(url).take()
    assert teller(url) is None


def test_two_names_of_one_store_meet(url: str, tmp_path: Path) -> None:
    (tmp_path / "trainyard.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "trainyard.db")
    with closing(MirrorLock(url)) as lock:
        assert lock.take()
        assert not MirrorLock(f"sqlite:///{tmp_path / 'link.db'}").take()


def test_a_shared_store_has_a_lock_of_its_servers() -> None:
    url = "postgresql+psycopg://me@there/yard"
    assert MirrorLock(url).take()
    assert MirrorLock(url).take()
    assert teller(url) is None
