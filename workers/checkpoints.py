"""Checkpoints on disk: whole or not there, known by their SHA-256, free of code.

A file holds one dict: {"format": 1, "model": state_dict, "epoch": ..., "step": ..., ...}.
Readers pass over keys that they don't know.

An attempt's files are named by kind and epoch, `best-0004.pt`; none is written over.
"""

import contextlib
import hashlib
import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from experiments.errors import CheckpointError
from workers.files import write_whole

FORMAT: Final = 1
NUM_KEPT: Final = 2


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that lies on disk, whole."""

    path: Path
    sha256: str
    num_bytes: int


class CheckpointFolder:
    """The checkpoints of one attempt: of each kind the newest `NUM_KEPT`.

    The store hears of a file some time after it was written, so the file that it has on
    record may be the one before; that goes only when the next but one is there. (A trial
    that saves several times a second can be further ahead of the store than that.) Both
    stay when the trial ends, as nothing here learns whether the last record arrived.
    """

    def __init__(self, path: Path) -> None:
        """Begin with no files; those that lie in the folder are never touched."""
        self._path = path
        self._written: defaultdict[str, list[Path]] = defaultdict(list)  # by kind, oldest first

    def save(
        self, kind: str, model: Mapping[str, Tensor], *, epoch: int, step: int, **extra: Any
    ) -> SavedFile:
        """Write a checkpoint (see `save`), then remove what is no longer kept of its kind.

        Raises:
            OSError: There is no room or no right to write; nothing has changed then.
        """
        path = self._path / f"{kind}-{epoch:04d}.pt"
        saved = save(path, model, epoch=epoch, step=step, **extra)
        written = self._written[kind]
        written.append(path)
        while len(written) > NUM_KEPT:
            with contextlib.suppress(OSError):  # it costs room, nothing else
                written.pop(0).unlink(missing_ok=True)
        return saved


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
    buffer = io.BytesIO()  # not the file: torch makes a RuntimeError of a full disk
    torch.save(contents, buffer)
    content = buffer.getbuffer()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    return SavedFile(path, hashlib.sha256(content).hexdigest(), len(content))


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
