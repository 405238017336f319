"""A report as data: what it says, and in which order.

How it is written is for `page.py` and `markdown.py`. All texts are plain: names in them may hold
markup, which whoever writes them escapes.
"""

from dataclasses import dataclass
from typing import Literal

from dashboards.figures.chart import Figure, Table


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """Sentences one below the other."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Folded:
    """Sentences one below the other, folded away under their caption."""

    caption: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what they stand for."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table that is read, not one behind a figure.

    `caption` says what it shows. Of a page's long tables only the first `num_shown` rows are
    open. `note` says what was left out (empty: nothing).
    """

    name: str
    caption: str
    table: Table
    num_shown: int = 20
    note: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A text in its own lines, such as a spec, folded away under its caption."""

    caption: str
    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What whoever reads on must know: `caveat` of what is claimed, or a `fault` of trials."""

    text: str
    kind: Literal["caveat", "fault"] = "caveat"


Block = Paragraph | Bullets | Folded | Facts | Grid | Listing | Notice | Figure


@dataclass(frozen=True, slots=True)
class Part:
    """What stands under a heading of its own within a section."""

    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter; `name` is its anchor (`[a-z0-9-]+`)."""

    name: str
    heading: str
    parts: tuple[Part, ...] = ()
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report.

    `sentences` are the answer, `caveats` what must be known with it, `subtitle` one line on what
    the report is about; `question` is what was asked, in the words of who asked, or empty. Names of
    figures, grids and sections are all different.
    """

    title: str
    subtitle: str
    sentences: tuple[str, ...]
    caveats: tuple[str, ...]
    sections: tuple[Section, ...]
    colophon: str
    question: str = ""
