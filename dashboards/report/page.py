"""A report as one HTML file that needs nothing else: opens offline, prints, reads out loud.

Its charts are drawn by plotly.js, which stands in the file once; the colours follow the page's,
light or dark. A content security policy forbids the page to ask anybody for anything. Texts are
escaped by jinja2, wherever they stand.
"""

import base64
import io
import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from dashboards.figures.chart import Chart, Gallery, Table
from dashboards.figures.palette import dark_colours
from dashboards.figures.plotly_drawing import plotly_drawing
from dashboards.report.cells import cell_text, numeric_columns
from dashboards.report.document import (
    Block,
    Bullets,
    Document,
    Facts,
    Grid,
    Listing,
    Notice,
    Paragraph,
)
from experiments.language.printable import printable

if TYPE_CHECKING:
    import jinja2
    import numpy as np
    from markupsafe import Markup
    from numpy.typing import NDArray


def page(document: Document, *, version: str) -> str:
    """Write a report as HTML; `version` is trainyard's."""
    environment = _environment()
    blocks = environment.get_template("blocks.html").module
    drawings = {chart.name: plotly_drawing(chart) for chart in _charts(document)}
    figures, plotly = "", ""
    if drawings:
        from plotly.offline import get_plotlyjs

        figures = _script_json({"drawings": drawings, "dark": dark_colours()})
        plotly = get_plotlyjs()
    return environment.get_template("page.html").render(
        document=document,
        shown=partial(_shown, blocks),
        style=_source(environment, "page.css"),
        script=_source(environment, "page.js"),
        plotly=plotly,
        figures=figures,
        version=version,
    )


def _environment() -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dashboards.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value, keep="\n\t") if type(value) is str else value,
    )
    environment.globals["cell_text"] = cell_text
    return environment


def _source(environment: "jinja2.Environment", name: str) -> str:
    assert environment.loader is not None, "made with one"
    return environment.loader.get_source(environment, name)[0]


def _shown(blocks: Any, block: Block) -> "Markup":
    """Write one block by its macro in blocks.html."""
    match block:
        case Paragraph():
            written = blocks.paragraph(block)
        case Bullets():
            written = blocks.bullets(block)
        case Facts():
            written = blocks.facts(block)
        case Notice():
            written = blocks.notice(block)
        case Listing():
            written = blocks.listing(block)
        case Grid():
            written = blocks.grid(block, _numeric(block.table))
        case Chart():
            written = blocks.chart(block, _numeric(block.table))
        case Gallery():
            written = blocks.gallery(block, _numeric(block.table), png_address)
    shown: Markup = written
    return shown


def _numeric(table: Table) -> tuple[bool, ...]:
    return numeric_columns(table)


def _charts(document: Document) -> Iterator[Chart]:
    for section in document.sections:
        blocks = (*section.blocks, *(block for part in section.parts for block in part.blocks))
        yield from (block for block in blocks if isinstance(block, Chart))


def _script_json(data: Any) -> str:
    """Write JSON that can end no script element, whatever its texts are."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028"}
    for character, escape in escapes.items():
        text = text.replace(character, escape)
    return text


def png_address(image: "NDArray[np.uint8]") -> str:
    """Give an image, (H, W, C) uint8 with C 1 or 3, as a `data:` address of a PNG."""
    from PIL import Image

    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
