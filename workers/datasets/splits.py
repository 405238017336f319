"""Which training images are for validation: a rule that no version or platform changes."""

import numpy as np
from numpy.typing import NDArray

from experiments.data.datasets import split_sizes

Indices = NDArray[np.int64]


def split_indices(
    num_images: int, *, val_fraction: float, split_seed: int, limit: int | None
) -> tuple[Indices, Indices]:
    """Split the first `limit` training images into training and validation.

    Each image draws 64 bits, the raw output of Philox-4x64 (Salmon et al. 2011) with
    `split_seed` as its key; the images with the smallest draws are for validation. Raw
    output and stable sorting stay as they are, as a library's shuffle might not. The
    sizes are those of `experiments.data.datasets.split_sizes`.

    Returns:
        Indices of the training and of the validation images, (N,) int64 each, ascending.
    """
    num_train, num_val = split_sizes(num_images, val_fraction=val_fraction, limit=limit)
    draws = np.random.Philox(key=split_seed).random_raw(num_train + num_val)
    order = np.argsort(draws, kind="stable").astype(np.int64)
    return np.sort(order[num_val:]), np.sort(order[:num_val])
