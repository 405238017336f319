"""Checkpoints on disk: whole or not there, known by their SHA-256, free of code.

A file holds one dict: {"format": 1, "model": state_dict, "epoch": ..., "step": ..., ...}.
Readers pass over keys that they don't know.
"""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import torch
from torch import Tensor

from experiments.errors import CheckpointError

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that lies on disk, whole."""

    path: Path
    sha256: str
    num_bytes: int


def save(
    path: Path, model: Mapping[str, Tensor], *, epoch: int, step: int, **extra: Any
) -> SavedFile:
    """Write a checkpoint in place of the one at `path`, which stays good until the last moment.

    Args:
        path: Where to; missing folders are made.
        model: The module's `state_dict()`.
        epoch: Finished epochs.
        step: Finished steps.
        **extra: More to keep: tensors, numbers, texts, and lists and dicts of them.

    Raises:
        OSError: There is no room or no right to write; nothing has changed then.
    """
    contents = {"format": FORMAT, "model": dict(model), "epoch": epoch, "step": step} | extra
    path.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(path) as file:
        target = _HashingFile(file)
        torch.save(contents, cast(BinaryIO, target))  # it only writes
    return SavedFile(path, target.sha256, target.num_bytes)


def load(path: Path, *, sha256: str, device: str = "cpu") -> dict[str, Any]:
    """Read a checkpoint whose bytes are those that were written.

    Raises:
        CheckpointError: It is missing, truncated or altered, or of another format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be read: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise CheckpointError(
            f"{path}: the checkpoint is truncated or altered: {len(content)} bytes with SHA-256 "
            f"{found}, recorded was {sha256}"
        )
    try:
        contents = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # what torch raises for a foreign file depends on its first bytes
        raise CheckpointError(f"{path} is no checkpoint: {error}") from error
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of format {FORMAT}")
    return dict(contents)


class _HashingFile:
    """Passes on what is written, and remembers its digest and length."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.num_bytes = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.num_bytes += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file that takes the place of `path` when all is on disk."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _flush_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
