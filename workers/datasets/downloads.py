"""MNIST, Fashion-MNIST and CIFAR-10: found below the data root, or downloaded to it.

torchvision knows addresses, checksums and formats. It is imported inside the functions,
because it takes seconds and is wanted once a machine. Whatever is unpacked goes to a
working folder that the caller removes, so the data root holds only whole files.
"""

import gzip
import hashlib
import io
import shutil
import socket
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from experiments.data.published_sets import MNIST_MD5
from experiments.errors import DatasetChecksumError, DatasetError, DatasetUnavailableError
from workers.datasets.raw import Progress, RawData, RawSplit, whole

_SILENCE_SECONDS: Final = 30.0  # a mirror that says nothing for so long is given up


@dataclass(frozen=True, slots=True)
class _Unpacked:
    """The four IDX files of a set by name, with the MD5 of what is in them (if known)."""

    class_name: str
    md5: dict[str, str | None]


_IDX_FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_MNIST: Final = _Unpacked(
    "MNIST",
    dict(zip(_IDX_FILES, MNIST_MD5, strict=True)),
)
# Only the packed files' checksums are published; unpacked ones are taken as they are.
_FASHION_MNIST: Final = _Unpacked("FashionMNIST", dict.fromkeys(_IDX_FILES))


def read_mnist(*, root: Path, work: Path, progress: Progress) -> RawData:
    """Read MNIST from `<root>/MNIST/raw`, packed or not, or download it there.

    Raises:
        DatasetUnavailableError: A file is missing and cannot be downloaded; the message says which.
        DatasetError: A file is not what torchvision can read.
        DatasetChecksumError: A file is not the published one.
    """
    return _read_idx("mnist", _MNIST, root=root, work=work, progress=progress)


def read_fashion_mnist(*, root: Path, work: Path, progress: Progress) -> RawData:
    """Read Fashion-MNIST from `<root>/FashionMNIST/raw`; see `read_mnist`."""
    return _read_idx("fashion_mnist", _FASHION_MNIST, root=root, work=work, progress=progress)


def read_cifar10(*, root: Path, work: Path, progress: Progress) -> RawData:
    """Read CIFAR-10 from its archive or its unpacked folder, or download the archive.

    torchvision checks the MD5 of every unpacked file before it opens it.

    Raises:
        DatasetUnavailableError: There is neither, and the archive cannot be downloaded.
        DatasetChecksumError: The archive is not the published one.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import extract_archive

    base = root
    if not (root / CIFAR10.base_folder).is_dir():
        archive = root / CIFAR10.filename
        if not archive.exists():
            _download(
                "cifar10",
                [CIFAR10.url],
                archive,
                md5=CIFAR10.tgz_md5,
                work=work,
                needed=[archive],
                progress=progress,
            )
        _check("cifar10", archive, CIFAR10.tgz_md5)
        progress("cifar10: unpacking")
        extract_archive(str(archive), str(work))
        base = work

    def split(*, train: bool) -> RawSplit:
        try:
            found = CIFAR10(base, train=train, download=False)
        except RuntimeError as error:
            raise DatasetChecksumError(
                f"cifar10: {base / CIFAR10.base_folder} does not hold the published files; "
                f"remove it, and put {CIFAR10.filename} into {root} or let it be downloaded"
            ) from error
        images = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2))
        return whole(images, np.array(found.targets, dtype=np.int64))

    return RawData(train=split(train=True), test=split(train=False))


def _read_idx(
    name: str, files: _Unpacked, *, root: Path, work: Path, progress: Progress
) -> RawData:
    from torchvision import datasets

    loader: Any = getattr(datasets, files.class_name)
    raw, unpacked = root / files.class_name / "raw", work / files.class_name / "raw"
    unpacked.mkdir(parents=True)
    packed_md5 = {raw / packed: md5 for packed, md5 in loader.resources}
    missing = [p for p in packed_md5 if not p.exists() and not p.with_suffix("").exists()]
    for target in missing:
        urls = [mirror + target.name for mirror in loader.mirrors]
        md5 = packed_md5[target]
        _download(name, urls, target, md5=md5, work=work, needed=missing, progress=progress)
    for packed, md5 in packed_md5.items():
        _unpack(name, packed, unpacked, packed_md5=md5, md5=files.md5[packed.stem])

    def split(*, train: bool) -> RawSplit:
        try:
            found = loader(work, train=train, download=False)
        except (AssertionError, ValueError, OSError) as error:
            raise DatasetError(f"{name}: the files in {raw} cannot be read: {error}") from error
        return whole(found.data.numpy()[:, None], found.targets.numpy())

    return RawData(train=split(train=True), test=split(train=False))


def _unpack(name: str, packed: Path, folder: Path, *, packed_md5: str, md5: str | None) -> None:
    """Put one file into the folder, unpacked and held to the checksum that is known of it."""
    source, target = packed.with_suffix(""), folder / packed.stem
    if source.exists():
        shutil.copyfile(source, target)
    else:
        source = packed
        if md5 is None:
            _check(name, packed, packed_md5)
        try:
            with gzip.open(packed) as stream, target.open("wb") as sink:
                shutil.copyfileobj(stream, sink)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DatasetChecksumError(
                f"{name}: {packed} is damaged ({error}); remove it and fetch it again"
            ) from error
    if md5 is not None:
        _check(name, target, md5, source=source)


def _check(name: str, path: Path, md5: str, *, source: Path | None = None) -> None:
    """Hold a file to its published MD5 (a checksum here, not a signature)."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        raise DatasetChecksumError(
            f"{name}: {source or path} does not hold the published file: MD5 {found}, "
            f"expected {md5}; remove it and fetch it again"
        )


def _download(
    name: str,
    urls: list[str],
    target: Path,
    *,
    md5: str,
    work: Path,
    needed: Sequence[Path],
    progress: Progress,
) -> None:
    """Download a file from the first address that has it; whole or not at all.

    `needed` are all files of the set that are missing, for the message.
    """
    from torchvision.datasets.utils import download_url

    progress(f"{name}: downloading {target.name} to {target.parent}")
    errors = []
    for url in urls:
        try:
            with _socket_timeout(_SILENCE_SECONDS), _bar_on_terminals_only():
                download_url(url, str(work), filename=target.name, md5=md5)
            target.parent.mkdir(parents=True, exist_ok=True)
            (work / target.name).replace(target)
            progress(f"{name}: downloaded {target.name}, {target.stat().st_size:,} bytes")
            return
        except (RuntimeError, OSError) as error:  # URLError is an OSError
            errors.append(f"  {url}: {error}")
    raise DatasetUnavailableError(
        f"{name}: cannot download {target.name}:\n"
        + "\n".join(errors)
        + "\nPut these files there yourself, or let TRAINYARD_DATA name a folder that has them:\n"
        + "\n".join(f"  {path}" for path in needed)
    )


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _bar_on_terminals_only() -> Iterator[None]:
    """Let torchvision draw its progress bar for people; a log would get thousands of bars."""
    if sys.stderr.isatty():
        yield
    else:
        with redirect_stderr(io.StringIO()):
            yield


READERS: Final = {"mnist": read_mnist, "fashion_mnist": read_fashion_mnist, "cifar10": read_cifar10}
