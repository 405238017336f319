"""A staged folder as the data of a trial: split, with noisy labels if wanted, and units."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.data.data_changes import IMAGENET, TRAINING, read_changes
from experiments.errors import DatasetError
from experiments.records import DataConfig
from workers.datasets.draws import Draws
from workers.datasets.splits import Indices, split_indices
from workers.datasets.staged import (
    Split,
    StagedData,
    channel_statistics,
    feature_statistics,
)
from workers.datasets.staged_files import check_sizes, open_arrays, read_meta

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""Statistics of ImageNet's pixels, full scale 1, with which torchvision's networks are trained."""


@dataclass(frozen=True, slots=True)
class View:
    """What a trial sees of a staged set; fields as in `DataConfig` and `DataChanges`."""

    val_fraction: float
    split_seed: int
    limit: int | None
    label_noise: float
    normalise: str

    @classmethod
    def of(cls, config: DataConfig) -> "View":
        """Take it from a trial's data configuration."""
        changes = read_changes(config.changes)
        return cls(
            config.val_fraction,
            config.split_seed,
            config.limit,
            changes.label_noise,
            changes.normalise,
        )


def open_data(folder: Path, view: View) -> StagedData:
    """Open a staged folder; sizes are checked at every call, contents once a process.

    Raises:
        DatasetError: A split would be empty.
        DatasetChecksumError: A file was truncated or altered.
    """
    check_sizes(folder)
    return _open(folder, view)


@functools.lru_cache(maxsize=4)
def _open(folder: Path, view: View) -> StagedData:
    meta, arrays = read_meta(folder), dict(_arrays(folder))
    train, val = split_indices(
        len(arrays["train_targets"]),
        val_fraction=view.val_fraction,
        split_seed=view.split_seed,
        limit=view.limit,
    )
    if not len(train) or not len(val):
        raise DatasetError(
            f"{meta['name']}: {len(train)} training and {len(val)} validation examples, but both "
            f"splits need at least one; change data.val_fraction ({view.val_fraction:g}) or "
            "data.limit"
        )
    if view.label_noise:
        arrays["train_targets"] = noisy_labels(
            arrays["train_targets"], train, view, num_classes=len(meta["class_names"])
        )
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def split(part: str, indices: Indices) -> Split:
        inputs, targets = tensors[f"{part}_inputs"], tensors[f"{part}_targets"]
        return Split(inputs, targets, torch.from_numpy(indices))

    mean, std = _units(arrays["train_inputs"], train, view, full_scale=meta["full_scale"])
    return StagedData(
        name=meta["name"],
        digest=meta["digest"],
        input_shape=tuple(meta["input_shape"]),
        class_names=tuple(meta["class_names"]),
        train=split("train", train),
        val=split("train", val),
        test=split("test", np.arange(len(arrays["test_targets"]), dtype=np.int64)),
        mean=mean,
        std=std,
        target=meta["target"],
        target_names=tuple(meta["target_names"]),
        full_scale=meta["full_scale"],
    )


@functools.lru_cache(maxsize=4)
def _arrays(folder: Path) -> Mapping[str, NDArray[Any]]:
    """Map the files of a folder; all its views share them, and their contents are checked once."""
    return open_arrays(folder)


def noisy_labels(
    labels: NDArray[np.int64], train: Indices, view: View, *, num_classes: int
) -> NDArray[np.int64]:
    """Replace a share of the training split's labels by another class, each as likely.

    The share is of the split, rounded to whole examples. The draws follow from
    `split_seed`, so all trials learn from the same labels; those of the validation images,
    which lie in the same file, stay.

    Returns:
        A copy of the labels (M,) int64.
    """
    draws = Draws("label_noise", view.split_seed)
    order = np.argsort(draws.words(len(train)), kind="stable")
    chosen = train[order[: round(view.label_noise * len(train))]]
    steps = 1 + draws.below(num_classes - 1, len(chosen))
    noisy = np.array(labels)
    noisy[chosen] = (noisy[chosen] + steps) % num_classes
    return noisy


def _units(
    inputs: NDArray[Any], train: Indices, view: View, *, full_scale: int
) -> tuple[Tensor, Tensor]:
    """Give what is subtracted from inputs and what they are divided by, by channel or feature."""
    if view.normalise == IMAGENET:
        return full_scale * torch.tensor(IMAGENET_MEAN), full_scale * torch.tensor(IMAGENET_STD)
    if view.normalise == TRAINING:
        statistics = channel_statistics if inputs.ndim == 4 else feature_statistics
        return statistics(inputs, train)
    count = inputs.shape[1]
    return torch.zeros(count), torch.full((count,), float(full_scale))
