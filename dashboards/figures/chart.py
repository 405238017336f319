"""Figures as data: what a drawer needs to draw one, and what a reader gets who does not see it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = tuple[float, ...]
Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis; its title names what is measured and in which unit.

    All positions are numbers. Names lie at numbers of their own: `ticks` are (position, text),
    and where there are any, there are no others. `bounds` are the ends that are shown; without
    them the drawer takes those of the marks. `shown` is False where positions mean nothing.
    """

    title: str
    scale: Literal["linear", "log"] = "linear"
    ticks: tuple[tuple[float, str], ...] = ()
    bounds: tuple[float, float] | None = None
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points, broken where `y` is NaN.

    `series` lines have the colour, dash and symbol of their `slot` and stand in the legend under
    their name. `faint` ones are context, `front` is a dashed border, `rule` an axis or aid; these
    have neither slot nor place in the legend, but for a name that is given. `low` and `high`
    bound a band around a series.
    """

    x: Numbers
    y: Numbers
    name: str = ""
    style: Literal["series", "faint", "front", "rule"] = "series"
    slot: int = 0
    low: Numbers = ()
    high: Numbers = ()


@dataclass(frozen=True, slots=True)
class Points:
    """Points of one series, each told by a text when it is pointed at.

    `weights` give their areas, relative to the chart's largest. `labels` are drawn beside them
    (empty: none). `low` and `high` are the ends of an interval along `x` or `y`, NaN where there
    is none.
    """

    x: Numbers
    y: Numbers
    name: str = ""
    slot: int = 0
    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    weights: Numbers = ()
    low: Numbers = ()
    high: Numbers = ()
    along: Literal["x", "y"] = "y"


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars from 0 to the right, at heights `y`, each with a text at its end."""

    y: Numbers
    lengths: Numbers
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cells:
    """A heat map: row i lies at y = -i, column j at x = j; NaN where there is nothing.

    `texts` stand in the cells, empty where there is no room for them. `bounds` are the ends of the
    colours; without them the drawer takes those of the values.
    """

    values: tuple[Numbers, ...]
    texts: tuple[tuple[str, ...], ...]
    measure: str
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Texts at places, to the `right` of them or `above` them."""

    x: Numbers
    y: Numbers
    texts: tuple[str, ...]
    side: Literal["right", "above"] = "right"


Mark = Line | Points | Bars | Cells | Labels


@dataclass(frozen=True, slots=True)
class Table:
    """The numbers of a figure, for those who want to read or cannot see it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure that shows numbers.

    `name` is a word for files and anchors (`[a-z0-9-]+`). `title` says what is shown;
    `description` says in one sentence what is to be seen, in place of the picture; `note` says
    what was left out or how it was drawn (empty: nothing). `height` is in CSS pixels on a wide
    screen. `legend_title` says what the names in the legend are.
    """

    name: str
    title: str
    description: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    table: Table
    note: str = ""
    height: int = 380
    legend_title: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """Images that belong together, each (H, W, C) uint8 with C 1 or 3, side by side.

    `caption` stands under them, `description` in their place.
    """

    images: tuple[NDArray[np.uint8], ...]
    caption: str
    description: str


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """Tiles under one heading (empty: none)."""

    heading: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """A figure that shows images; the other fields are those of `Chart`."""

    name: str
    title: str
    description: str
    shelves: tuple[Shelf, ...]
    table: Table
    note: str = ""


Figure = Chart | Gallery
