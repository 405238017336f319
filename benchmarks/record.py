"""How a measurement is kept: n, median and extremes, with the hardware and the versions.

Beside it stands what was wanted of it, reached or not: `make bench-page` shows both.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

Measured = dict[str, float | int]
Goal = dict[str, Any]
"""`what` was measured, what was `wanted` of it, what was `seen`, and whether that is enough."""

RESULTS: Final = Path(__file__).parent / "results"
_PACKAGES: Final = ("torch", "ray", "mlflow", "sqlalchemy", "numpy", "pandas", "optuna")


def measured(values: Sequence[float]) -> Measured:
    """Summarise repeated measurements."""
    return {
        "n": len(values),
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def at_least(what: str, wanted: float, seen: float) -> Goal:
    """Hold a figure to the least that is wanted."""
    return {"what": what, "wanted": f">= {wanted:g}", "seen": seen, "reached": seen >= wanted}


def at_most(what: str, wanted: float, seen: float) -> Goal:
    """Hold a figure to the most that is wanted."""
    return {"what": what, "wanted": f"<= {wanted:g}", "seen": seen, "reached": seen <= wanted}


def write(name: str, results: Mapping[str, Any]) -> None:
    """Print a benchmark's results as JSON, and keep them in `benchmarks/results`."""
    document = {"benchmark": name, "machine": _machine(), "versions": _versions(), **results}
    text = json.dumps(document, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def read() -> dict[str, Any]:
    """Give the kept results, by benchmark."""
    paths = sorted(RESULTS.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def _machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    installed = {each.name.lower(): each.version for each in importlib.metadata.distributions()}
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in ("trainyard", *_PACKAGES):
        if name in installed:
            versions[name] = installed[name]
    return versions
