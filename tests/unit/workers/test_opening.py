from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.data.datasets import facts
from experiments.records import DataConfig
from workers.datasets import opening, staged_files
from workers.datasets.staged import StagedData
from workers.staging import stage, staged_folder

FAKE = {"image_shape": [3, 4, 5], "classes": 5, "examples": 400}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that the tests of this module share."""
    return tmp_path_factory.mktemp("data")


def config(name: str, root: Path, options: dict[str, Any], **changes: Any) -> DataConfig:
    known = facts(name, options, root=root, changes=changes)
    return DataConfig(name, known.digest, options, val_fraction=0.25, changes=changes)


def opened(
    name: str, root: Path, options: dict[str, Any] | None = None, **changes: Any
) -> StagedData:
    return stage(config(name, root, options or {}, **changes), root=root)


def test_plain_numbers_are_staged_as_they_are(root: Path) -> None:
    data = opened("sunshine", root)
    assert (data.input_shape, data.target, data.target_names) == ((1,), "values", ("temperature",))
    assert (data.train.inputs.shape, data.train.inputs.dtype) == ((200, 1), torch.float32)
    assert (data.train.targets.shape, data.train.targets.dtype) == ((200, 1), torch.float32)
    assert (len(data.train), len(data.val), len(data.test)) == (150, 50, 200)
    assert data.class_names == ()
    hours = data.train.inputs[data.train.indices].double()
    torch.testing.assert_close(data.mean.double(), hours.mean(dim=0), rtol=1e-6, atol=0)
    torch.testing.assert_close(data.std.double(), hours.std(dim=0, correction=0), rtol=1e-6, atol=0)


def test_masks_are_staged_with_the_classes_of_their_pixels(root: Path) -> None:
    data = opened("digit_scenes", root, {"examples": 8, "size": 32})
    assert (data.target, len(data.class_names)) == ("mask", 11)
    assert (data.train.targets.shape, data.train.targets.dtype) == ((8, 32, 32), torch.uint8)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_share_of_the_training_labels_is_replaced_and_no_other(root: Path, share: float) -> None:
    clean, noisy = opened("fake", root, FAKE), opened("fake", root, FAKE, label_noise=share)
    assert staged_folder(config("fake", root, FAKE), root) == staged_folder(
        config("fake", root, FAKE, label_noise=share), root
    )
    before, after = (data.train.targets[data.train.indices] for data in (clean, noisy))
    assert (before != after).sum() == round(share * 300)
    assert set(after.tolist()) == set(range(5))
    for split in ("val", "test"):
        one, other = getattr(clean, split), getattr(noisy, split)
        assert torch.equal(one.targets[one.indices], other.targets[other.indices])


def test_every_other_class_takes_a_wrong_label(root: Path) -> None:
    clean, noisy = opened("fake", root, FAKE), opened("fake", root, FAKE, label_noise=1.0)
    pairs = torch.stack([clean.train.targets, noisy.train.targets], dim=1)[noisy.train.indices]
    assert len(set(map(tuple, pairs.tolist()))) == 5 * 4


def test_label_noise_follows_from_the_split_seed(root: Path) -> None:
    first = config("digits", root, {}, label_noise=0.3)
    labels = stage(first, root=root).train.targets
    opening._open.cache_clear()
    assert torch.equal(stage(first, root=root).train.targets, labels)
    other = stage(replace(first, split_seed=1), root=root).train.targets
    assert not torch.equal(other, labels)


@pytest.mark.parametrize(
    ("name", "options", "normalise", "mean", "std"),
    [
        ("fake", FAKE, "none", [0.0] * 3, [255.0] * 3),
        ("fake", FAKE, "imagenet", [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
        ("digits", {}, "none", [0.0], [16.0]),
        ("sunshine", {}, "none", [0.0], [1.0]),
    ],
)
def test_other_units_than_the_statistics_of_the_training_split(
    root: Path,
    name: str,
    options: dict[str, Any],
    normalise: str,
    mean: list[float],
    std: list[float],
) -> None:
    data = opened(name, root, options, normalise=normalise)
    np.testing.assert_allclose(data.mean.numpy(), mean, rtol=1e-6)
    np.testing.assert_allclose(data.std.numpy(), std, rtol=1e-6)
    assert data.train.inputs.dtype == (torch.float32 if name == "sunshine" else torch.uint8)


def test_contents_are_checked_once_for_all_views_of_a_set(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Path] = []

    def open_arrays(folder: Path) -> dict[str, Any]:
        checked.append(folder)
        return staged_files.open_arrays(folder)

    monkeypatch.setattr(opening, "open_arrays", open_arrays)
    opening._arrays.cache_clear()
    opening._open.cache_clear()
    shares = [0.1 * number for number in range(1, 8)]
    noisy = [opened("fake", root, FAKE, label_noise=share) for share in shares]
    clean = opened("fake", root, FAKE)
    assert len(checked) == 1
    assert clean.train.targets.tolist() == [number % 5 for number in range(400)]
    assert all(data.train.inputs.data_ptr() == clean.train.inputs.data_ptr() for data in noisy)
