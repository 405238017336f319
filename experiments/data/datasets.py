"""The data sets that a spec can name, what is known of them, and how they are split.

What is known without reading images lives here and in the modules of the three families, so
that a plan takes no time. Reading, downloading and making are the workers' business.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from experiments.data.data_changes import change_facts, read_changes
from experiments.data.dataset_facts import DatasetFacts, DatasetKind
from experiments.data.generated_sets import GENERATED_SETS
from experiments.data.image_folder_set import IMAGE_FOLDER
from experiments.data.published_sets import PUBLISHED_SETS
from experiments.errors import DatasetError
from experiments.language.kinds import nearest

__all__ = ["DATASETS", "DatasetFacts", "facts", "read_options", "split_sizes"]

DATASETS: Final[Mapping[str, DatasetKind]] = {
    **PUBLISHED_SETS,
    "image_folder": IMAGE_FOLDER,
    **GENERATED_SETS,
}

_NO_CHANGES: Final[Mapping[str, Any]] = MappingProxyType({})


def facts(
    name: str,
    options: Mapping[str, Any],
    *,
    root: Path,
    changes: Mapping[str, Any] = _NO_CHANGES,
) -> DatasetFacts:
    """Tell what a data set is; reads files only for `image_folder`.

    Args:
        name: A key of `DATASETS`.
        options: The data set's own options, as plain data (lists or tuples).
        root: The data root, below which an image folder must lie.
        changes: What a spec makes of the set, as plain data: keys of `DataChanges`.

    Raises:
        DatasetError: No data set goes by that name, or an image folder is not as it should be.
        ChangeError: The data set cannot be changed so.
    """
    if name not in DATASETS:
        known = ", ".join(DATASETS)
        raise DatasetError(f"no data set {name!r}{nearest(name, DATASETS)}; known ones: {known}")
    base = DATASETS[name].describe(read_options(name, options), root)
    return change_facts(base, read_changes(changes))


def read_options(name: str, options: Mapping[str, Any]) -> Any:
    """Build a data set's options record from checked plain data."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    return DATASETS[name].options(**values)


def split_sizes(num_images: int, *, val_fraction: float, limit: int | None) -> tuple[int, int]:
    """Give the sizes of the training and the validation split.

    The limit comes first; validation then takes `val_fraction` of the images, rounded to
    the nearest whole number, halves upwards. Either size may come out as 0.
    """
    total = num_images if limit is None else min(limit, num_images)
    num_val = min(total, math.floor(total * val_fraction + 0.5))
    return total - num_val, num_val
