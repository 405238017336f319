"""Rows of the catalogue as people read them: a name, and beside it what there is to know."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from dashboards.tables import shown

_GAP = 2


def catalogue_view(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Show rows that have `name` and `doc`; what else they have follows line by line."""
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True, style="bold")
    for row in rows:
        grid.add_row(shown(row["name"]), _about(row))
    return grid


def _about(row: Mapping[str, Any]) -> Table:
    about = Table.grid(padding=(0, _GAP, 0, 0))
    lines = Table.grid(padding=(0, _GAP, 0, 0))
    for key, value in row.items():
        text = value if isinstance(value, str) else ", ".join(value)
        if text and key not in ("name", "doc"):
            lines.add_row(key.replace("_", " "), shown(text))
    about.add_row(shown(row["doc"]))
    about.add_row(lines)
    return about
