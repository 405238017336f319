from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.data.datasets import (
    DATASETS,
    DatasetFacts,
    facts,
    read_options,
    split_sizes,
)
from experiments.data.generated_sets import FakeOptions
from experiments.data.image_folder_set import ImageFolderOptions
from experiments.errors import DatasetError
from experiments.language.fields import Record
from experiments.language.kinds import INVALID, Faults
from experiments.language.yaml_text import parse

FAKE = {"image_shape": [3, 4, 5], "classes": 7, "examples": 20}


def read(record: type[Any], text: str) -> tuple[Any, list[str]]:
    """Read options as a spec would give them: the record, and the faults' messages."""
    faults = Faults("spec.yaml")
    value = Record(record).read(parse(text, source="spec.yaml"), "data", faults)
    return value, [fault.message for fault in faults._found]


@pytest.mark.parametrize(
    ("name", "shape", "num_train", "num_test"),
    [
        ("digits", (1, 8, 8), 1437, 360),
        ("mnist", (1, 28, 28), 60_000, 10_000),
        ("fashion_mnist", (1, 28, 28), 60_000, 10_000),
        ("cifar10", (3, 32, 32), 50_000, 10_000),
    ],
)
def test_published_sets_are_known_without_files(
    name: str, shape: tuple[int, int, int], num_train: int, num_test: int
) -> None:
    found = facts(name, {}, root=Path("/nowhere"))
    assert (found.input_shape, found.num_train, found.num_test) == (shape, num_train, num_test)
    assert len(found.class_names) == 10


def test_digests_tell_the_sets_apart() -> None:
    digests = {
        facts(name, {}, root=Path("/nowhere")).digest
        for name in ("digits", "mnist", "fashion_mnist", "cifar10")
    }
    assert len(digests) == 4


def test_a_digest_stays_what_it_was() -> None:
    # A changed digest gives every recorded trial another content key.
    assert facts("digits", {}, root=Path("/nowhere")).digest == (
        "7212bed35b8bf8154a8ae7bdf614efef763f0881f0ff9df7767c8bfbe76135bd"
    )


def test_fake_is_described_by_its_options() -> None:
    found = facts("fake", FAKE, root=Path("/nowhere"))
    assert found == DatasetFacts(
        "fake",
        (3, 4, 5),
        ("0", "1", "2", "3", "4", "5", "6"),
        20,
        20,
        found.digest,
        train_counts=(3, 3, 3, 3, 3, 3, 2),
        test_counts=(3, 3, 3, 3, 3, 3, 2),
    )


@pytest.mark.parametrize("change", [{"image_shape": [3, 5, 4]}, {"classes": 8}, {"examples": 21}])
def test_every_option_of_fake_changes_its_digest(change: Mapping[str, Any]) -> None:
    before = facts("fake", FAKE, root=Path("/nowhere")).digest
    assert facts("fake", {**FAKE, **change}, root=Path("/nowhere")).digest != before


def test_options_from_a_spec_and_from_the_store_give_one_digest() -> None:
    stored = facts("fake", FAKE, root=Path("/nowhere"))
    fresh = facts("fake", {**FAKE, "image_shape": (3, 4, 5)}, root=Path("/nowhere"))
    assert stored == fresh


def test_an_unknown_set_names_the_nearest_and_all_known_ones() -> None:
    with pytest.raises(DatasetError, match="did you mean 'mnist'") as caught:
        facts("minst", {}, root=Path("/nowhere"))
    for name in DATASETS:
        assert name in str(caught.value)


def test_options_are_read_from_a_spec() -> None:
    value, faults = read(FakeOptions, "{image_shape: [3, 4, 5], classes: 7, examples: 20}")
    assert (value, faults) == (FakeOptions((3, 4, 5), 7, 20), [])
    assert value == read_options("fake", FAKE)


@pytest.mark.parametrize("shape", ["[3, 4]", "[0, 4, 4]", "[3, 4, 5, 6]", "28", "[3, 4, 1.5]"])
def test_an_impossible_image_shape_is_refused(shape: str) -> None:
    value, faults = read(FakeOptions, f"{{image_shape: {shape}, classes: 7, examples: 20}}")
    assert value is INVALID
    assert "[channels, height, width]" in faults[0]


@pytest.mark.parametrize(
    "path", ["../photos", "/etc", "a/../../b", "file://x", "C:\\photos", "''", "https://x.org/a"]
)
def test_a_path_that_leaves_the_data_root_is_refused(path: str) -> None:
    value, faults = read(ImageFolderOptions, f"{{path: {path}}}")
    assert value is INVALID
    assert "below the data root" in faults[0]


def test_an_image_folder_takes_one_size_or_two() -> None:
    assert read(ImageFolderOptions, "{path: photos/bikes, image_size: 32}")[0].image_size == (
        32,
        32,
    )
    assert read(ImageFolderOptions, "{path: a, image_size: [32, 48]}")[0].image_size == (32, 48)
    assert read(ImageFolderOptions, "{path: a}")[0].image_size is None


@pytest.mark.parametrize(
    ("num_images", "val_fraction", "limit", "sizes"),
    [
        (100, 0.1, None, (90, 10)),
        (1437, 0.1, None, (1293, 144)),  # 143.7 goes up
        (105, 0.1, None, (94, 11)),  # a half goes up
        (104, 0.1, None, (94, 10)),
        (100, 0.1, 20, (18, 2)),
        (100, 0.1, 1000, (90, 10)),
        (3, 0.1, None, (3, 0)),
        (1, 0.9, None, (0, 1)),
    ],
)
def test_split_sizes_are_limited_then_rounded(
    num_images: int, val_fraction: float, limit: int | None, sizes: tuple[int, int]
) -> None:
    assert split_sizes(num_images, val_fraction=val_fraction, limit=limit) == sizes


@given(st.integers(1, 10**7), st.floats(0, 1), st.one_of(st.none(), st.integers(1, 10**7)))
def test_no_image_is_lost_or_doubled_by_a_split(
    num_images: int, val_fraction: float, limit: int | None
) -> None:
    num_train, num_val = split_sizes(num_images, val_fraction=val_fraction, limit=limit)
    assert num_train >= 0
    assert num_val >= 0
    assert num_train + num_val == min(num_images, limit or num_images)
