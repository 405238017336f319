"""Colours, dashes and symbols: told apart by the colour-blind, in grey, and on light and dark."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a page."""

    ink: str
    muted: str
    grid: str
    paper: str
    faint: str
    series: tuple[str, ...]
    scale: tuple[str, ...]


LIGHT: Final = Theme(
    ink="#1b1f24",
    muted="#57606a",
    grid="#e1e4e8",
    paper="#ffffff",
    faint="#b4bac1",
    series=("#0072b2", "#d55e00", "#007f5c", "#a8447f", "#8a6100", "#1f7fb8"),
    scale=("#f2f6fb", "#b7d3ea", "#6aa6d2", "#2272ae", "#083d6b"),
)
"""Okabe and Ito's hues (Color Universal Design, 2008); its light ones (green, purple, orange
and sky blue) darkened until each has a contrast of at least 3 on white (WCAG 2.2, 1.4.11)."""

DARK: Final = Theme(
    ink="#e6edf3",
    muted="#a4adb7",
    grid="#30363d",
    paper="#0d1117",
    faint="#59626c",
    series=("#4ba3e3", "#f0803c", "#2fc39a", "#dd8fbb", "#e6ab2f", "#7cc8f2"),
    scale=("#16222e", "#1d4263", "#2a6ea3", "#5ba3d6", "#c6e2f7"),
)
"""The same hues for a dark page."""

DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down")
NUM_SLOTS: Final = 6
"""Series that are told apart by colour, dash and symbol at once; more would need a key."""


def with_alpha(colour: str, alpha: float) -> str:
    """Give `#rrggbb` as `rgba(r,g,b,alpha)`."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


BAND_ALPHA: Final = 0.16
LABEL_ALPHA: Final = 0.85


def dark_colours() -> dict[str, str]:
    """Name, for each colour of the light theme, the one that stands for it on a dark page."""
    pairs = [
        (LIGHT.ink, DARK.ink),
        (LIGHT.muted, DARK.muted),
        (LIGHT.grid, DARK.grid),
        (LIGHT.paper, DARK.paper),
        (LIGHT.faint, DARK.faint),
        *zip(LIGHT.series, DARK.series, strict=True),
        *zip(LIGHT.scale, DARK.scale, strict=True),
    ]
    clear = [
        (with_alpha(light, alpha), with_alpha(dark, alpha))
        for light, dark in pairs
        for alpha in (BAND_ALPHA, LABEL_ALPHA)
    ]
    return dict(pairs + clear)


def in_dark(drawing: Any) -> Any:
    """Give a plotly drawing of the light theme with the colours of the dark one.

    Only what stands under a key that ends in `color` or `colorscale` is a colour.
    """
    return _recoloured(drawing, dark_colours(), is_colour=False)


def _recoloured(part: Any, colours: Mapping[str, str], *, is_colour: bool) -> Any:
    if isinstance(part, dict):
        return {
            key: _recoloured(value, colours, is_colour=key.endswith(("color", "colorscale")))
            for key, value in part.items()
        }
    if isinstance(part, list):
        return [_recoloured(each, colours, is_colour=is_colour) for each in part]
    return colours.get(part, part) if is_colour and isinstance(part, str) else part
