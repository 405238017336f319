"""A report as Markdown (CommonMark with tables), its figures as PNG files beside it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from dashboards.figures.chart import Chart, Gallery, Table
from dashboards.report.cells import numeric_columns, table_texts
from dashboards.report.document import (
    Block,
    Bullets,
    Document,
    Facts,
    Folded,
    Grid,
    Listing,
    Notice,
    Paragraph,
)
from experiments.language.printable import printable

FIGURES: Final = "figures"
"""The folder of the pictures, beside the text."""

_MOST_ROWS: Final = 40
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")
_BULLET: Final = re.compile(r"^(\s*)([-+=])")
_NUMBERED: Final = re.compile(r"^(\s*\d{1,9})([.)])(?=\s|$)")


def markdown(document: Document, *, folder: Path) -> str:
    """Write a report as Markdown, and its pictures into `folder`.

    Tables are cut after forty rows; the page and the files of trials have them all.

    Raises:
        OSError: There is no room or no right to write.
    """

    def draw(figure: Chart | Gallery) -> str:
        from dashboards.figures.matplotlib_drawing import chart_picture, gallery_picture

        picture = chart_picture(figure) if isinstance(figure, Chart) else gallery_picture(figure)
        (folder / FIGURES).mkdir(exist_ok=True)
        (folder / FIGURES / f"{figure.name}.png").write_bytes(picture)
        return f"{FIGURES}/{figure.name}.png"

    return "\n\n".join(_parts(document, draw)) + "\n"


def _parts(document: Document, draw: Callable[[Chart | Gallery], str]) -> Iterator[str]:
    yield f"# {escaped(document.title)}"
    if document.question:
        yield escaped(document.question)
    yield escaped(document.subtitle)
    yield "## Answer"
    for number, sentence in enumerate(document.sentences):
        yield escaped(sentence) if number else f"**{escaped(sentence)}**"
    if document.caveats:
        yield "### To be kept in mind"
        yield _bullets(document.caveats)
    for section in document.sections:
        yield f"## {escaped(section.heading)}"
        for block in section.blocks:
            yield from _block(block, draw)
        for part in section.parts:
            yield f"### {escaped(part.heading)}"
            for block in part.blocks:
                yield from _block(block, draw)
    yield "---"
    yield escaped(document.colophon)


def _block(block: Block, draw: Callable[[Chart | Gallery], str]) -> Iterator[str]:
    match block:
        case Paragraph():
            yield escaped(block.text)
        case Bullets():
            yield _bullets(block.items)
        case Folded():
            yield escaped(f"{block.caption}:")
            yield _bullets(block.items)
        case Facts():
            yield _bullets(f"{name}: {text}" for name, text in block.pairs)
        case Notice():
            yield f"> {escaped(block.text)}"
        case Listing():
            yield escaped(block.caption)
            yield _fenced(block.text)
        case Grid():
            yield escaped(block.caption)
            yield from _table(block.table, block.note)
        case Chart() | Gallery():
            yield f"![{escaped(block.description)}]({draw(block)})"
            note = f" {escaped(block.note)}" if block.note else ""
            yield f"**{escaped(block.title)}.** {escaped(block.description)}{note}"


def _bullets(items: Iterator[str] | tuple[str, ...]) -> str:
    return "\n".join(f"- {escaped(item)}" for item in items)


def _table(table: Table, note: str) -> Iterator[str]:
    numeric = numeric_columns(table)
    lines = [
        _row(table.columns),
        "|" + "|".join(" ---: " if each else " --- " for each in numeric) + "|",
        *map(_row, table_texts(table)[:_MOST_ROWS]),
    ]
    yield "\n".join(lines)
    if len(table.rows) > _MOST_ROWS:
        yield f"The first {_MOST_ROWS} of {len(table.rows):,} rows; the page has them all."
    if note:
        yield escaped(note)


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(escaped(cell) for cell in cells) + " |"


def _fenced(text: str) -> str:
    """Give lines as they are, within a fence that is longer than any in them."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{printable(text, keep=chr(10) + chr(9)).rstrip()}\n{fence}"


def escaped(text: str) -> str:
    """Give a text as one line that Markdown shows as it is: no markup, list, link or HTML."""
    line = " ".join(printable(text).split())
    line = _BULLET.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line))
    return _NUMBERED.sub(r"\1\\\2", line)
