import hashlib
import os
from pathlib import Path

import pytest

from workers import failpoint
from workers.files import put_in_place, sha256_of, whole_folder, write_whole


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is flushed (by name) and renamed, in order."""
    seen: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        seen.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').resolve().name}")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> Path:
        seen.append(f"{source.name} -> {target.name}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    return seen


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, steps: list[str]) -> None:
    write_whole(tmp_path / "a.pt", b"content")
    assert (tmp_path / "a.pt").read_bytes() == b"content"
    assert steps == ["fsync .a.pt.partial", ".a.pt.partial -> a.pt", f"fsync {tmp_path.name}"]


def test_a_folder_is_put_in_place_like_a_file(tmp_path: Path, steps: list[str]) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "file").touch()
    put_in_place(tmp_path / "partial", tmp_path / "whole")
    assert [path.name for path in (tmp_path / "whole").iterdir()] == ["file"]
    assert steps == ["fsync partial", "partial -> whole", f"fsync {tmp_path.name}"]


def test_a_failed_write_leaves_the_previous_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "a.pt", b"good")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a.pt", b"better")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.pt": b"good"}


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()


def test_a_process_can_be_made_to_die_before_and_after_a_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []

    def note(name: str) -> None:
        seen.append((name, (tmp_path / "a.pt").exists()))

    monkeypatch.setattr(failpoint, "passing", note)
    write_whole(tmp_path / "a.pt", b"content")
    assert seen == [("before the rename to a.pt", False), ("after the rename to a.pt", True)]


def test_new_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out") as folder:
        (folder / "no such folder" / "one").write_text("1")
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "deep" / "out") as folder:
        (folder / "one").write_text("1")
    assert (tmp_path / "deep" / "out" / "one").read_text() == "1"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_folder_that_exists_keeps_what_is_not_written_again(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    for name in ("mine", "one"):
        (place / name).write_text("old")
    with whole_folder(place) as folder:
        assert folder.parent == place, "what is around it may be another file system, or not ours"
        (folder / "one").write_text("new")
    assert {path.name: path.read_text() for path in place.iterdir()} == {
        "mine": "old",
        "one": "new",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
