"""Charts as plotly drawings: plain data, made without importing plotly (a second and more).

Traces are drawn as SVG only (`scatter`, `bar`, `heatmap` with its picture): no WebGL. Colours are
those of the light theme; `palette.in_dark` gives the dark one's. All texts are escaped: plotly
reads a part of HTML in them. No name goes into a template, which would read `%{...}`.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from dashboards.figures.chart import Axis, Bars, Cells, Chart, Labels, Line, Mark, Points
from dashboards.figures.lettering import large_number_text, plotly_text, rounded, shortened
from dashboards.figures.palette import BAND_ALPHA, DASHES, LABEL_ALPHA, LIGHT, SYMBOLS, with_alpha

Data = dict[str, Any]

_SMALLEST_POINT: Final = 11.0
_LARGEST_POINT: Final = 34.0
_FEW_POINTS: Final = 12
_LAST: Final = 2000
_LEVEL_WIDTH: Final = 120
_TICK_WIDTH: Final = 28
_FEW_DECADES: Final = 2.2
_MOST_DECADES: Final = 7
_ASIDES: Final[dict[str, Data]] = {
    "faint": {"line": {"color": LIGHT.faint, "width": 0.8}, "opacity": 0.7},
    "front": {"line": {"color": LIGHT.muted, "width": 1.5, "dash": "dot"}},
    "rule": {"line": {"color": LIGHT.muted, "width": 1}},
}
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def plotly_drawing(chart: Chart) -> Data:
    """Give a chart as `{"data": [...], "layout": {...}}`, ready for JSON and `Plotly.newPlot`.

    The title is not in it: pages have it as text. Width is left to the page.
    """
    largest = max((max(m.weights) for m in chart.marks if isinstance(m, Points) and m.weights),
                  default=0.0)  # fmt: skip
    traces = [trace for mark in chart.marks for trace in _traces(mark, largest=largest)]
    named = [trace["name"] for trace in traces if trace.get("showlegend")]
    return {"data": traces, "layout": _layout(chart, named)}


def _layout(chart: Chart, named: Sequence[str]) -> Data:
    annotations = [each for m in chart.marks if isinstance(m, Labels) for each in _texts(m)]
    return {
        "height": chart.height,
        "autosize": True,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 13, "color": LIGHT.ink},
        "xaxis": _axis(chart.x, chart),
        "yaxis": _axis(chart.y, chart),
        "showlegend": len(named) > 0,
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "itemwidth": 40,
            "font": {"size": 12},
        },
        "hovermode": "closest",
        "hoverlabel": {"namelength": -1, "align": "left"},
        "dragmode": False,
        "annotations": annotations,
        "meta": {"legend": len(named), "leastWidth": least_width(chart), "rows": _num_rows(chart)},
    }


def _axis(axis: Axis, chart: Chart) -> Data:
    drawn: Data = {
        "title": {"text": plotly_text(axis.title), "font": {"size": 13}, "standoff": 10},
        "type": axis.scale,
        "automargin": True,
        "visible": axis.shown,
        "gridcolor": LIGHT.grid,
        "linecolor": LIGHT.muted,
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": LIGHT.muted,
        "tickfont": {"size": 12, "color": LIGHT.ink},
        "fixedrange": True,
    }
    if axis.ticks:
        drawn["tickvals"] = [rounded(at) for at, _ in axis.ticks]
        drawn["ticktext"] = [plotly_text(text) for _, text in axis.ticks]
        drawn["showgrid"] = not any(isinstance(mark, Cells | Labels) for mark in chart.marks)
    elif axis.scale == "log":
        ticks = log_ticks(values_on(axis, chart))
        drawn["tickvals"] = [rounded(at) for at in ticks]
        drawn["ticktext"] = [large_number_text(at) for at in ticks]
    else:
        drawn["nticks"] = 8
    if axis.bounds is not None:
        drawn["range"] = list(axis.bounds)
    return drawn


def values_on(axis: Axis, chart: Chart) -> list[float]:
    """Give every positive number that lies on an axis."""
    is_x = axis is chart.x
    return [
        value
        for mark in chart.marks
        if isinstance(mark, Line | Points)
        for value in (*(mark.x if is_x else mark.y), *(() if is_x else (*mark.low, *mark.high)))
        if value > 0
    ]


def log_ticks(values: Sequence[float]) -> list[float]:
    """Choose ticks for positive values: 1, 2, 5 of each decade, or powers of ten, about 8."""
    if not values:
        return []
    low, high = math.log10(min(values)), math.log10(max(values))
    first, last = math.floor(low), math.ceil(high)
    if high - low <= _FEW_DECADES:
        fine = [m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5)]
        inside = [t for t in fine if low - 0.15 <= math.log10(t) <= high + 0.15]
        if len(inside) > 1:
            return inside
    step = max(1, math.ceil((last - first) / _MOST_DECADES))
    return [10.0**k for k in range(first, last + 1, step)]


def least_width(chart: Chart) -> int:
    """Give the width in pixels below which names on the x axis would lie over each other."""
    has_levels = any(isinstance(mark, Labels) for mark in chart.marks)
    return 40 + len(chart.x.ticks) * (_LEVEL_WIDTH if has_levels else _TICK_WIDTH)


def _num_rows(chart: Chart) -> int:
    """Count names on the y axis that can stand above their points where a page is narrow."""
    is_rows = all(isinstance(mark, Points) for mark in chart.marks)
    return len(chart.y.ticks) if is_rows else 0


def _traces(mark: Mark, *, largest: float) -> list[Data]:
    match mark:
        case Line():
            return _line(mark)
        case Points():
            return [_points(mark, largest)]
        case Bars():
            return [_bars(mark)]
        case Cells():
            return [_cells(mark)]
        case Labels():
            return []


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [rounded(value) for value in values]


def _line(line: Line) -> list[Data]:
    trace: Data = {
        "type": "scatter",
        "mode": "lines",
        "x": _numbers(line.x),
        "y": _numbers(line.y),
        "name": plotly_text(shortened(line.name)),
        "showlegend": bool(line.name),
        "connectgaps": False,
    }
    if line.style != "series":
        return [{**trace, **_ASIDES[line.style], "hoverinfo": "skip", "legendrank": _LAST}]
    colour = LIGHT.series[line.slot]
    drawn = {
        **trace,
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2, "dash": DASHES[line.slot]},
        "marker": {
            "color": colour,
            "symbol": SYMBOLS[line.slot],
            "size": 7,
            "maxdisplayed": _FEW_POINTS if len(line.x) > _FEW_POINTS else 0,
        },
        "hoverinfo": "x+y+name",
    }
    return [*_band(line, colour), drawn]


def _band(line: Line, colour: str) -> list[Data]:
    if not line.low:
        return []
    x = [*line.x, *reversed(line.x)]
    y = [*line.low, *reversed(line.high)]
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": _numbers([a for a, b in zip(x, y, strict=True) if math.isfinite(b)]),
            "y": _numbers([b for b in y if math.isfinite(b)]),
            "fill": "toself",
            "fillcolor": with_alpha(colour, BAND_ALPHA),
            "line": {"width": 0, "color": colour},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]


def _points(points: Points, largest: float) -> Data:
    sizes = [point_size(weight, largest) for weight in points.weights] or 10
    colour = LIGHT.series[points.slot]
    has_labels = any(points.labels)
    trace: Data = {
        "type": "scatter",
        "mode": "markers+text" if has_labels else "markers",
        "x": _numbers(points.x),
        "y": _numbers(points.y),
        "name": plotly_text(shortened(points.name)),
        "showlegend": bool(points.name),
        "cliponaxis": False,
        "marker": {
            "color": colour,
            "symbol": SYMBOLS[points.slot],
            "size": sizes,
            "opacity": 0.75 if points.weights else 1,
            "line": {"color": LIGHT.paper, "width": 1},
        },
        "hoverinfo": "text" if points.texts else "x+y+name",
    }
    if points.texts:
        lines = [[shortened(each, most=80) for each in text.split("\n")] for text in points.texts]
        trace["hovertext"] = ["<br>".join(map(plotly_text, each)) for each in lines]
    if has_labels:
        trace["text"] = [plotly_text(label) for label in points.labels]
        trace["textposition"] = "top center"
        trace["textfont"] = {"size": 12, "color": LIGHT.ink}
    if points.low:
        trace[f"error_{points.along}"] = _whiskers(points, colour)
    return trace


def point_size(weight: float, largest: float) -> float:
    """Give a bubble's diameter in pixels: its area grows with the weight, small ones stay seen."""
    if not largest > 0 or not weight > 0:
        return _SMALLEST_POINT
    return round(max(_SMALLEST_POINT, _LARGEST_POINT * math.sqrt(weight / largest)), 1)


def _whiskers(points: Points, colour: str) -> Data:
    centre = points.x if points.along == "x" else points.y
    ends = list(zip(centre, points.low, points.high, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [rounded(high - at) for at, _, high in ends],
        "arrayminus": [rounded(at - low) for at, low, _ in ends],
        "color": colour,
        "thickness": 1.5,
        "width": 4,
    }


def _bars(bars: Bars) -> Data:
    return {
        "type": "bar",
        "orientation": "h",
        "x": _numbers(bars.lengths),
        "y": _numbers(bars.y),
        "width": 0.7,
        "text": [plotly_text(text) for text in bars.texts],
        "textposition": "outside",
        "cliponaxis": False,
        "textfont": {"color": LIGHT.ink},
        "marker": {"color": LIGHT.series[0]},
        "hoverinfo": "none",
        "showlegend": False,
    }


def _cells(cells: Cells) -> Data:
    scale = LIGHT.scale
    steps = len(scale) - 1
    trace: Data = {
        "type": "heatmap",
        "z": [_numbers(row) for row in cells.values],
        "x": list(range(len(cells.values[0]))),
        "y": [-i for i in range(len(cells.values))],
        "colorscale": [[i / steps, colour] for i, colour in enumerate(scale)],
        "colorbar": {
            "title": {"text": plotly_text(cells.measure), "side": "right", "font": {"size": 12}},
            "thickness": 12,
            "outlinewidth": 0,
            "nticks": 5,
        },
        "xgap": 1,
        "ygap": 1,
        "hoverinfo": "z",
        "showlegend": False,
    }
    if cells.bounds is not None:
        trace["zmin"], trace["zmax"] = cells.bounds
    if cells.texts:
        texts = [["<br>".join(map(plotly_text, text.split("\n"))) for text in row]
                 for row in cells.texts]  # fmt: skip
        trace["text"] = texts
        trace["texttemplate"] = "%{text}"
        trace["textfont"] = {"size": 12}
    return trace


def _texts(labels: Labels) -> list[Data]:
    is_right = labels.side == "right"
    return [
        {
            "x": rounded(x),
            "y": rounded(y),
            "text": plotly_text(text),
            "showarrow": False,
            "xanchor": "left" if is_right else "center",
            "yanchor": "middle" if is_right else "bottom",
            "xshift": 4 if is_right else 0,
            "font": {"size": 12, "color": LIGHT.ink},
            "bgcolor": with_alpha(LIGHT.paper, LABEL_ALPHA),
        }
        for x, y, text in zip(labels.x, labels.y, labels.texts, strict=True)
    ]
