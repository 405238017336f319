"""Figures as parts of a page: the HTML of each, the one script that draws them, and their style."""

import base64
import html
import io
import json
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dashboards.figures.chart import Cell, Chart, Figure, Gallery, Shelf, Table, Tile
from dashboards.figures.palette import DARK, LIGHT, dark_colours
from dashboards.figures.plotly_drawing import plotly_drawing
from experiments.language.printable import printable

_TILE_PIXELS: Final = 96
_STRIP: Final = 3
"""An image so many times as wide as it is high is a strip (of a vector), and has more room."""
_STRIP_PIXELS: Final = 320
_LARGEST_PIXEL: Final = 16
_TILE_GAP: Final = 4


def figure_html(figure: Figure, *, heading: int = 3) -> str:
    """Give a figure as HTML: heading, picture, note, and its table in a fold.

    A chart is drawn by `page_script()`; before that, and without scripts, its description and
    its table are there. All names come out as text.
    """
    title = _shown(figure.title)
    body = _chart_body(figure) if isinstance(figure, Chart) else _gallery_body(figure)
    caption = f"<figcaption>{_shown(figure.note)}</figcaption>" if figure.note else ""
    return (
        f"<figure class='figure' id='figure-{_shown(figure.name)}'>"
        f"<h{heading}>{title}</h{heading}>{body}"
        f"{caption}"
        f"<details class='figure-table'><summary>The numbers as a table</summary>"
        f"<div class='figure-scroll' tabindex='0' role='region' aria-label='Table: {title}'>"
        f"{table_html(figure.table)}</div></details></figure>"
    )


def table_html(table: Table) -> str:
    """Give a table as HTML; numbers are set to the right."""
    head = "".join(f"<th scope='col'>{_shown(name)}</th>" for name in table.columns)
    rows = "".join(f"<tr>{''.join(map(_cell_html, row))}</tr>" for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def page_script() -> str:
    """Give the script that draws every chart of a page, for the end of its body.

    It needs `Plotly` (plotly.min.js) before it. Charts take the colours of the page's scheme,
    follow when that changes, and are light and as wide as the paper in print.
    """
    return _SCRIPT.replace("DARK_COLOURS", _json(dark_colours()))


def page_style() -> str:
    """Give the CSS of figures; colours are variables, so that a page may have its own."""
    return _STYLE.replace("DARK_VARIABLES", _variables(DARK)).replace(
        "LIGHT_VARIABLES", _variables(LIGHT)
    )


def _shown(text: str) -> str:
    """Escape a text: no markup, and no characters that would steer who copies it."""
    return html.escape(printable(text))


def _variables(theme: Any) -> str:
    return (
        f"--figure-ink:{theme.ink};--figure-muted:{theme.muted};"
        f"--figure-grid:{theme.grid};--figure-paper:{theme.paper};"
    )


def _json(data: Any) -> str:
    """Write JSON that cannot end the script that it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _chart_body(chart: Chart) -> str:
    description = _shown(f"{chart.title}. {chart.description}")
    return (
        "<div class='figure-frame'>"
        f"<div class='figure-plot' role='img' aria-label='{description}' "
        f"style='min-height:{chart.height}px'></div></div>"
        f"<script type='application/json' class='figure-data'>{_json(plotly_drawing(chart))}"
        "</script>"
    )


def _cell_html(cell: Cell) -> str:
    if cell is None:
        return "<td></td>"
    if isinstance(cell, str):
        return f"<td>{_shown(cell)}</td>"
    return (
        f"<td class='number'>{cell:g}</td>"
        if isinstance(cell, float)
        else (f"<td class='number'>{cell:,}</td>")
    )


def _gallery_body(gallery: Gallery) -> str:
    return "".join(map(_shelf_html, gallery.shelves))


def _shelf_html(shelf: Shelf) -> str:
    heading = f"<p class='shelf-heading'>{_shown(shelf.heading)}</p>" if shelf.heading else ""
    return f"{heading}<div class='shelf'>{''.join(map(_tile_html, shelf.tiles))}</div>"


def _tile_html(tile: Tile) -> str:
    images = "".join(
        _image_html(image, tile.description if i == 0 else "")
        for i, image in enumerate(tile.images)
    )
    caption = f"<span>{_shown(tile.caption)}</span>" if tile.caption else ""
    width = max(_TILE_PIXELS, sum(_drawn_size(image)[0] + _TILE_GAP for image in tile.images))
    return (
        f"<div class='tile' style='width:{width}px'><div class='images'>{images}</div>"
        f"{caption}</div>"
    )


def _image_html(image: NDArray[np.uint8], description: str) -> str:
    width, height = _drawn_size(image)
    return (
        f"<img alt='{_shown(description)}' width='{width}' height='{height}' "
        f"src='{image_uri(image)}'>"
    )


def _drawn_size(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Give width and height on the page: a whole multiple of the image's, so that it is crisp."""
    height, width = image.shape[:2]
    room = _STRIP_PIXELS if width >= _STRIP * height else _TILE_PIXELS
    scale = max(1, min(_LARGEST_PIXEL, math.floor(room / max(height, width))))
    return width * scale, height * scale


def image_uri(image: NDArray[np.uint8]) -> str:
    """Give an image (H, W, C) uint8, C being 1 or 3, as a PNG in a `data:` address."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(
        file, format="PNG", optimize=True
    )
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


_SCRIPT: Final = """
(() => {
  const dark = DARK_COLOURS;
  const scheme = window.matchMedia('(prefers-color-scheme: dark)');
  const narrow = 600, legendRow = 20, nameRow = 16, paperWidth = 680;
  const recolour = (part, key) => {
    if (Array.isArray(part)) return part.map(each => recolour(each, key));
    if (part && typeof part === 'object')
      return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, recolour(value,
        name.endsWith('color') || name.endsWith('colorscale'))]));
    return key && typeof part === 'string' && dark[part] ? dark[part] : part;
  };
  let onPaper = false;
  const draw = place => {
    const frame = place.parentNode;
    const stored = JSON.parse(frame.parentNode.querySelector('.figure-data').textContent);
    const drawing = scheme.matches && !onPaper ? recolour(stored, false) : stored;
    const layout = drawing.layout, meta = layout.meta;
    const isWider = !onPaper && meta.leastWidth > frame.clientWidth;
    place.style.width = isWider ? meta.leastWidth + 'px' : '';
    if (isWider) frame.tabIndex = 0; else frame.removeAttribute('tabindex');
    if (onPaper) { layout.autosize = false; layout.width = paperWidth; }
    else if (frame.clientWidth < narrow) {
      layout.height += legendRow * meta.legend + nameRow * meta.rows;
      if (!layout.xaxis.tickvals) layout.xaxis.nticks = 6;
      if (meta.rows) {
        layout.yaxis.showticklabels = false;
        layout.annotations = layout.yaxis.tickvals.map((at, i) => ({xref: 'paper', x: 0, y: at,
          xanchor: 'left', yanchor: 'bottom', yshift: 3, showarrow: false,
          font: layout.yaxis.tickfont, text: layout.yaxis.ticktext[i]}));
      }
      for (const trace of drawing.data) if (trace.type === 'heatmap') trace.showscale = false;
    }
    place.style.minHeight = layout.height + 'px';
    return Plotly.react(place, drawing.data, layout, {displayModeBar: false, responsive: !onPaper});
  };
  const drawAll = () => document.querySelectorAll('.figure-plot').forEach(draw);
  let wasNarrow = window.innerWidth < narrow;
  scheme.addEventListener('change', drawAll);
  window.addEventListener('resize', () => {
    const isNarrow = window.innerWidth < narrow;
    if (isNarrow !== wasNarrow) { wasNarrow = isNarrow; drawAll(); }
  });
  window.addEventListener('beforeprint', () => { onPaper = true; drawAll(); });
  window.addEventListener('afterprint', () => { onPaper = false; drawAll(); });
  drawAll();
})();
"""

_STYLE: Final = """
:root{color-scheme:light dark;LIGHT_VARIABLES}
@media (prefers-color-scheme:dark){:root{DARK_VARIABLES}}
@media print{:root{LIGHT_VARIABLES}.figure{break-inside:avoid}.figure-table{display:none}}
.figure{margin:2rem 0;color:var(--figure-ink)}
.figure h2,.figure h3,.figure h4{margin:0 0 .5rem;overflow-wrap:anywhere}
.figure figcaption{color:var(--figure-muted);font-size:.9rem;margin:.5rem 0;overflow-wrap:anywhere}
.figure-plot{width:100%}
.figure-frame{overflow-x:auto}
.figure-scroll{overflow:auto;max-height:24rem}
.figure-table table{border-collapse:collapse;font-size:.85rem}
.figure-table th,.figure-table td{padding:.2rem .6rem;border-bottom:1px solid var(--figure-grid);
text-align:left}
.figure-table .number{text-align:right;font-variant-numeric:tabular-nums}
.shelf{display:flex;flex-wrap:wrap;gap:.6rem}
.shelf-heading{margin:.8rem 0 .3rem;font-weight:600;font-size:.9rem;overflow-wrap:anywhere}
.tile{max-width:100%;font-size:.78rem;break-inside:avoid}
.tile span{display:block;overflow-wrap:anywhere}
.images{display:flex;gap:.2rem}
.images img{image-rendering:pixelated;min-width:0;max-width:100%;height:auto;object-fit:contain;
border:1px solid var(--figure-grid)}
"""
