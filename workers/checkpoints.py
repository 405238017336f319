"""Checkpoints on disk: whole or not there, known by their SHA-256, free of code.

A file holds one dict; readers pass over keys that they don't know.

    format              2; what follows is that of 1 but for the last two lines
    model               the network's `state_dict()`
    epoch, step         finished ones
    config              the trial's configuration, as JSON
    mean, std           by which inputs are standardised, one a channel or feature
    full_scale          what a white pixel is in the data
    selected            of a "last": the epoch that counts so far (see `resumption.py`)
    optimizer           of a "last" after which steps are left: what the next one needs

So a "last" has all that the next epoch depends on. No random generator is in it, because each
epoch draws from streams that are made anew from the trial's seed (`experiments/streams.py`);
no schedule, because the rate is a function of the step; no place in the curve, because which
steps have a point is fixed by how many there are. Nor is the time: equal trials leave equal
bytes, whether they were interrupted or not. The seconds of training stand in the file's name.

An attempt's files are named by kind and epoch, `best-0004.pt`, `last-0004-83250ms.pt`; none is
written over.
"""

import contextlib
import hashlib
import io
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from experiments.errors import CheckpointError
from workers.files import write_whole

FORMAT: Final = 2
READABLE_FORMATS: Final = (1, 2)
NUM_KEPT: Final = 2
KEPT_SECONDS: Final = 20.0

_MILLISECONDS: Final = re.compile(r"-(\d{1,15})ms\.pt$")


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that lies on disk, whole."""

    path: Path
    sha256: str
    num_bytes: int


class CheckpointFolder:
    """The checkpoints of one attempt: of each kind the newest `NUM_KEPT`, and all young ones.

    The store hears of a file some time after it was written, usually within a second, and
    after a restart of its server within several; an attempt that saves several times a
    second is many files ahead by then. So a file that may be the newest on record stays
    for `KEPT_SECONDS` and until the next but one is there. A store that is away for longer
    finds an earlier file gone, only if the attempt ends meanwhile; the trial then starts
    anew. Nothing is removed when the trial ends, as nothing here learns what arrived.
    """

    def __init__(self, path: Path, *, timer: Callable[[], float] = time.monotonic) -> None:
        """Begin with no files; those that lie in the folder are never touched.

        `timer` gives seconds that never jump.
        """
        self.path = path
        self._timer = timer
        # Files and when they were written, by kind, oldest first.
        self._written: defaultdict[str, list[tuple[Path, float]]] = defaultdict(list)

    def save(
        self,
        kind: str,
        model: Mapping[str, Tensor],
        *,
        epoch: int,
        step: int,
        seconds: float | None = None,
        **extra: Any,
    ) -> SavedFile:
        """Write a checkpoint (see `save`), then remove what is no longer kept of its kind.

        `seconds` of training go into the file's name, for `seconds_of`.

        Raises:
            OSError: There is no room or no right to write; nothing has changed then.
        """
        duration = "" if seconds is None else f"-{round(seconds * 1000)}ms"
        path = self.path / f"{kind}-{epoch:04d}{duration}.pt"
        saved = save(path, model, epoch=epoch, step=step, **extra)
        now, written = self._timer(), self._written[kind]
        written.append((path, now))
        while len(written) > NUM_KEPT and now - written[0][1] > KEPT_SECONDS:
            old, _ = written.pop(0)
            with contextlib.suppress(OSError):  # it costs room, nothing else
                old.unlink(missing_ok=True)
        return saved


def seconds_of(path: Path) -> float:
    """Give the seconds of training that a checkpoint's name says; 0 where it says none."""
    found = _MILLISECONDS.search(path.name)
    return 0.0 if found is None else int(found[1]) / 1000


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


def load(path: Path, *, sha256: str, device: str | torch.device = "cpu") -> dict[str, Any]:
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
    if not isinstance(contents, dict) or contents.get("format") not in READABLE_FORMATS:
        raise CheckpointError(f"{path} is no checkpoint of format {FORMAT} or before")
    return dict(contents)
