import hashlib
import itertools
import os
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.errors import CheckpointError
from workers.checkpoints import CheckpointFolder, load, save, seconds_of

MODEL = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.zeros(2)}


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    saved = save(tmp_path / "deep" / "best.pt", MODEL, epoch=3, step=120, note={"a": [1, "b"]})
    contents = load(saved.path, sha256=saved.sha256)
    assert contents.keys() == {"format", "model", "epoch", "step", "note"}
    assert (contents["format"], contents["epoch"], contents["step"]) == (2, 3, 120)
    assert contents["note"] == {"a": [1, "b"]}
    for name, tensor in MODEL.items():
        assert torch.equal(contents["model"][name], tensor)


def test_the_digest_and_length_are_those_of_the_file(tmp_path: Path) -> None:
    saved = save(tmp_path / "last.pt", MODEL, epoch=1, step=1)
    content = saved.path.read_bytes()
    assert saved.sha256 == hashlib.sha256(content).hexdigest()
    assert saved.num_bytes == len(content)


def test_equal_contents_give_equal_bytes(tmp_path: Path) -> None:
    one = save(tmp_path / "one" / "best.pt", MODEL, epoch=1, step=1)
    two = save(tmp_path / "two" / "last.pt", MODEL, epoch=1, step=1)
    assert one.sha256 == two.sha256


@pytest.mark.parametrize(
    "spoil",
    [lambda b: b[:-1], lambda b: b[:50] + b"\0" + b[51:], lambda b: b[:0], lambda b: b + b"\0"],
    ids=["truncated", "altered", "empty", "longer"],
)
def test_other_bytes_are_refused(tmp_path: Path, spoil: Any) -> None:
    saved = save(tmp_path / "best.pt", MODEL, epoch=1, step=1)
    saved.path.write_bytes(spoil(saved.path.read_bytes()))
    with pytest.raises(CheckpointError, match="truncated or altered"):
        load(saved.path, sha256=saved.sha256)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"best\.pt: the checkpoint cannot be read"):
        load(tmp_path / "best.pt", sha256="0" * 64)


class Harmful:
    """Something that would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("harm",))


@pytest.mark.parametrize("kind", ["pickle", "torch", "text", "another format"])
def test_a_file_that_is_no_checkpoint_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "best.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Harmful()))
    elif kind == "torch":
        torch.save({"format": 1, "model": Harmful()}, path)
    elif kind == "text":
        path.write_text("hello")
    else:
        torch.save({"format": 99}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        load(path, sha256=digest)
    assert not (tmp_path / "harm").exists()


def test_a_failed_write_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save(tmp_path / "best.pt", MODEL, epoch=1, step=1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path / "best.pt", MODEL, epoch=2, step=2)
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]
    assert load(saved.path, sha256=saved.sha256)["epoch"] == 1


def test_a_full_disk_is_an_os_error_however_far_the_file_got(tmp_path: Path) -> None:
    model = {"weight": torch.zeros(200_000)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # torch: RuntimeError
    try:
        with pytest.raises(OSError, match="File too large"):
            save(tmp_path / "best.pt", model, epoch=1, step=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Watch:
    """A timer that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def slow_folder(tmp_path: Path) -> CheckpointFolder:
    """A folder whose trial takes an hour between two checkpoints."""
    hours = itertools.count()
    return CheckpointFolder(tmp_path, timer=lambda: 3600.0 * next(hours))


def test_a_checkpoint_outlives_its_successor_by_one_save(
    tmp_path: Path, slow_folder: CheckpointFolder
) -> None:
    one = slow_folder.save("best", MODEL, epoch=1, step=1)
    slow_folder.save("best", MODEL, epoch=4, step=4)
    assert load(one.path, sha256=one.sha256)["epoch"] == 1  # the store may know only this one
    slow_folder.save("best", MODEL, epoch=12345, step=5)
    assert names_in(tmp_path) == ["best-0004.pt", "best-12345.pt"]


def test_no_young_checkpoint_goes_however_many_follow_it(tmp_path: Path, watch: Watch) -> None:
    folder = CheckpointFolder(tmp_path, timer=watch)
    for epoch in range(1, 7):
        watch.seconds = 5.0 * epoch  # so the fifth is 20 s younger than the first, the sixth 25
        folder.save("last", MODEL, epoch=epoch, step=epoch)
        assert len(names_in(tmp_path)) == min(epoch, 5)
    assert names_in(tmp_path)[0] == "last-0002.pt"


def test_seconds_stand_in_the_name_and_change_no_byte(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    one = folder.save("last", MODEL, epoch=4, step=9, seconds=83.2504)
    other = folder.save("last", MODEL, epoch=4, step=9, seconds=0.0)
    assert names_in(tmp_path) == ["last-0004-0ms.pt", "last-0004-83250ms.pt"]
    assert (seconds_of(one.path), seconds_of(other.path)) == (83.25, 0.0)
    assert one.sha256 == other.sha256
    assert seconds_of(Path("last-0004.pt")) == 0.0


def test_a_file_of_the_first_format_is_read(tmp_path: Path) -> None:
    torch.save({"format": 1, "model": MODEL, "epoch": 3}, tmp_path / "old.pt")
    digest = hashlib.sha256((tmp_path / "old.pt").read_bytes()).hexdigest()
    assert load(tmp_path / "old.pt", sha256=digest)["epoch"] == 3


def test_one_kind_of_checkpoint_never_removes_another(
    tmp_path: Path, slow_folder: CheckpointFolder
) -> None:
    slow_folder.save("best", MODEL, epoch=1, step=1)
    for epoch in (1, 2, 3):
        slow_folder.save("last", MODEL, epoch=epoch, step=epoch)
    assert names_in(tmp_path) == ["best-0001.pt", "last-0002.pt", "last-0003.pt"]


def test_a_failed_save_removes_no_earlier_checkpoint(
    tmp_path: Path, slow_folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epoch in (1, 2):
        slow_folder.save("best", MODEL, epoch=epoch, step=epoch)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        slow_folder.save("best", MODEL, epoch=3, step=3)
    assert names_in(tmp_path) == ["best-0001.pt", "best-0002.pt"]


def test_an_old_checkpoint_that_cannot_be_removed_costs_nothing_else(
    slow_folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "unlink", refuse)
    for epoch in (1, 2, 3):
        saved = slow_folder.save("best", MODEL, epoch=epoch, step=epoch)
    assert load(saved.path, sha256=saved.sha256)["epoch"] == 3
