"""Names and numbers as they stand in a figure: text, never markup, formula or a screen's width."""

import math
from typing import Final

from experiments.language.printable import printable

LONGEST_NAME: Final = 34
_SIGNIFICANT_DIGITS: Final = 5


def shortened(name: str, *, most: int = LONGEST_NAME) -> str:
    """Give a name on one line of at most `most` characters; what is cut out is in the middle.

    Variants that are alike at both ends can get the same short name; tables have the whole one.
    """
    line = " ".join(printable(name).split())
    if len(line) <= most:
        return line
    head = (most - 1) // 2
    return f"{line[:head]}…{line[-(most - 1 - head) :]}"


def plotly_text(text: str) -> str:
    """Escape what plotly would take for markup: it reads a part of HTML in every text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def rounded(number: float) -> float | None:
    """Give a number with 5 significant digits, None (a gap) for what is none."""
    if not math.isfinite(number):
        return None
    short = float(f"{number:.{_SIGNIFICANT_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def large_number_text(number: float) -> str:
    """Write a count for people: `812`, `43.6 k`, `1.2 M`, `3.9 G`."""
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def listed(names: list[str]) -> str:
    """Write names as a list in a sentence: `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
