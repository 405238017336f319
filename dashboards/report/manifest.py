"""The manifest: what a report was made of, for programs, and for who wants to repeat it."""

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dashboards.report.evidence import Evidence, Study
    from orchestrator.store.rows import RecordedSpec

SCHEMA_VERSION: Final = 1
DIRTY: Final = "-dirty"
"""After a commit: files that git follows were changed and not committed (as `git describe`)."""

_PACKAGES: Final = ("trainyard", "torch", "torchvision", "ray", "mlflow", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class GitState:
    """Which commit a spec was submitted from, if any, and whether files were changed since."""

    commit: str | None
    is_dirty: bool | None


def git_state(recorded: str | None) -> GitState:
    """Read what the store has of an experiment's commit."""
    if recorded is None:
        return GitState(None, None)
    return GitState(recorded.removesuffix(DIRTY), recorded.endswith(DIRTY))


def manifest(evidence: "Evidence", *, files: list[str], written_at: str) -> dict[str, Any]:
    """Give the manifest as JSON-ready data; `written_at` is a time in ISO 8601."""
    return {
        "schema_version": SCHEMA_VERSION,
        "written_at": written_at,
        "files": files,
        "versions": installed_versions(),
        "hardware": hardware(),
        "experiments": [_study(study) for study in evidence.studies],
    }


def installed_versions() -> dict[str, str]:
    """Give the versions of Python and of what numbers depend on, as installed here."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def hardware() -> dict[str, Any]:
    """Say what this machine is, on which the report is written."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
    }


def _study(study: "Study") -> dict[str, Any]:
    trials = study.findings.trials
    state = git_state(study.row.git_commit)
    return {
        "name": study.row.name,
        "id": study.row.id,
        "task": study.row.task,
        "objective": asdict(study.row.objective),
        "spec": dict(study.spec.plain),
        "spec_text": study.spec.text,
        "spec_sha256": _spec_digest(study.spec),
        "git": {"commit": state.commit, "dirty": state.is_dirty},
        "data": {
            "name": study.config.data.name,
            "digest": study.config.data.digest,
            "val_fraction": study.config.data.val_fraction,
            "split_seed": study.config.data.split_seed,
            "limit": study.config.data.limit,
        },
        "precision": study.config.precision,
        "seeds": sorted({outcome.seed for outcome in study.findings.outcomes}),
        "trials": study.counts(),
        "machines": _counts(trials["machine"]),
        "strategies": _counts(trials["strategy"]),
        "answer": list(study.findings.answer.sentences),
        "best_trial": study.best_trial,
    }


def _spec_digest(spec: "RecordedSpec") -> str:
    """Hash a spec's text, or, of one that was given as data, that as JSON with sorted keys."""
    text = spec.text or json.dumps(spec.plain, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _counts(column: Any) -> dict[str, int]:
    return {str(key): int(number) for key, number in column.dropna().value_counts().items()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
