"""The files of a staged folder: written with what they are, opened only if they still are that."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from experiments.data.dataset_facts import DatasetFacts
from experiments.errors import DatasetChecksumError
from workers.datasets.raw import RawData, RawSplit
from workers.files import flush, sha256_of

ARRAYS: Final = ("train_inputs", "train_targets", "test_inputs", "test_targets")

_TOLD: Final = (
    "name",
    "digest",
    "input_shape",
    "target",
    "class_names",
    "target_names",
    "full_scale",
)
"""What `meta.json` keeps of a set's facts, beside the size and the SHA-256 of each file."""


def seal(path: Path) -> dict[str, Any]:
    """Bring a file to the disk and say what it is."""
    flush(path)
    return {"num_bytes": path.stat().st_size, "sha256": sha256_of(path)}


def write_meta(folder: Path, known: DatasetFacts, files: Mapping[str, Any]) -> None:
    """Write `meta.json`, with what `seal` gave for each file."""
    meta = {name: getattr(known, name) for name in _TOLD} | {"files": files}
    (folder / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
    flush(folder / "meta.json")


def read_meta(folder: Path) -> dict[str, Any]:
    """Read `meta.json`.

    Raises:
        DatasetChecksumError: It cannot be read.
    """
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetChecksumError(
            f"{folder / 'meta.json'} cannot be read ({error}); remove {folder}, "
            "and it will be prepared again"
        ) from error
    return meta


def check_sizes(folder: Path) -> None:
    """Hold the size of each file to `meta.json`.

    Raises:
        DatasetChecksumError: A file was truncated, or is gone.
    """
    for name, file in read_meta(folder)["files"].items():
        path = folder / f"{name}.npy"
        found = path.stat().st_size if path.exists() else 0
        if found != file["num_bytes"]:
            raise DatasetChecksumError(
                f"{path} has {found} bytes instead of {file['num_bytes']}; remove {folder}, "
                "and it will be prepared again"
            )


def open_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Map all files, by the names of `ARRAYS`; copy-on-write, for torch takes them as writable.

    Raises:
        DatasetChecksumError: A file was truncated or altered.
    """
    check_sizes(folder)
    files = read_meta(folder)["files"]
    return {name: _open_array(folder / f"{name}.npy", files[name]["sha256"]) for name in ARRAYS}


def read_staged(folder: Path) -> RawData:
    """Give a staged set again as a reader would."""
    arrays = open_arrays(folder)
    return RawData(
        train=RawSplit((arrays["train_inputs"],), arrays["train_targets"]),
        test=RawSplit((arrays["test_inputs"],), arrays["test_targets"]),
    )


def _open_array(path: Path, sha256: str) -> NDArray[Any]:
    if sha256_of(path) != sha256:
        raise DatasetChecksumError(
            f"{path} was altered: its SHA-256 is not the one in meta.json; remove {path.parent}, "
            "and it will be prepared again"
        )
    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array
