"""Random images of any shape, to time a network without data."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from experiments.data.generated_sets import FakeOptions
from workers.datasets.raw import RawData, RawSplit

_BLOCK_BYTES = 2**26


def make_fake(options: FakeOptions) -> RawData:
    """Draw random bytes as images; labels go round the classes.

    The bytes are the raw output of Philox-4x64, so they are the same everywhere.
    """
    labels = np.arange(options.examples, dtype=np.int64) % options.classes
    return RawData(
        train=RawSplit(_images(options, key=0), labels),
        test=RawSplit(_images(options, key=1), labels),
    )


def _images(options: FakeOptions, *, key: int) -> Iterator[NDArray[np.uint8]]:
    bits = np.random.Philox(key=key)
    num_words = math.ceil(math.prod(options.image_shape) / 8)
    num_block = max(1, _BLOCK_BYTES // (8 * num_words))
    for start in range(0, options.examples, num_block):
        count = min(num_block, options.examples - start)
        draws = bits.random_raw(count * num_words).astype("<u8").reshape(count, num_words)
        pixels = draws.view(np.uint8)[:, : math.prod(options.image_shape)]
        yield pixels.reshape(count, *options.image_shape)
