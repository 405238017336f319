"""Files that are whole or not there: written aside, brought to the disk, then renamed.

Needs no torch: data is prepared without it.
"""

import contextlib
import hashlib
import os
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
