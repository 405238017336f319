"""Fewer points that look the same: thousands of points are drawn on hundreds of pixels."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def thinned(y: Sequence[float], *, most: int) -> list[int]:
    """Choose at most `most` (4 or more) places of a curve, in order.

    Kept are both ends, and the lowest and the highest value of equal stretches between, so that
    no spike goes missing (the min-max decimation of plotting and audio programs). NaN is kept
    only where a stretch has nothing else.
    """
    length = len(y)
    if length <= most:
        return list(range(length))
    values = np.asarray(y, dtype=float)
    kept = {0, length - 1}
    edges = np.linspace(1, length - 1, (most - 2) // 2 + 1).round().astype(int)
    for start, stop in pairwise(edges):
        stretch = values[start:stop]
        if np.isnan(stretch).all():
            kept.add(int(start))
            continue
        kept |= {int(start + np.nanargmin(stretch)), int(start + np.nanargmax(stretch))}
    return sorted(kept)


def spread_out(length: int, *, most: int) -> list[int]:
    """Choose at most `most` (2 or more) places out of `length`, evenly, both ends among them."""
    if length <= most:
        return list(range(length))
    return sorted({int(i) for i in np.linspace(0, length - 1, most).round()})
