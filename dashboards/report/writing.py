"""A report's files: a page, Markdown with pictures, tables for other programs, and a manifest."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dashboards.export import write_frames
from dashboards.report.composition import compose
from dashboards.report.evidence import Evidence
from dashboards.report.manifest import manifest
from dashboards.report.markdown import FIGURES, markdown
from dashboards.report.page import page
from orchestrator.mirroring.report_folder import MANIFEST

PAGE: Final = "report.html"
TEXT: Final = "report.md"


@dataclass(frozen=True, slots=True)
class Written:
    """The names of a report's files in their folder, the page first, and its answer."""

    files: tuple[str, ...]
    sentences: tuple[str, ...]


def write_report(evidence: Evidence, folder: Path, *, version: str, now: dt.datetime) -> Written:
    """Write all of a report's files into a folder.

    Raises:
        OSError: There is no room or no right to write.
    """
    written_at = now.isoformat(timespec="seconds")
    document = compose(evidence, colophon=f"Written by trainyard {version}, {written_at}.")
    (folder / PAGE).write_text(page(document, version=version), encoding="utf-8")
    (folder / TEXT).write_text(markdown(document, folder=folder), encoding="utf-8")
    findings = [study.findings for study in evidence.studies]
    tables = write_frames(folder, _frames(findings), formats=("csv", "parquet"))
    pictures = sorted((folder / FIGURES).iterdir()) if (folder / FIGURES).exists() else []
    names = [PAGE, TEXT, MANIFEST, *(path.name for path in tables)]
    names += [f"{FIGURES}/{path.name}" for path in pictures]
    data = manifest(evidence, files=names, written_at=written_at)
    (folder / MANIFEST).write_text(_json(data), encoding="utf-8")
    return Written(tuple(names), document.sentences)


def _frames(findings: list[Any]) -> Mapping[str, Any]:
    import pandas as pd

    return {
        "trials": pd.concat([each.trials for each in findings], ignore_index=True),
        "curves": pd.concat([each.curves for each in findings], ignore_index=True),
    }


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n"
