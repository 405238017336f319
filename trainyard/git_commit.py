"""Which commit an experiment is submitted from."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainyard.api import SpecSource


def git_commit(spec: "SpecSource") -> str | None:
    """Give the commit of the repository that the spec (or else the process) stands in.

    It ends in `-dirty` where files that git follows were changed since.
    """
    folder = Path.cwd()
    if not isinstance(spec, Mapping) and "\n" not in str(spec):
        folder = Path(spec).resolve().parent
    found = _git(folder, "rev-parse", "--verify", "HEAD")
    if found is None or found.returncode != 0:
        return None
    changes = _git(folder, "diff-index", "--quiet", "HEAD", "--")
    is_dirty = changes is not None and changes.returncode == 1
    return found.stdout.strip() + ("-dirty" if is_dirty else "")


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    try:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
