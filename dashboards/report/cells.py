"""How the cells of a report's tables are written, in HTML and in Markdown alike."""

import math
from collections.abc import Sequence
from typing import Final

from dashboards.figures.chart import Cell, Table
from experiments.language.printable import printable

_NOISE: Final = 1e-12
"""What is left of differences between equal numbers."""

_LARGE: Final = 1e15


_MOST_DECIMALS: Final = 6


def table_texts(table: Table) -> list[list[str]]:
    """Write a table's cells; the numbers of a column with the same decimals, as many as it takes.

    That is four significant digits of the largest one, without zeros that all of them end in.
    """
    decimals = [
        _decimals([row[place] for row in table.rows]) for place in range(len(table.columns))
    ]
    return [
        [cell_text(cell, decimals=num) for cell, num in zip(row, decimals, strict=True)]
        for row in table.rows
    ]


def cell_text(cell: Cell, *, decimals: int) -> str:
    """Write a cell: nothing for what is missing, and no nonzero number as zero."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return printable(str(cell))
    if isinstance(cell, int) or math.isinf(cell):
        return f"{cell:,}"
    if abs(cell) < _NOISE:
        return "0"
    is_lost = round(cell, decimals) == 0 or abs(cell) >= _LARGE
    return f"{cell:.2g}" if is_lost else f"{cell:,.{decimals}f}"


def _decimals(cells: Sequence[Cell]) -> int:
    sizes = [
        abs(cell) for cell in cells if isinstance(cell, float) and _NOISE <= abs(cell) < _LARGE
    ]
    if not sizes:
        return 0
    most = min(max(3 - math.floor(math.log10(max(sizes))), 0), _MOST_DECIMALS)
    return max(len(f"{size:.{most}f}".rstrip("0").partition(".")[2]) for size in sizes)


def numeric_columns(table: Table) -> tuple[bool, ...]:
    """Say of each column whether all that stands in it are numbers."""
    return tuple(
        all(row[place] is None or isinstance(row[place], int | float) for row in table.rows)
        and any(row[place] is not None for row in table.rows)
        for place in range(len(table.columns))
    )
