"""What a loss that falls would come to with twice the epochs."""

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Final

_SQRT2: Final = math.sqrt(2)
_LEAST: Final = 4


def gain_of_twice(values: Sequence[float]) -> float:
    """Give how far a loss would fall in as much time again; 0 where it does not fall any more.

    A loss that falls like a power of time, as losses do, gains in each half octave of time the same
    share of what it gained in the one before: from T / 2 to T / sqrt(2), to T, and so on to 2 T.
    The last two foretell the next two. A loss that falls faster and faster is taken to go on as
    fast as it last fell, which is a share of sqrt(2); one of two or three values, to fall half as
    far as it did. What counts is the best so far: scatter is no fall.

    Source: Hestness et al., "Deep learning scaling is predictable, empirically", 2017 (losses
    follow power laws).
    """
    best = [*itertools.accumulate(values, min)]
    if len(best) < _LEAST:
        return (best[0] - best[-1]) / 2 if best else 0.0
    early, middle, end = (_at(best, len(best) / part) for part in (2, _SQRT2, 1))
    before, last = early - middle, middle - end
    share = _SQRT2 if before * _SQRT2 <= last else last / before
    return last * (share + share**2)


def gain_by_trend(values: Sequence[float]) -> float:
    """Give how far a loss would fall in as much time again, by its slope over the last octave.

    The slope of log(loss) by log(time) is the median of those between all pairs of epochs from
    T / 2 to T, so that no single epoch decides; it is taken not to flatten out. 0 for fewer than
    three epochs, and for losses that are not positive.

    Source: Sen, "Estimates of the regression coefficient based on Kendall's tau", Journal of the
    American Statistical Association 63, 1968.
    """
    best = [*itertools.accumulate(values, min)]
    first = max(1, len(best) // 2)
    if len(best) - first < 2 or best[-1] <= 0:
        return 0.0
    points = [(math.log(at), math.log(best[at - 1])) for at in range(first, len(best) + 1)]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.combinations(points, 2)]
    return float(best[-1] * (1 - 2 ** statistics.median(slopes)))


def _at(values: Sequence[float], time: float) -> float:
    """Give the value at a time; the first one is at 1."""
    place = math.floor(time)
    after = values[min(place, len(values) - 1)]
    return values[place - 1] + (after - values[place - 1]) * (time - place)
