"""Plain tables and a console for terminals, files and pipes alike."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from experiments.language.printable import printable

_PIPE_WIDTH = 200
_GAP = 2
_SHORTEST_CELL = 20
_LONGEST_LINE = 100


def console(*, stderr: bool = False) -> Console:
    """Give a console; off a terminal it neither wraps early nor colours."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=False, emoji=False)


def shown(text: str, *, keep: str = "") -> str:
    """Give a text of the store's as text: it neither styles nor steers the terminal."""
    return escape(printable(text, keep=keep))


def one_line(text: str) -> str:
    """Give the beginning of a text of the store's as one line."""
    line = " ".join(text.split())
    return shown(line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}...")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table of the store's.

    `>` before a name sets it to the right. `drop` says how soon the column is left out
    where the terminal is narrow: the highest first, 0 never. Of a `flexible` one the middles of
    long cells go.
    """

    name: str
    drop: int = 0
    flexible: bool = False


def plain_table(*columns: str, title: str | None = None) -> Table:
    """Make an empty table without a frame; a column named `>x` is set to the right."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        header_style="bold",
        pad_edge=False,
        padding=(0, _GAP, 0, 0),
    )
    for name in columns:
        right = name.startswith(">")
        table.add_column(name.removeprefix(">"), justify="right" if right else "left")
    return table


def fitted_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int) -> Table:
    """Make a table in which every row is one line and no id or number is cut.

    What does not fit into `width` characters goes: first columns, by their `drop`, then the
    middles of flexible cells, whose ends tell them apart.
    """
    lengths = [
        max(len(column.name.removeprefix(">")), *(len(_text(row[i])) for row in rows), 0)
        for i, column in enumerate(columns)
    ]
    kept = [i for i, column in enumerate(columns) if any(row[i] for row in rows) or not rows]
    droppable = sorted((i for i in kept if columns[i].drop), key=lambda i: -columns[i].drop)
    while droppable and _needed(columns, lengths, kept) > width:
        kept.remove(droppable.pop(0))
    flexible = [i for i in kept if columns[i].flexible]
    room = width - sum(_GAP + (0 if i in flexible else lengths[i]) for i in kept)
    widths = dict(enumerate(lengths)) | _shared(room, {i: lengths[i] for i in flexible})
    table = plain_table(*(columns[i].name for i in kept))
    for made, i in zip(table.columns, kept, strict=True):
        made.no_wrap, made.overflow, made.min_width = True, "ellipsis", widths[i]
    for row in rows:
        table.add_row(*(_cut(_text(row[i]), widths[i]) for i in kept))
    return table


def _needed(columns: Sequence[Column], lengths: Sequence[int], kept: Sequence[int]) -> int:
    """Count the characters of the kept columns, flexible ones cut to what still says something."""
    return sum(
        _GAP + (min(lengths[i], _SHORTEST_CELL) if columns[i].flexible else lengths[i])
        for i in kept
    )


def _shared(room: int, lengths: Mapping[int, int]) -> dict[int, int]:
    """Share a room among columns: the short ones get what they need, the long ones alike."""
    widths: dict[int, int] = {}
    for number, (place, length) in enumerate(sorted(lengths.items(), key=lambda pair: pair[1])):
        fair = room // (len(lengths) - number)
        widths[place] = min(length, max(fair, _SHORTEST_CELL))
        room -= widths[place]
    return widths


def _text(cell: str) -> Text:
    return Text.from_markup(cell, emoji=False)


def _cut(text: Text, width: int) -> Text:
    """Take the middle out of a text that is longer than its column."""
    if len(text) <= width:
        return text
    front = width // 2
    return Text.assemble(text[:front], "…", text[len(text) - (width - front - 1) :])
