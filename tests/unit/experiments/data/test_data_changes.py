from pathlib import Path
from typing import Any

import pytest

from experiments.data.data_changes import (
    ChangeError,
    DataChanges,
    opened_changes,
    plain_changes,
    read_changes,
    stored_changes,
)
from experiments.data.dataset_facts import DatasetFacts
from experiments.data.datasets import facts

NOWHERE = Path("/nowhere")
FAKE = {"image_shape": [3, 8, 8], "classes": 3, "examples": 10}


def known(name: str, changes: dict[str, Any]) -> DatasetFacts:
    return facts(name, FAKE if name == "fake" else {}, root=NOWHERE, changes=changes)


def test_a_subset_of_classes_is_counted_without_files() -> None:
    found = known("mnist", {"classes": ["9", "4"]})
    assert found.class_names == ("9", "4")
    assert (found.train_counts, found.test_counts) == ((5949, 5842), (1009, 982))
    assert (found.num_train, found.num_test) == (11_791, 1991)


def test_two_classes_can_swap_where_counts_are_not_known() -> None:
    found = known("too_hot", {"classes": ["too hot", "fine"]})
    assert found.class_names == ("too hot", "fine")
    assert found.num_train == known("too_hot", {}).num_train


@pytest.mark.parametrize(
    ("name", "changes", "shape"),
    [
        ("cifar10", {"resize": [20, 24]}, (3, 20, 24)),
        ("cifar10", {"crop": [24, 20]}, (3, 24, 20)),
        ("mnist", {"resize": [40, 40], "crop": [32, 32]}, (1, 32, 32)),
        ("digit_scenes", {"resize": [32, 32]}, (1, 32, 32)),
        ("mnist", {"noise": 0.5}, (1, 28, 28)),
    ],
)
def test_a_change_of_size_is_known_beforehand(
    name: str, changes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    assert known(name, changes).input_shape == shape


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ["0", "1"]},
        {"classes": ["1", "0"]},
        {"resize": [28, 28]},
        {"crop": [27, 28]},
        {"noise": 0.1},
        {"noise": 0.2},
    ],
)
def test_what_changes_the_stored_content_changes_the_digest(changes: dict[str, Any]) -> None:
    others = [known("mnist", other).digest for other in ({}, {"crop": [28, 27]})]
    assert known("mnist", changes).digest not in others


@pytest.mark.parametrize("changes", [{"label_noise": 0.2}, {"normalise": "none"}])
def test_what_is_done_on_opening_leaves_the_digest(changes: dict[str, Any]) -> None:
    assert known("mnist", changes) == known("mnist", {})
    assert stored_changes(read_changes(changes)) == {}
    assert opened_changes({"classes": ["0", "1"], "noise": 0.1, **changes}) == changes


def test_plain_changes_are_only_what_differs() -> None:
    assert plain_changes(DataChanges()) == {}
    plain = {"classes": ["a", "b"], "crop": [3, 3], "label_noise": 0.5}
    assert plain_changes(read_changes(plain | {"normalise": "training"})) == plain


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "cifar10",
            {"classes": ["cat", "dgo"]},
            (
                "cifar10 has no class 'dgo'; did you mean 'dog'?; its classes: airplane, "
                "automobile, bird, cat, deer, dog, frog, horse, ship, truck"
            ),
        ),
        (
            "sunshine",
            {"classes": ["a", "b"]},
            "sunshine has numbers to predict, so no classes can be chosen",
        ),
        (
            "digit_scenes",
            {"classes": ["0", "1"]},
            "digit_scenes has a class a pixel, so no classes can be chosen",
        ),
        (
            "too_hot",
            {"resize": [4, 4]},
            "resize is for images, and too_hot holds plain numbers",
        ),
        (
            "sunshine",
            {"noise": 0.1},
            "noise is for images, and sunshine holds plain numbers",
        ),
        (
            "mnist",
            {"crop": [28, 29]},
            "a crop of 28x29 does not fit into images of 28x28",
        ),
        (
            "mnist",
            {"resize": [20, 20], "crop": [24, 24]},
            "a crop of 24x24 does not fit into images of 20x20",
        ),
        (
            "sunshine",
            {"label_noise": 0.1},
            "sunshine has numbers to predict, no class of an example to replace",
        ),
        (
            "mnist",
            {"normalise": "imagenet"},
            (
                "must be training or none: imagenet is for inputs of three channels, "
                "those of mnist are 1 x 28 x 28"
            ),
        ),
    ],
)
def test_an_impossible_change_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ChangeError) as caught:
        known(name, changes)
    assert str(caught.value) == message
