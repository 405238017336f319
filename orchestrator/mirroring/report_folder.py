"""A report's folder, as far as MLflow is concerned: which of the files in it are the report's."""

import json
from pathlib import Path
from typing import Final

from experiments.errors import NotFoundError

MANIFEST: Final = "manifest.json"


def report_files(folder: Path) -> tuple[Path, ...]:
    """Give the files of the report in a folder, relative to it, as its manifest lists them.

    Whatever else lies there is nobody's business: a report may be written into any folder.

    Raises:
        NotFoundError: There is no report in it.
    """
    try:
        names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        listed = [Path(name) for name in names]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NotFoundError(
            f"no report lies in {folder}; `trainyard report EXPERIMENT --out DIR` writes one"
        ) from error
    place = folder.resolve()
    return tuple(
        path
        for path in listed
        if (place / path).is_file() and (place / path).resolve().is_relative_to(place)
    )
