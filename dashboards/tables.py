"""Plain tables and a console for terminals, files and pipes alike."""

import sys

from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 200


def console(*, stderr: bool = False) -> Console:
    """Give a console; off a terminal it neither wraps early nor colours."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False, emoji=False)


def plain_table(*columns: str, title: str | None = None) -> Table:
    """Make a table without a frame; a column named `>x` is set to the right."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="bold",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for name in columns:
        table.add_column(
            name.removeprefix(">"), justify="right" if name.startswith(">") else "left"
        )
    return table
