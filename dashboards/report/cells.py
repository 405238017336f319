"""How the cells of a report's tables are written, in HTML and in Markdown alike."""

import math
from typing import Final

from dashboards.figures.chart import Cell, Table
from experiments.language.printable import printable

_NOISE: Final = 1e-12
"""What is left of differences between equal numbers."""


def cell_text(cell: Cell) -> str:
    """Write a cell: numbers with four significant digits, nothing for what is missing."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return printable(str(cell))
    if isinstance(cell, int) or (cell.is_integer() and abs(cell) < 1e15):
        return f"{cell:,.0f}"
    return "0" if abs(cell) < _NOISE else f"{cell:.4g}"


def numeric_columns(table: Table) -> tuple[bool, ...]:
    """Say of each column whether all that stands in it are numbers."""
    return tuple(
        all(row[place] is None or isinstance(row[place], int | float) for row in table.rows)
        and any(row[place] is not None for row in table.rows)
        for place in range(len(table.columns))
    )
