import gzip
import hashlib
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest

from experiments.data.datasets import facts
from experiments.errors import DatasetChecksumError, DatasetUnavailableError
from workers.datasets import downloads
from workers.datasets.downloads import read_cifar10, read_fashion_mnist, read_mnist

NAMES = tuple(downloads._MNIST.md5)


def ignore(line: str) -> None:
    """Take no notice of progress."""


def idx(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Write an array of bytes in the IDX format."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


IMAGES = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(2, 28, 28)
FILES = dict(zip(NAMES, [idx(IMAGES), idx(np.array([3, 7], np.uint8))] * 2, strict=True))


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MNIST folder, and checksums of the little files of this test."""
    md5: dict[str, str | None] = {
        name: hashlib.md5(content).hexdigest() for name, content in FILES.items()
    }
    monkeypatch.setattr(downloads, "_MNIST", downloads._Unpacked("MNIST", md5))
    folder = tmp_path / "root" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (tmp_path / "work").mkdir()
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", refuse)


def read(raw: Path) -> Any:
    root = raw.parent.parent
    return read_mnist(root=root, work=root.parent / "work", progress=ignore)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("packed", [True, False])
def test_files_in_place_are_read_packed_or_not(raw: Path, packed: bool) -> None:
    for name, content in FILES.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
        if not packed:
            (raw / f"{name}.gz").unlink()
            (raw / name).write_bytes(content)
    before = sorted(raw.iterdir())
    data = read(raw)
    (images,) = data.test.inputs
    assert np.array_equal(images, IMAGES[:, None])
    assert data.train.targets.tolist() == [3, 7]
    assert sorted(raw.iterdir()) == before


@pytest.mark.usefixtures("offline")
def test_offline_every_missing_file_is_named_with_its_place(raw: Path) -> None:
    (raw / NAMES[0]).write_bytes(FILES[NAMES[0]])
    with pytest.raises(DatasetUnavailableError, match="no route to host") as caught:
        read(raw)
    for name in NAMES[1:]:
        assert str(raw / f"{name}.gz") in str(caught.value)
    assert str(raw / f"{NAMES[0]}.gz") not in str(caught.value)
    assert "TRAINYARD_DATA" in str(caught.value)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(gzip.compress(FILES[NAMES[1]] + b"\0")),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(b"<html>not found</html>"),
    ],
    ids=["altered", "truncated", "another file"],
)
def test_a_spoiled_file_is_refused(raw: Path, spoil: Callable[[Path], object]) -> None:
    for name, content in FILES.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
    spoil(raw / f"{NAMES[1]}.gz")
    with pytest.raises(DatasetChecksumError, match=f"{NAMES[1]}.*fetch it again"):
        read(raw)


def test_a_missing_file_is_downloaded_whole(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(url: str, root: str, *, filename: str, md5: str) -> None:
        asked.append(url)
        if len(asked) == 1:
            Path(root, filename).write_bytes(b"half")
            raise URLError("connection lost")
        Path(root, filename).write_bytes(gzip.compress(FILES[filename.removesuffix(".gz")]))
        assert len(md5) == 32

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    assert read(raw).train.targets.tolist() == [3, 7]
    assert sorted(path.name for path in raw.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    assert len(asked) == 5  # the first mirror failed once


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_download_draws_a_bar_on_a_terminal_and_says_two_lines_anywhere(
    raw: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_terminal: bool,
) -> None:
    for name in NAMES[1:]:
        (raw / name).write_bytes(FILES[name])
    content = gzip.compress(FILES[NAMES[0]])

    def fetch(url: str, root: str, *, filename: str, md5: str) -> None:
        assert url
        assert md5
        sys.stderr.write("\r50.0%\r100.0%")  # as torchvision does
        Path(root, filename).write_bytes(content)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    said: list[str] = []
    root = raw.parent.parent
    read_mnist(root=root, work=root.parent / "work", progress=said.append)
    assert capsys.readouterr().err == ("\r50.0%\r100.0%" if is_terminal else "")
    assert said == [
        f"mnist: downloading {NAMES[0]}.gz to {raw}",
        f"mnist: downloaded {NAMES[0]}.gz, {len(content):,} bytes",
    ]


@pytest.mark.usefixtures("offline")
def test_packed_fashion_mnist_is_held_to_its_published_checksum(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in FILES.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DatasetChecksumError, match=r"fashion_mnist: .* expected 8d4fb7e6"):
        read_fashion_mnist(root=tmp_path, work=tmp_path / "work", progress=ignore)


@pytest.mark.usefixtures("offline")
def test_offline_cifar10_names_its_archive(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailableError, match=r"  .*/cifar-10-python\.tar\.gz$"):
        read_cifar10(root=tmp_path, work=tmp_path / "work", progress=ignore)


def test_an_altered_cifar10_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"not CIFAR-10")
    with pytest.raises(DatasetChecksumError, match="does not hold the published files"):
        read_cifar10(root=tmp_path, work=tmp_path / "work", progress=ignore)


def test_an_altered_cifar10_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"not CIFAR-10")
    with pytest.raises(DatasetChecksumError, match="expected c58f3010"):
        read_cifar10(root=tmp_path, work=tmp_path / "work", progress=ignore)


def test_the_real_mnist_is_read(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "MNIST" / "raw"
    if not source.is_dir():
        pytest.skip(f"no MNIST in {source}")
    shutil.copytree(source, tmp_path / "MNIST" / "raw")
    (tmp_path / "work").mkdir()
    known = facts("mnist", {}, root=tmp_path)
    data = read_mnist(root=tmp_path, work=tmp_path / "work", progress=ignore)
    (images,) = data.train.inputs
    assert images.shape == (known.num_train, *known.input_shape)
    assert np.bincount(data.test.targets).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
