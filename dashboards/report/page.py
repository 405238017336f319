"""A report as one HTML file that needs nothing else: opens offline, prints, reads out loud.

Its charts are drawn by plotly.js, which stands in the file once; the colours follow the page's,
light or dark. A content security policy forbids the page to ask anybody for anything. Texts are
escaped by jinja2, wherever they stand.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from dashboards.figures.chart import Chart, Gallery
from dashboards.figures.figure_page import figure_html, page_script, page_style
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

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup


def page(document: Document, *, version: str) -> str:
    """Write a report as HTML; `version` is trainyard's."""
    environment = _environment()
    blocks = environment.get_template("blocks.html").module
    plotly = ""
    if _has_chart(document):
        from plotly.offline import get_plotlyjs

        plotly = get_plotlyjs()
    return environment.get_template("page.html").render(
        document=document,
        shown=partial(_shown, blocks),
        style=_source(environment, "page.css"),
        figure_style=page_style(),
        script=page_script(),
        plotly=plotly,
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
    environment.globals["table_texts"] = table_texts
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
        case Folded():
            written = blocks.folded(block)
        case Facts():
            written = blocks.facts(block)
        case Notice():
            written = blocks.notice(block)
        case Listing():
            written = blocks.listing(block)
        case Grid():
            written = blocks.grid(block, numeric_columns(block.table))
        case Chart() | Gallery():
            from markupsafe import Markup

            written = Markup(figure_html(block, heading=4))  # it escapes all texts itself
    shown: Markup = written
    return shown


def _has_chart(document: Document) -> bool:
    return any(
        isinstance(block, Chart)
        for section in document.sections
        for block in (*section.blocks, *(each for part in section.parts for each in part.blocks))
    )
