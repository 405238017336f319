"""A data set prepared once a machine: memory-mapped files that all workers share.

    <root>/staged/<name>-v3-<digest>/
        meta.json            what is in the files, size and SHA-256 of each
        train_inputs.npy     test_inputs.npy     images (N, C, H, W) uint8, numbers (N, F) float32
        train_targets.npy    test_targets.npy    classes (N,) int64, values (N, T) float32,
                                                 masks (N, H, W) uint8

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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from experiments.data.data_changes import change_facts, read_changes, stored_changes
from experiments.data.datasets import DatasetFacts, facts, read_options
from experiments.data.published_sets import PUBLISHED_SETS
from experiments.errors import (
    DatasetChecksumError,
    DatasetUnavailableError,
    TrainyardError,
)
from experiments.records import DataConfig
from workers.datasets.changes import changed
from workers.datasets.raw import Progress, RawData, RawSplit
from workers.datasets.staged_files import read_staged, seal, write_meta
from workers.files import put_in_place

if TYPE_CHECKING:
    from workers.datasets.staged import StagedData

FORMAT: Final = 3


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
    from workers.datasets.opening import View, open_data

    folder = prepare(config, root=root, progress=progress)
    return open_data(folder, View.of(config))


def _prepare(config: DataConfig, folder: Path, root: Path, progress: Progress) -> None:
    base, changes = facts(config.name, config.options, root=root), read_changes(config.changes)
    known = change_facts(base, changes)
    if known.digest != config.digest:
        raise DatasetChecksumError(
            f"{config.name}: the data has changed since the plan was made "
            f"(digest {known.digest[:12]}, planned {config.digest[:12]}); plan again"
        )
    progress(f"{config.name}: preparing {known.num_train:,} + {known.num_test:,} examples")
    with _scratch(folder.with_suffix(".partial")) as partial:
        data = _read(config, base, root, partial / "work", progress)
        if stored_changes(changes):
            data = changed(data, changes, base=base, known=known)
        target = partial / "staged"
        target.mkdir()
        files: dict[str, Any] = {}
        for part, raw in (("train", data.train), ("test", data.test)):
            inputs, targets = target / f"{part}_inputs.npy", target / f"{part}_targets.npy"
            _write_inputs(inputs, raw, known.input_shape)
            np.save(targets, raw.targets)
            files[f"{part}_inputs"], files[f"{part}_targets"] = seal(inputs), seal(targets)
        write_meta(target, known, files)
        put_in_place(target, folder)
    progress(f"{config.name}: prepared in {folder}")


def _read(
    config: DataConfig, base: DatasetFacts, root: Path, work: Path, progress: Progress
) -> RawData:
    """Read or make a data set, unchanged; from its staged form, where that is there.

    Each reader is imported when it is wanted.
    """
    unchanged = replace(config, digest=base.digest, changes={})
    if is_staged(unchanged, root):
        return read_staged(staged_folder(unchanged, root))
    options = read_options(config.name, config.options)
    work.mkdir()
    match config.name:
        case "digits":
            from workers.datasets.digits import read_digits

            return read_digits()
        case "image_folder":
            from workers.datasets.image_folder import read_image_folder

            classes = read_changes(config.changes).classes
            return read_image_folder(options, root=root, progress=progress, classes=classes)
        case name if name in PUBLISHED_SETS:
            from workers.datasets import downloads

            return downloads.READERS[name](root=root, work=work, progress=progress)
        case name:
            from workers.datasets.makers import MAKERS

            return MAKERS[name](options)


def _write_inputs(path: Path, raw: RawSplit, shape: tuple[int, ...]) -> None:
    """Write a split's inputs as they come, so that a large set needs little memory."""
    dtype = np.dtype(np.uint8 if len(shape) == 3 else "<f4")
    header = {"descr": dtype.str, "fortran_order": False, "shape": (len(raw.targets), *shape)}
    written = 0
    with path.open("wb") as file:  # not a map: a full disk must raise, not kill the process
        np.lib.format.write_array_header_1_0(file, header)
        for block in raw.inputs:
            file.write(np.ascontiguousarray(block, dtype=dtype).data)
            written += len(block)
    assert written == len(raw.targets), (written, len(raw.targets))


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
