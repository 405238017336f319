import math

import numpy as np
import pytest

from workers.datasets.draws import Draws


def test_a_stream_is_its_name() -> None:
    first = Draws("noise", 1).words(5)
    assert np.array_equal(Draws("noise", 1).words(5), first)
    assert not np.array_equal(Draws("noise", 2).words(5), first)
    assert not np.array_equal(Draws("noise/1/2").words(5), first)


def test_a_stream_stays_what_it_was() -> None:
    # Other numbers would be other data under the same digests.
    draws = Draws("test", 0)
    assert draws.words(2).tolist() == [0x5E4F19CA43A707FC, 0xBD42594D14CCC347]
    assert draws.uniform(1)[0] == 0.7721761010331891
    assert draws.below(1000, 4).tolist() == [492, 220, 71, 154]
    assert draws.normal(2) == pytest.approx([-0.9767180577182514, 0.9107277468334178], abs=1e-12)


def test_uniform_numbers_fill_the_unit_interval_evenly() -> None:
    values = Draws("uniform").uniform(100_000)
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert values.min() > 0
    assert values.max() <= 1
    assert abs(counts - 10_000).max() < 5 * math.sqrt(10_000)


def test_whole_numbers_are_below_their_bound_and_even() -> None:
    counts = np.bincount(Draws("below").below(7, 70_000))
    assert len(counts) == 7
    assert abs(counts - 10_000).max() < 5 * math.sqrt(10_000)


def test_normal_numbers_have_the_moments_of_the_bell_curve() -> None:
    values = Draws("normal").normal(100_000)
    for power, expected in ((1, 0), (2, 1), (3, 0), (4, 3)):
        spread = math.sqrt(np.var(values**power) / len(values))
        assert abs((values**power).mean() - expected) < 5 * spread
