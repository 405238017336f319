"""How numbers are written for people."""

from typing import Final

_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")

_SHARES: Final = frozenset(
    {"accuracy", "error", "precision", "recall", "f1", "r2", "pixel_accuracy", "mean_iou"}
)
"""Metrics without a unit, at most 1: the fourth decimal is the last that says anything."""


def bytes_text(number: int) -> str:
    """Write a size: `512 B`, `3.4 MiB`."""
    size = float(number)
    for unit in _BYTES:
        if size < 1024 or unit == _BYTES[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("the last unit takes all")


def duration_text(seconds: float) -> str:
    """Write a length of time: `8 s`, `3 min 20 s`, `2 h 05 min`."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    minutes, rest = divmod(total, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def metric_text(metric: str, value: float) -> str:
    """Write a metric, or a spread of it, in a table: `0.9731` of all, `12.35` in its own unit.

    `metric` may name a split (`val/accuracy`).
    """
    if metric.rpartition("/")[2] in _SHARES:
        return f"{value:.4f}"
    if 1e3 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:#.4g}" if 1e-3 <= abs(value) < 1e3 else f"{value:.3g}"


def value_text(value: object) -> str:
    """Write a hyperparameter or metric in a table: four digits where it is a fraction."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3g}"
