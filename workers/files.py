"""Files that are whole or not there: written aside, brought to the disk, then renamed.

Needs no torch: data is prepared without it.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from workers import failpoint


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file in place of the one at `path`, which stays good until the last moment.

    Raises:
        OSError: There is no room or no right to write; nothing has changed then.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        put_in_place(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """Give a new folder to write into, the files of which come to `place` when all are written.

    A new `place` is there whole or not at all; in one that exists each file takes the place of
    that of its name, and others stay.

    Raises:
        OSError: There is no room or no right to write; nothing has changed in `place` then.
    """
    place = place.resolve()
    is_there = place.exists()  # and may be a file system of its own, or all that we may write to
    around = place if is_there else place.parent
    around.mkdir(parents=True, exist_ok=True)
    partial = around / f".{place.name}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a process of that number, long ago
    partial.mkdir()
    try:
        yield partial
        written = [path for path in sorted(partial.rglob("*")) if path.is_file()]
        for path in written:
            flush(path)
        if not is_there:
            put_in_place(partial, place)
            return
        for path in written:
            target = place / path.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            put_in_place(path, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def put_in_place(partial: Path, place: Path) -> None:
    """Rename a file, or a folder whose files are flushed; after a power cut it is whole or not."""
    flush(partial)
    failpoint.passing(f"before the rename to {place.name}")
    partial.replace(place)
    failpoint.passing(f"after the rename to {place.name}")
    flush(place.parent)


def flush(path: Path) -> None:
    """Bring a file's content, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
