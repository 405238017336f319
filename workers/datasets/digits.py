"""The handwritten digits that come with scikit-learn (UCI; 1,797 images of 8x8, values 0..16)."""

import gzip
import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from experiments.data.published_sets import DIGITS_SHA256
from experiments.errors import DatasetChecksumError, DatasetError
from workers.datasets.raw import RawData, whole

NUM_TEST_PER_CLASS: Final = 36


def read_digits() -> RawData:
    """Read the digits and split them, which their publishers did not.

    The test split is 36 images of each class, 360 in all: those with the smallest draws,
    an image's draw being the raw output of Philox-4x64 with key 0. The other 1,437 are for
    training; both keep the order of the file. So writers occur in both splits.

    Raises:
        DatasetError: scikit-learn is not installed, or its file cannot be read.
        DatasetChecksumError: Its file holds other images than the known ones.
    """
    table = _read_table()
    images = np.ascontiguousarray(table[:, :64].reshape(-1, 1, 8, 8))
    labels = np.ascontiguousarray(table[:, 64])
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if digest != DIGITS_SHA256:
        raise DatasetChecksumError(
            f"digits: scikit-learn's file holds other images than expected (SHA-256 {digest}, "
            f"expected {DIGITS_SHA256}); install scikit-learn again"
        )
    is_test = _some_of_each_class(labels)
    return RawData(
        train=whole(images[~is_test], labels[~is_test].astype(np.int64)),
        test=whole(images[is_test], labels[is_test].astype(np.int64)),
    )


def _read_table() -> NDArray[np.uint8]:
    """Read scikit-learn's file, (1797, 65), without importing it, which takes seconds."""
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DatasetError("digits: scikit-learn is not installed; `pip install scikit-learn`")
    path = Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            return np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError) as error:
        raise DatasetError(f"digits: {path} cannot be read: {error}") from error


def _some_of_each_class(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    draws = np.random.Philox(key=0).random_raw(len(labels))
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        order = np.argsort(draws[members], kind="stable")
        chosen[members[order[:NUM_TEST_PER_CLASS]]] = True
    return chosen
