"""How numbers stand in sentences: rounded to what their spread supports."""

import math
from collections.abc import Sequence
from typing import Final

from experiments.comparison.statistics import is_share

_MOST_DECIMALS: Final = 8
_FOUR_DIGITS: Final = 999.5
"""From here on three digits would leave out some before the point."""
_LARGE: Final = 1e15
"""From here on numbers are written with an exponent."""


def interval_text(low: float, high: float, metric: str, *, maximize: bool) -> str:
    """Write the interval of a gain: positive is better whatever the goal."""
    bounds = (low, high) if maximize else (-high, -low)
    spread = high - low
    texts = [
        "-" * (bound < 0) + amount_text(abs(bound), metric, spread=spread, unit=False)
        for bound in bounds
    ]
    unit = " points" if is_share(metric) else ""
    return f"95 % interval {texts[0]} to {texts[1]}{unit}"


def amount_text(
    value: float, metric: str, *, spread: float | None = None, unit: bool = True
) -> str:
    """Write a difference: `1.3 points` of shares, else in the metric's own unit.

    It is rounded to what the width of its interval supports: the second digit of that.
    """
    scale = 100.0 if is_share(metric) else 1.0
    shown = rounded(value * scale, None if spread is None else spread * scale)
    if not is_share(metric) or not unit:
        return shown
    return f"{shown} {'point' if shown == '1' else 'points'}"


def level_text(value: float, metric: str, *, spread: float | None = None) -> str:
    """Write a metric's value in a sentence: `97.3 %` of shares, else in its own unit."""
    if not is_share(metric):
        return rounded(value, spread)
    return f"{rounded(100 * value, None if spread is None else 100 * spread)} %"


def rounded(value: float, spread: float | None = None) -> str:
    """Write a number to the second digit of its spread, or to three digits without one."""
    if spread is None or spread == 0.0 or not math.isfinite(spread) or abs(value) >= _LARGE:
        is_short = abs(value) < _FOUR_DIGITS or abs(value) >= _LARGE
        return f"{value:.3g}" if is_short else f"{value:,.0f}"
    decimals = max(0, 1 - math.floor(math.log10(abs(spread))))
    if decimals > _MOST_DECIMALS and abs(value) >= 1e-3:
        return f"{value:,.{_MOST_DECIMALS}f}".rstrip("0").rstrip(".")
    shown = f"{value:,.{decimals}f}"
    told = value == 0 or shown.strip("-0.")
    return shown if told and decimals <= _MOST_DECIMALS else f"{value:.{2 if told else 1}g}"


def p_text(p_value: float) -> str:
    """Write a p-value: `p = 0.03`, `p < 0.001`."""
    if p_value < 0.001:
        return "p < 0.001"
    decimals = 3 if p_value < 0.01 or 0.045 <= p_value < 0.055 else 2
    return f"p = {p_value:.{decimals}f}"


def count(number: int, noun: str) -> str:
    """Write a number of things: `1 seed`, `1,024 seeds`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percent(share: float) -> str:
    """Write a share of a whole: `37 %`, `under 1 %`."""
    if 0.99 < share < 1:
        return "over 99 %"
    return "under 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def large(number: float) -> str:
    """Write a large number shortly: `61.7 thousand`, `1.2 million`."""
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e4, "thousand")):
        if number >= size:
            return f"{number / (1e3 if name == 'thousand' else size):.3g} {name}"
    return f"{number:,.0f}"


def rough_count(number: int, noun: str) -> str:
    """Write an estimated number of things to two digits: `1,200 seeds`."""
    digits = max(0, len(str(number)) - 2)
    return count(int(round(number, -digits)), noun)


def listed(parts: Sequence[str]) -> str:
    """Write one thing after the other: `a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
