"""Figures of what a trained network does: images, from `workers/portrait_records.py`."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from dashboards.figures.chart import Cell, Gallery, Shelf, Table, Tile
from dashboards.figures.lettering import large_number_text, listed, rounded, shortened
from dashboards.figures.wording import counted
from workers.portrait_records import (
    Filters,
    Image,
    LayerMaps,
    Portrait,
    Reconstruction,
    Segmentation,
    WrongAnswer,
    WrongValue,
)

_MASK_COLOURS: Final = np.array(
    [
        (27, 31, 36), (230, 159, 0), (86, 180, 233), (0, 158, 115),
        (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""Okabe and Ito's colours (2008) on near-black; a ninth class begins anew."""

_COLOUR_NAMES: Final = (
    "black", "orange", "sky blue", "green", "yellow", "blue", "vermilion", "purple",
)  # fmt: skip
_MOST_NAME: Final = 18
_Record = TypeVar("_Record")


def portrait_galleries(portrait: Portrait) -> tuple[Gallery, ...]:
    """Give every gallery that the portrait has something for, failures first."""
    found = (
        failures_gallery(portrait),
        segmentations_gallery(portrait),
        reconstructions_gallery(portrait),
        filters_gallery(portrait),
        feature_maps_gallery(portrait),
    )
    return tuple(gallery for gallery in found if gallery is not None)


def failures_gallery(portrait: Portrait) -> Gallery | None:
    """Show the worst failures, worst first, each with what is true and what was answered.

    None where there are none, or where the inputs are no images.
    """
    tiles: list[Tile] = []
    rows: list[tuple[Cell, ...]] = []
    for failure in portrait.failures:
        if isinstance(failure, WrongAnswer | WrongValue):
            if failure.image is None:
                continue
            true, predicted = _answers(failure, portrait.target_names)
            sure = failure.confidence if isinstance(failure, WrongAnswer) else None
            told = f", {sure:.0%} sure" if sure is not None else ""
            caption = f"{_short(true)} → {_short(predicted)}{told}"
            tiles.append(Tile((failure.image,), caption, f"{true} taken for {predicted}{told}"))
            known = None if sure is None else rounded(sure)
            rows.append((failure.index, true, predicted, known, rounded(failure.loss)))
    if not tiles:
        return None
    of = portrait.num_failures
    among = f" of {counted(of, 'wrong answer')}" if of is not None else ""
    return Gallery(
        name="failures",
        title="Worst failures on the test split",
        description=f"{counted(len(tiles), 'example')} with the largest loss{among}, worst first.",
        shelves=(Shelf("", tuple(tiles)),),
        table=Table(("example", "true", "answer", "confidence", "loss"), tuple(rows)),
        note=f"Captions read true → answered.{_looked_at(portrait)}",
    )


def segmentations_gallery(portrait: Portrait) -> Gallery | None:
    """Show images with their true and predicted masks, and where these differ; None without any.

    The worst failures come first where the portrait has them.
    """
    worst = [f for f in portrait.failures if isinstance(f, Segmentation)]
    even = [s for s in portrait.segmentations if s.index not in {f.index for f in worst}]
    shelves = _shelves(("The worst", worst), ("Evenly from worst to best", even), tile=_mask_tile)
    if not shelves:
        return None
    shown = [*worst, *even]
    key = [
        f"{name}: {_COLOUR_NAMES[i % len(_COLOUR_NAMES)]}"
        for i, name in enumerate(portrait.class_names[: 2 * len(_COLOUR_NAMES)])
    ]
    legend = f" Colours: {listed(key)}." if key else ""
    return Gallery(
        name="segmentations",
        title="Images and masks of the test split: image, true, predicted, differences",
        description=(
            f"{counted(len(shown), 'image')} with masks; intersection over union from "
            f"{min(s.iou for s in shown):.3f} to {max(s.iou for s in shown):.3f}."
        ),
        shelves=shelves,
        table=Table(
            ("example", "intersection over union"),
            tuple((s.index, rounded(s.iou)) for s in shown),
        ),
        note=f"White in the fourth picture: predicted otherwise than true.{legend}"
        f"{_looked_at(portrait)}",
    )


def reconstructions_gallery(portrait: Portrait) -> Gallery | None:
    """Show images beside what the network made of them; None where there are none."""
    worst = [f for f in portrait.failures if isinstance(f, Reconstruction)]
    even = [r for r in portrait.reconstructions if r.index not in {f.index for f in worst}]
    shelves = _shelves(("The worst", worst), ("Evenly from worst to best", even), tile=_pair_tile)
    if not shelves:
        return None
    shown = [*worst, *even]
    return Gallery(
        name="reconstructions",
        title="Images of the test split and what the network makes of them",
        description=(
            f"{counted(len(shown), 'image')}, each beside its reconstruction; PSNR from "
            f"{min(r.psnr for r in shown):.1f} to {max(r.psnr for r in shown):.1f} dB."
        ),
        shelves=shelves,
        table=Table(("example", "PSNR (dB)"), tuple((r.index, rounded(r.psnr)) for r in shown)),
        note=f"Left the image, right the reconstruction.{_looked_at(portrait)}",
    )


def filters_gallery(portrait: Portrait) -> Gallery | None:
    """Show the first layer's filters; None where the first layer lays none on an image."""
    filters: Filters | None = portrait.filters
    if filters is None or not len(filters.images):
        return None
    tiles = tuple(
        Tile((image,), str(i), f"filter {i}") for i, image in enumerate(filters.images, start=1)
    )
    left = filters.num_filters - len(tiles)
    height, width, channels = filters.images.shape[1:]
    return Gallery(
        name="filters",
        title=f"What the first layer looks for: filters of {shortened(filters.layer)}",
        description=(
            f"{counted(len(tiles), 'filter')} of {filters.num_filters}, each {height} x {width} "
            f"weights{' in three colours' * (channels == 3)}, drawn as images."
        ),
        shelves=(Shelf("", tiles),),
        table=Table(
            ("filter", "mean grey (128: weight 0)", "lowest", "highest"),
            tuple(
                (i, rounded(float(image.mean())), int(image.min()), int(image.max()))
                for i, image in enumerate(filters.images, start=1)
            ),
        ),
        note=(
            "Middle grey is a weight of 0; each filter is scaled by its own largest weight."
            f"{f' {left} more are not shown.' if left else ''}"
        ),
    )


def feature_maps_gallery(portrait: Portrait) -> Gallery | None:
    """Show what each layer makes of one image; None where that was not looked at."""
    seen = portrait.feature_maps
    if seen is None:
        return None
    image = Tile((seen.image,), "the image", f"example {seen.index} of the test split")
    return Gallery(
        name="feature-maps",
        title=f"Example {seen.index} of the test split on its way through the network",
        description=f"The image, then what {counted(len(seen.layers), 'layer')} make of it.",
        shelves=(
            Shelf("input", (image,)),
            *(Shelf(_layer_heading(layer), _map_tiles(layer)) for layer in seen.layers),
        ),
        table=Table(
            ("layer", "output", "maps shown", "black stands for", "white stands for"),
            tuple(
                (
                    each.layer,
                    _shape(each.shape),
                    len(each.maps),
                    rounded(each.low),
                    rounded(each.high),
                )
                for each in seen.layers
            ),
        ),
        note="All maps of a layer have one scale, from black (its lowest) to white (its highest).",
    )


def _answers(failure: WrongAnswer | WrongValue, targets: Sequence[str]) -> tuple[str, str]:
    if isinstance(failure, WrongAnswer):
        return failure.true, failure.predicted
    return _values(failure.true, targets), _values(failure.predicted, targets)


def _values(values: Sequence[float], targets: Sequence[str]) -> str:
    if len(values) != len(targets):
        return ", ".join(f"{value:.3g}" for value in values)
    return ", ".join(f"{name} {value:.3g}" for name, value in zip(targets, values, strict=True))


def _short(text: str) -> str:
    return shortened(text, most=_MOST_NAME)


def _shelves(
    *kinds: tuple[str, list[_Record]], tile: Callable[[_Record], Tile]
) -> tuple[Shelf, ...]:
    filled = [(heading, records) for heading, records in kinds if records]
    return tuple(
        Shelf(heading if len(filled) > 1 else "", tuple(tile(each) for each in records))
        for heading, records in filled
    )


def _mask_tile(record: Segmentation) -> Tile:
    true, predicted = record.true_mask, record.predicted_mask
    differ = np.where(true != predicted, 255, 0).astype(np.uint8)[:, :, None]
    return Tile(
        (record.image, _coloured(true), _coloured(predicted), differ),
        f"IoU {record.iou:.3f}",
        f"example {record.index}: image, true mask, predicted mask, where they differ "
        f"({(true != predicted).mean():.1%} of the pixels)",
    )


def _coloured(mask: Image) -> NDArray[np.uint8]:
    return np.take(_MASK_COLOURS, mask.astype(int) % len(_MASK_COLOURS), axis=0)


def _pair_tile(record: Reconstruction) -> Tile:
    return Tile(
        (record.image, record.output),
        f"{record.psnr:.1f} dB",
        f"example {record.index} and its reconstruction, {record.psnr:.1f} dB",
    )


def _map_tiles(layer: LayerMaps) -> tuple[Tile, ...]:
    return tuple(
        Tile((_wrapped(each)[:, :, None],), "", f"map {i} of {layer.layer}")
        for i, each in enumerate(layer.maps, start=1)
    )


def _wrapped(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay a vector (1, F) in rows of 32, so that it is more than a hair; other planes stay."""
    height, width = plane.shape
    if height > 1 or width <= 32:
        return plane
    rows = -(-width // 32)
    return np.pad(plane[0], (0, rows * 32 - width)).reshape(rows, 32)


def _layer_heading(layer: LayerMaps) -> str:
    first = layer.shape[0] if layer.shape else 1
    left = first - len(layer.maps) if len(layer.shape) == 3 else 0
    return f"{layer.layer} → {_shape(layer.shape)}{f', {left} more' if left > 0 else ''}"


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _looked_at(portrait: Portrait) -> str:
    if portrait.num_shown >= portrait.num_examples:
        return ""
    return (
        f" Looked at: the first {portrait.num_shown:,} of "
        f"{large_number_text(portrait.num_examples)} examples."
    )
