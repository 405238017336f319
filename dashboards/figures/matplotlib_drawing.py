"""Figures as pictures, for Markdown and paper: PNG or SVG, drawn by matplotlib on white."""

import io
import math
import warnings
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from dashboards.figures.chart import Axis, Bars, Cells, Chart, Gallery, Labels, Line, Mark, Points
from dashboards.figures.lettering import large_number_text, shortened
from dashboards.figures.palette import BAND_ALPHA, LABEL_ALPHA, LIGHT
from dashboards.figures.plotly_drawing import log_ticks, point_size, values_on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Sheet

Format = Literal["png", "svg"]

_DASHES: Final = (
    "solid", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (9, 3)), (0, (9, 3, 1, 3)),
)  # fmt: skip
_SYMBOLS: Final = ("o", "s", "D", "^", "X", "v")
_WIDTH: Final = 9.0
_DPI: Final = 120
_ROOM_FOR_TICKS: Final = 60
_MARGIN: Final = 0.06  # room for the largest bubble
_PIXELS_PER_INCH: Final = 80.0
_PAD: Final = 0.1  # inches around all that is drawn
_TILES_LEFT, _TILE_STEP, _TILE_WIDTH = 0.18, 1.1, 1.0
"""Where a gallery's tiles begin, how far apart they stand, and how wide they are, in inches."""

_SETTINGS: Final[Any] = {
    "text.parse_math": False,  # names are text: no `$` is a formula's
    "font.size": 10,
    "axes.edgecolor": LIGHT.muted,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT.grid,
    "text.color": LIGHT.ink,
    "axes.labelcolor": LIGHT.ink,
    "xtick.color": LIGHT.ink,
    "ytick.color": LIGHT.ink,
    "svg.hashsalt": "trainyard",
}


def chart_picture(chart: Chart, *, file_format: Format = "png") -> bytes:
    """Draw a chart, its title above it; the same chart gives the same bytes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Sheet

    with rc_context(_SETTINGS):
        sheet = Sheet(figsize=(_WIDTH, max(3.0, chart.height / _PIXELS_PER_INCH)), dpi=_DPI)
        axes = sheet.add_subplot()
        axes.set_title(shortened(chart.title, most=90), loc="left", fontsize=12, pad=10)
        for mark in chart.marks:
            _draw(axes, mark, chart)
        if not any(isinstance(mark, Cells) for mark in chart.marks):
            axes.margins(_MARGIN)
        _finish(axes, axes.xaxis, chart.x, chart)
        _finish(axes, axes.yaxis, chart.y, chart)
        _add_legend(axes, chart)
        return _saved(sheet, file_format)


def gallery_picture(gallery: Gallery, *, file_format: Format = "png") -> bytes:
    """Draw a gallery's images in rows of at most 8 tiles, each shelf under its heading."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Sheet

    with rc_context({**_SETTINGS, "axes.grid": False}):
        lines = [line for shelf in gallery.shelves for line in _tile_rows(shelf)]
        height = 0.6 + sum(_row_height(tiles) for _, tiles in lines)
        sheet = Sheet(figsize=(_WIDTH, height), dpi=_DPI)
        axes = sheet.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH), ylim=(0, height), autoscale_on=False)
        axes.set_axis_off()  # one for all: one for each image takes ten times as long
        axes.text(_TILES_LEFT, height - 0.05, shortened(gallery.title, most=90), va="top",
                  fontsize=12)  # fmt: skip
        top = height - 0.4
        for heading, tiles in lines:
            if heading:
                axes.text(_TILES_LEFT, top - 0.02, shortened(heading, most=100), va="top",
                          fontsize=9)  # fmt: skip
            _draw_tiles(axes, tiles, top=top - 0.22, bottom=top - _row_height(tiles) + 0.26)
            top -= _row_height(tiles)
        return _saved(sheet, file_format)


def _saved(sheet: "Sheet", file_format: Format) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A sign that no font at hand has (an emoji) is drawn as an empty box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        known = {"Date": None} if file_format == "svg" else {"Software": None}
        box = sheet.get_tightbbox().padded(_PAD)  # "tight" would draw all of it once more first
        sheet.savefig(file, format=file_format, facecolor="white", bbox_inches=box, metadata=known)
    return file.getvalue()


def _draw(axes: "Axes", mark: Mark, chart: Chart) -> None:
    match mark:
        case Line():
            _draw_line(axes, mark)
        case Points():
            _draw_points(axes, mark, chart)
        case Bars():
            _draw_bars(axes, mark)
        case Cells():
            _draw_cells(axes, mark)
        case Labels():
            _draw_labels(axes, mark)


def _draw_line(axes: "Axes", line: Line) -> None:
    styles: dict[str, dict[str, Any]] = {
        "faint": {"color": LIGHT.faint, "linewidth": 0.6, "alpha": 0.7, "zorder": 1},
        "front": {"color": LIGHT.muted, "linewidth": 1.2, "linestyle": ":", "zorder": 2},
        "rule": {"color": LIGHT.muted, "linewidth": 0.8, "zorder": 2},
        "series": {
            "color": LIGHT.series[line.slot],
            "linestyle": _DASHES[line.slot],
            "marker": _SYMBOLS[line.slot],
            "markersize": 4.5,
            "markevery": max(1, len(line.x) // 10),
            "linewidth": 1.6,
            "zorder": 4,
        },
    }
    axes.plot(line.x, line.y, label=_label(line.name), **styles[line.style])
    if line.low:
        axes.fill_between(line.x, line.low, line.high, color=LIGHT.series[line.slot],
                          alpha=BAND_ALPHA, linewidth=0, zorder=3)  # fmt: skip


def _draw_points(axes: "Axes", points: Points, chart: Chart) -> None:
    largest = max((max(m.weights) for m in chart.marks if isinstance(m, Points) and m.weights),
                  default=0.0)  # fmt: skip
    areas = [(0.75 * point_size(weight, largest)) ** 2 for weight in points.weights] or 45.0
    colour = LIGHT.series[points.slot]
    axes.scatter(points.x, points.y, s=areas, c=colour, marker=_SYMBOLS[points.slot],
                 label=_label(points.name), alpha=0.8, edgecolors="white", linewidths=0.7,
                 zorder=5)  # fmt: skip
    for x, y, text in zip(points.x, points.y, points.labels, strict=False):
        if text:
            axes.annotate(text, (x, y), (0, 8), textcoords="offset points", ha="center",
                          va="bottom", fontsize=8, zorder=6)  # fmt: skip
    for x, y, low, high in zip(points.x, points.y, points.low, points.high, strict=False):
        if math.isfinite(low) and math.isfinite(high):
            span = ([low, high], [y, y]) if points.along == "x" else ([x, x], [low, high])
            cap = "|" if points.along == "x" else "_"
            axes.plot(*span, color=colour, linewidth=1.4, marker=cap, markersize=6, zorder=4)


def _draw_bars(axes: "Axes", bars: Bars) -> None:
    axes.barh(bars.y, bars.lengths, height=0.7, color=LIGHT.series[0], zorder=3)
    for y, length, text in zip(bars.y, bars.lengths, bars.texts, strict=True):
        axes.annotate(
            text, (length, y), (4, 0), textcoords="offset points", va="center", fontsize=9
        )


def _draw_cells(axes: "Axes", cells: Cells) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    values = np.ma.masked_invalid(np.asarray(cells.values, dtype=float))
    rows, columns = values.shape
    drawn = axes.imshow(
        values,
        cmap=LinearSegmentedColormap.from_list("blues", LIGHT.scale),
        extent=(-0.5, columns - 0.5, -rows + 0.5, 0.5),
        aspect="auto",
        interpolation="nearest",
    )
    axes.grid(visible=False)
    axes.figure.colorbar(drawn, ax=axes, label=cells.measure, fraction=0.05, pad=0.02)
    middle = (float(values.min()) + float(values.max())) / 2 if values.count() else 0.0
    for i, row in enumerate(cells.texts):
        for j, text in enumerate(row):
            is_dark = values[i, j] is not np.ma.masked and values[i, j] > middle
            axes.text(j, -i, text, ha="center", va="center", fontsize=8.5,
                      color="white" if is_dark else LIGHT.ink)  # fmt: skip


def _draw_labels(axes: "Axes", labels: Labels) -> None:
    is_right = labels.side == "right"
    paper = {"facecolor": "white", "alpha": LABEL_ALPHA, "pad": 0.8, "linewidth": 0}
    for x, y, text in zip(labels.x, labels.y, labels.texts, strict=True):
        axes.annotate(text, (x, y), (4, 0) if is_right else (0, 4), textcoords="offset points",
                      ha="left" if is_right else "center", va="center" if is_right else "bottom",
                      fontsize=8.5, zorder=7, bbox=paper)  # fmt: skip


def _finish(axes: "Axes", drawn: Any, axis: Axis, chart: Chart) -> None:
    """Give an axis its title, scale and ticks; numbers without powers of ten as formulas."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    is_x = drawn is axes.xaxis
    if not axis.shown:
        drawn.set_visible(False)
        (axes.spines["left"] if not is_x else axes.spines["bottom"]).set_visible(False)
    drawn.set_label_text(axis.title)
    if axis.scale == "log":
        (axes.set_xscale if is_x else axes.set_yscale)("log")
        ends = axes.get_xlim() if is_x else axes.get_ylim()
        ticks = log_ticks(values_on(axis, chart))
        drawn.set_ticks(ticks, [large_number_text(at) for at in ticks])
        drawn.set_minor_locator(NullLocator())
        # Ticks widen an axis to where they lie: the marks' own ends are wanted.
        (axes.set_xlim if is_x else axes.set_ylim)(ends)
    elif not axis.ticks:
        drawn.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
    if axis.ticks:
        drawn.set_ticks([at for at, _ in axis.ticks], [text for _, text in axis.ticks])
        crowded = is_x and sum(len(text) + 2 for _, text in axis.ticks) > _ROOM_FOR_TICKS
        drawn.set_tick_params(rotation=40 if crowded else 0)
        if crowded:
            for text in drawn.get_ticklabels():
                text.set(ha="right", rotation_mode="anchor")
    if axis.bounds is not None:
        (axes.set_xlim if is_x else axes.set_ylim)(axis.bounds)


def _add_legend(axes: "Axes", chart: Chart) -> None:
    from matplotlib.collections import PathCollection

    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    legend = axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0),
                         fontsize=8.5, frameon=False, title=chart.legend_title, handlelength=3.2,
                         alignment="left")  # fmt: skip
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([45.0])  # bubbles differ in size: the key shows symbols only


def _label(name: str) -> str:
    """Give a name as matplotlib's legend takes it: one that begins with `_` would be left out."""
    text = shortened(name)
    return text if text and not text.startswith("_") else f" {text}" if text else "_nolegend_"


def _tile_rows(shelf: Any) -> list[tuple[str, list[Any]]]:
    widest = max(len(tile.images) for tile in shelf.tiles)
    per_row = max(1, 8 // widest) if widest > 1 else 8
    tiles = list(shelf.tiles)
    rows = [tiles[i : i + per_row] for i in range(0, len(tiles), per_row)]
    return [(shelf.heading if i == 0 else "", row) for i, row in enumerate(rows)]


def _row_height(tiles: list[Any]) -> float:
    """Give the height of a row of tiles in inches; captions need room, and strips little."""
    if all(_is_strip(image) for tile in tiles for image in tile.images):
        return 0.85
    return 1.5 if any(tile.caption for tile in tiles) else 1.35


def _is_strip(image: Any) -> bool:
    """Whether an image is so much wider than high that it gets the room of three: a vector's."""
    height, width = image.shape[:2]
    return bool(width >= 3 * height)


def _draw_tiles(axes: "Axes", tiles: list[Any], *, top: float, bottom: float) -> None:
    """Draw tiles side by side; each image of a tile takes an eighth of the width."""
    column = 0
    for tile in tiles:
        for i, image in enumerate(tile.images):
            height, width = image.shape[:2]
            room = 3 * _TILE_STEP if _is_strip(image) else _TILE_WIDTH
            scale = min(room / width, (top - bottom) / height)
            left, lower = _TILES_LEFT + column * _TILE_STEP, top - scale * height
            axes.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0,
                        vmax=255, interpolation="nearest", aspect="auto",
                        extent=(left, left + scale * width, lower, top))  # fmt: skip
            if i == 0 and tile.caption:
                axes.text(left, lower - 0.05, shortened(tile.caption, most=20 * len(tile.images)),
                          va="top", fontsize=6.5)  # fmt: skip
            column += 3 if _is_strip(image) else 1
