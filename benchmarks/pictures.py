"""Pictures of measurements: one bar each, with its spread, as SVG that is the same every time."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

_OURS: Final = "#1f6f8b"
_OTHERS: Final = "#b8bec4"
_LOG_FROM: Final = 30.0
"""Bars that differ by more than this factor are drawn on a logarithmic scale."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One measurement; all bars of a picture have one `unit`."""

    label: str
    unit: str
    figure: Mapping[str, Any]
    is_ours: bool


def bars(shown: Sequence[Bar]) -> str:
    """Draw bars below each other: the median, with a line from the smallest to the largest."""
    # Text stays text, and names in the file depend on nothing but the picture.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "trainyard"}):
        figure = Figure(figsize=(8.0, 0.9 + 0.32 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        medians = [bar.figure["median"] for bar in shown]
        below = [bar.figure["median"] - bar.figure["min"] for bar in shown]
        above = [bar.figure["max"] - bar.figure["median"] for bar in shown]
        colours = [_OURS if bar.is_ours else _OTHERS for bar in shown]
        places = range(len(shown))
        axes.barh(places, medians, xerr=[below, above], color=colours, capsize=2)
        axes.set_yticks(places, [bar.label for bar in shown])
        axes.invert_yaxis()
        if max(medians) > _LOG_FROM * min(medians) > 0:
            axes.set_xscale("log")
        axes.set_xlabel(shown[0].unit)
        axes.spines[["top", "right"]].set_visible(False)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"
