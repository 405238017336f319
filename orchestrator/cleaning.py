"""What lies in the home and is of no more use: found, and removed.

Only files that trainyard itself writes, in the places where it writes them, are looked at;
links are not followed, and nothing outside the home is touched. Which checkpoints count is
asked of the store: of trials that it does not know nothing is removed, for another store may.

Safe beside an orchestrator: what a trial under way may still write or read stays.
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from experiments.states import TERMINAL_STATES
from orchestrator.measurements.results import Results
from orchestrator.settings import Settings
from orchestrator.store.rows import RecordedFiles

UNRECORDED: Final = "checkpoints that are not on record"
UNFINISHED: Final = "files that were never finished"
UNUSED_DATA: Final = "data sets whose preparation was broken off"
OLD_LOGS: Final = "logs that nothing was written to for a month"

_UNFINISHED_SECONDS: Final = 3600.0
_OLD_LOG_SECONDS: Final = 30 * 86_400.0

_AT_ONCE: Final = 500  # trials that the store is asked for
_FENCE: Final = re.compile(r"\d{4,}")
_CHECKPOINT: Final = re.compile(r"[a-z]+-\d{4,}(-\d+ms)?\.pt")
_PARTIAL: Final = re.compile(r"\..+\.partial")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder that may go, what it is, and the bytes that it takes."""

    path: Path
    what: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What was found, and removed unless it was a dry run.

    `num_unknown` folders belong to trials that are not in this store; they were left alone.
    """

    leftovers: tuple[Leftover, ...]
    num_unknown: int

    @property
    def num_bytes(self) -> int:
        """What all of it takes on the disk."""
        return sum(leftover.num_bytes for leftover in self.leftovers)

    def groups(self) -> Mapping[str, Sequence[Leftover]]:
        """Give what was found by what it is."""
        found: dict[str, list[Leftover]] = {}
        for leftover in self.leftovers:
            found.setdefault(leftover.what, []).append(leftover)
        return found


def remove_unrecorded(results: Results, settings: Settings, trial_ids: Sequence[str]) -> int:
    """Remove finished trials' checkpoints that are not on record; give the bytes.

    Nothing of a trial that is not finished is removed.
    """
    places = {each: _inside(settings.checkpoints / each, settings) for each in trial_ids}
    there = {trial_id: place for trial_id, place in places.items() if place is not None}
    return sum(
        leftover.num_bytes
        for folders in _batches(there)
        for known in results.recorded_files(list(folders))
        if known.state in TERMINAL_STATES
        for leftover in _unrecorded(folders[known.trial_id], known, now=time.time())
        if _removed(leftover)
    )


def collect(
    results: Results,
    settings: Settings,
    *,
    dry_run: bool,
    now: Callable[[], float] = time.time,
) -> Collected:
    """Find all that may go, and remove it unless it is a `dry_run`.

    Safe to repeat, and beside an orchestrator; what cannot be removed stays and is not told of.
    """
    moment, num_unknown = now(), 0
    found: list[Leftover] = []
    for folders in _batches(_folders(settings.checkpoints, settings)):
        known = {each.trial_id: each for each in results.recorded_files(list(folders))}
        num_unknown += len(folders.keys() - known.keys())
        for trial_id, its in known.items():
            found += _unrecorded(folders[trial_id], its, now=moment)
    found += _broken_data(settings, now=moment)
    found += _broken_stores(settings, now=moment)
    found += _old_logs(settings, now=moment)
    gone = tuple(leftover for leftover in found if dry_run or _removed(leftover))
    return Collected(gone, num_unknown)


def _unrecorded(folder: Path, known: RecordedFiles, *, now: float) -> Iterator[Leftover]:
    """Give a trial's files that no attempt will read.

    A finished trial's are all that are not on record. Of one that goes on, the newest attempt's
    may be on their way into the record, so those of earlier ones alone; and of any what was not
    written to for an hour. Files count by their attempt and name, wherever the home has moved.
    """
    is_over = known.state in TERMINAL_STATES
    kept = {(fence, Path(path).name) for fence, path in known.files}
    for attempt in _subfolders(folder):
        if not _FENCE.fullmatch(attempt.name):
            continue
        fence = int(attempt.name)
        # A fence above the store's is that of an attempt which began after we had asked.
        settled = fence <= known.fence if is_over else fence < known.fence
        for file in _files(attempt):
            is_partial = _PARTIAL.fullmatch(file.name) is not None
            if settled and (is_partial or _CHECKPOINT.fullmatch(file.name)):
                if (fence, file.name) not in kept:
                    yield Leftover(file, UNRECORDED, _size(file))
            elif is_partial and _is_older(file, now - _UNFINISHED_SECONDS):
                yield Leftover(file, UNFINISHED, _size(file))


def _broken_data(settings: Settings, *, now: float) -> Iterator[Leftover]:
    """Give the folders of preparations of data that no process is at."""
    for folder in _folders(settings.data / "staged", settings).values():
        if folder.suffix != ".partial" or not _is_older(folder, now - _UNFINISHED_SECONDS):
            continue
        with _preparation_locked(folder) as is_ours:
            num_bytes = _size(folder)
        if is_ours:
            yield Leftover(folder, UNUSED_DATA, num_bytes)


def _broken_stores(settings: Settings, *, now: float) -> Iterator[Leftover]:
    """Give the folders in which a store was being made (`sqlite_file.create`), or copied."""
    for name, folder in _folders(settings.home, settings).items():
        if name.startswith((".new-store-", ".new-backup-")) and _is_older(
            folder, now - _UNFINISHED_SECONDS
        ):
            yield Leftover(folder, UNFINISHED, _size(folder))


def _old_logs(settings: Settings, *, now: float) -> Iterator[Leftover]:
    folder = _inside(settings.logs, settings)
    for file in _files(folder) if folder is not None else ():
        if _is_older(file, now - _OLD_LOG_SECONDS):
            yield Leftover(file, OLD_LOGS, _size(file))


def _removed(leftover: Leftover) -> bool:
    """Remove a file or folder; say whether it is gone."""
    path = leftover.path
    try:
        if leftover.what == UNUSED_DATA:
            with _preparation_locked(path) as is_ours:
                if is_ours:
                    shutil.rmtree(path)
                return is_ours
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:  # it costs room, nothing else
        return False
    if leftover.what == UNRECORDED:
        with suppress(OSError):  # an attempt's folder, and a trial's: not empty
            path.parent.rmdir()
            path.parent.parent.rmdir()
    return True


def _inside(folder: Path, settings: Settings) -> Path | None:
    """Give a folder's true place if that is in the home, and there is one."""
    home, place = settings.home.resolve(), folder.resolve()
    return place if place.is_relative_to(home) and place.is_dir() else None


def _folders(folder: Path, settings: Settings) -> dict[str, Path]:
    """Give the folders in a folder of the home, by their names."""
    place = _inside(folder, settings)
    return {} if place is None else {each.name: each for each in _subfolders(place)}


def _subfolders(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(folder) if entry.is_dir(follow_symlinks=False)]


def _files(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(folder) if entry.is_file(follow_symlinks=False)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # it went, or is none of ours
        return []


def _is_older(path: Path, moment: float) -> bool:
    try:
        return path.lstat().st_mtime < moment
    except OSError:
        return False


def _size(path: Path) -> int:
    """Give the bytes of a file, or of all files in a folder."""
    try:
        if not path.is_dir():
            return path.lstat().st_size
        return sum(
            Path(folder, name).lstat().st_size
            for folder, _, names in os.walk(path)
            for name in names
        )
    except OSError:
        return 0


@contextmanager
def _preparation_locked(folder: Path) -> Iterator[bool]:
    """Keep data from being prepared in a folder (`workers.staging`); False if it is just now."""
    with ExitStack() as held:
        try:
            file = held.enter_context(folder.with_suffix(".lock").open("rb"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _batches(folders: dict[str, Path]) -> Iterator[dict[str, Path]]:
    names = list(folders)
    for start in range(0, len(names), _AT_ONCE):
        yield {name: folders[name] for name in names[start : start + _AT_ONCE]}
