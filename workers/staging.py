"""A data set prepared once a machine: memory-mapped uint8 files that all workers share.

    <root>/staged/<name>-v2-<digest>/
        meta.json           shapes, class names, size and SHA-256 of each file
        train_inputs.npy    (N, C, H, W) uint8          test_inputs.npy
        train_targets.npy    (N,) int64                  test_targets.npy

A folder is written beside its place and renamed when it is whole; a lock lets one process
of the machine prepare a set while the others wait. `python -m workers.staging JSON ROOT`
prepares one in a process of its own. torch is imported only where data is opened.
"""

import fcntl
import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from experiments.datasets import facts, read_options
from experiments.errors import (
    DatasetChecksumError,
    DatasetError,
    DatasetUnavailableError,
    TrainyardError,
)
from experiments.records import DataConfig
from workers.datasets.raw import Progress, RawData, RawSplit
from workers.datasets.splits import split_indices
from workers.files import flush, put_in_place, sha256_of

if TYPE_CHECKING:
    from workers.datasets.staged import StagedData

FORMAT: Final = 2
_ARRAYS: Final = ("train_inputs", "train_targets", "test_inputs", "test_targets")


def _silent(line: str) -> None:
    """Say nothing."""


def staged_folder(config: DataConfig, root: Path) -> Path:
    """Give the folder in which a data set lies once it is staged."""
    return root / "staged" / f"{config.name}-v{FORMAT}-{config.digest[:24]}"


def is_staged(config: DataConfig, root: Path) -> bool:
    """Say whether a data set is prepared on this machine."""
    return (staged_folder(config, root) / "meta.json").is_file()


def prepare(config: DataConfig, *, root: Path, progress: Progress = _silent) -> Path:
    """Prepare a data set unless it is already, and give its folder.

    Writes below `<root>/staged`, and downloads to `<root>`. Waits while another process
    prepares the same set. A failure leaves nothing behind.

    Raises:
        DatasetError: The data is not as it should be.
        DatasetUnavailableError: It cannot be had now, or there is no room or right to write it.
        DatasetChecksumError: The data is not what the plan saw (`config.digest`).
    """
    folder = staged_folder(config, root)
    if is_staged(config, root):
        return folder
    try:
        with _locked(folder.with_suffix(".lock")):
            if not is_staged(config, root):
                _prepare(config, folder, root, progress)
    except OSError as error:
        raise DatasetUnavailableError(
            f"{config.name}: cannot prepare the data in {folder}: {error}; "
            "TRAINYARD_DATA may name another place"
        ) from error
    return folder


def stage(config: DataConfig, *, root: Path, progress: Progress = _silent) -> "StagedData":
    """Open a data set for a trial's data configuration, preparing it first if need be.

    File sizes are checked at every call, contents (SHA-256) once a process.

    Raises:
        DatasetError: The data cannot be had, or a split would be empty.
        DatasetChecksumError: A staged file was truncated or altered.
    """
    folder = prepare(config, root=root, progress=progress)
    meta = _read_meta(folder)
    for name in _ARRAYS:
        _check_size(folder / f"{name}.npy", meta["files"][name]["num_bytes"])
    return _open(folder, config.name, config.val_fraction, config.split_seed, config.limit)


@functools.lru_cache(maxsize=4)
def _open(
    folder: Path, name: str, val_fraction: float, split_seed: int, limit: int | None
) -> "StagedData":
    import torch

    from workers.datasets.staged import Split, StagedData, channel_statistics

    meta = _read_meta(folder)
    arrays = {name: _open_array(folder, name, meta["files"][name]["sha256"]) for name in _ARRAYS}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    train, val = split_indices(
        len(arrays["train_targets"]), val_fraction=val_fraction, split_seed=split_seed, limit=limit
    )
    if not len(train) or not len(val):
        raise DatasetError(
            f"{name}: {len(train)} training and {len(val)} validation images, but both splits "
            f"need at least one; change data.val_fraction ({val_fraction:g}) or data.limit"
        )

    def split(part: str, indices: NDArray[np.int64]) -> Split:
        images, labels = tensors[f"{part}_inputs"], tensors[f"{part}_targets"]
        return Split(images, labels, torch.from_numpy(indices))

    mean, std = channel_statistics(arrays["train_inputs"], train)
    return StagedData(
        name=name,
        digest=meta["digest"],
        input_shape=tuple(meta["input_shape"]),
        class_names=tuple(meta["class_names"]),
        train=split("train", train),
        val=split("train", val),
        test=split("test", np.arange(len(arrays["test_targets"]), dtype=np.int64)),
        mean=mean,
        std=std,
    )


def _prepare(config: DataConfig, folder: Path, root: Path, progress: Progress) -> None:
    known = facts(config.name, config.options, root=root)
    if known.digest != config.digest:
        raise DatasetChecksumError(
            f"{config.name}: the data has changed since the plan was made "
            f"(digest {known.digest[:12]}, planned {config.digest[:12]}); plan again"
        )
    progress(f"{config.name}: preparing {known.num_train:,} + {known.num_test:,} images")
    with _scratch(folder.with_suffix(".partial")) as partial:
        data = _read_raw(config, root, partial / "work", progress)
        target = partial / "staged"
        target.mkdir()
        files: dict[str, Any] = {}
        for part, raw in (("train", data.train), ("test", data.test)):
            inputs, targets = target / f"{part}_inputs.npy", target / f"{part}_targets.npy"
            _write_inputs(inputs, raw, known.input_shape)
            np.save(targets, raw.targets)
            files[f"{part}_inputs"], files[f"{part}_targets"] = _seal(inputs), _seal(targets)
        meta = {
            "name": known.name,
            "digest": known.digest,
            "input_shape": known.input_shape,
            "class_names": known.class_names,
            "files": files,
        }
        (target / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
        flush(target / "meta.json")
        put_in_place(target, folder)
    progress(f"{config.name}: prepared in {folder}")


def _read_raw(config: DataConfig, root: Path, work: Path, progress: Progress) -> RawData:
    """Read a data set with its own reader; each is imported when it is wanted."""
    options = read_options(config.name, config.options)
    work.mkdir()
    match config.name:
        case "digits":
            from workers.datasets.digits import read_digits

            return read_digits()
        case "fake":
            from workers.datasets.fake import make_fake

            return make_fake(options)
        case "image_folder":
            from workers.datasets.image_folder import read_image_folder

            return read_image_folder(options, root=root, progress=progress)
        case name:
            from workers.datasets import downloads

            return downloads.READERS[name](root=root, work=work, progress=progress)


def _write_inputs(path: Path, raw: RawSplit, shape: tuple[int, ...]) -> None:
    """Write a split's images as they come, so that a large set needs little memory."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(raw.targets), *shape)}
    written = 0
    with path.open("wb") as file:  # not a map: a full disk must raise, not kill the process
        np.lib.format.write_array_header_1_0(file, header)
        for block in raw.inputs:
            file.write(np.ascontiguousarray(block).data)
            written += len(block)
    assert written == len(raw.targets), (written, len(raw.targets))


def _open_array(folder: Path, name: str, sha256: str) -> NDArray[Any]:
    """Map one file; copy-on-write, so that torch may take it for writable."""
    path = folder / f"{name}.npy"
    if sha256_of(path) != sha256:
        raise DatasetChecksumError(
            f"{path} was altered: its SHA-256 is not the one in meta.json; remove {folder}, "
            "and it will be prepared again"
        )
    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


def _check_size(path: Path, num_bytes: int) -> None:
    found = path.stat().st_size if path.exists() else 0
    if found != num_bytes:
        raise DatasetChecksumError(
            f"{path} has {found} bytes instead of {num_bytes}; remove {path.parent}, "
            "and it will be prepared again"
        )


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetChecksumError(
            f"{folder / 'meta.json'} cannot be read ({error}); remove {folder}, "
            "and it will be prepared again"
        ) from error
    return meta


def _seal(path: Path) -> dict[str, Any]:
    """Bring a file to the disk and say what it is."""
    flush(path)
    return {"num_bytes": path.stat().st_size, "sha256": sha256_of(path)}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock of the machine; it goes with the process, so none is ever left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """Give an empty folder, and remove it in the end (and what a killed process left)."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main(arguments: Sequence[str], *, say: Callable[[str], None]) -> int:
    """Prepare the data set that `[DataConfig as JSON, data root]` asks for; give an exit code."""
    config, root = DataConfig(**json.loads(arguments[0])), Path(arguments[1])
    try:
        prepare(config, root=root, progress=say)
    except TrainyardError as error:
        say(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], say=functools.partial(print, file=sys.stderr, flush=True)))
