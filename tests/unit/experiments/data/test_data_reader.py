from pathlib import Path
from typing import Any

import pytest

from experiments.data.data_reader import Data, DataSpec
from experiments.data.datasets import facts
from experiments.errors import DatasetError
from experiments.language.kinds import INVALID, Faults
from experiments.language.yaml_text import parse


def read(text: str) -> tuple[Any, list[str]]:
    """Read `data:` as a spec gives it: the record, and the faults as they are shown."""
    faults = Faults("x")
    node = parse(f"data: {text}", source="x").entries()["data"].value
    value = Data().read(node, "data", faults)
    return value, [str(fault).removeprefix("x:") for fault in faults._found]


def spec(text: str) -> DataSpec:
    value, faults = read(text)
    assert faults == []
    assert isinstance(value, DataSpec)
    return value


def test_only_what_differs_is_a_change() -> None:
    assert spec("mnist").changes == {}
    assert spec("{name: mnist, noise: 0, normalise: training, classes: null}").changes == {}


def test_changes_are_plain_data_in_the_order_in_which_they_are_made() -> None:
    changes = spec(
        "{name: cifar10, normalise: imagenet, label_noise: 0.2, crop: 24, resize: [30, 40], "
        "noise: 0.1, classes: [dog, cat]}"
    ).changes
    assert list(changes.items()) == [
        ("classes", ["dog", "cat"]),
        ("resize", [30, 40]),
        ("crop", [24, 24]),
        ("noise", 0.1),
        ("label_noise", 0.2),
        ("normalise", "imagenet"),
    ]


def test_a_number_is_a_class_name() -> None:
    assert spec("{name: digits, classes: [3, 8]}").changes == {"classes": ["3", "8"]}


def test_of_fake_classes_is_an_option_of_its_own() -> None:
    found = spec("{name: fake, image_shape: [1, 8, 8], classes: 3, examples: 10}")
    assert found.options["classes"] == 3
    assert found.changes == {}


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "{name: cifar10, classes: [cat, dgo]}",
            [
                (
                    "1:38: data.classes[1]: cifar10 has no class 'dgo'; did you mean 'dog'?; its "
                    "classes: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"
                )
            ],
        ),
        (
            "{name: digits, classes: [3]}",
            [
                (
                    "1:31: data.classes: must be a list of at least two classes, such as [cat, "
                    "dog], got [3]"
                )
            ],
        ),
        (
            "{name: digits, classes: [3, 8, 3]}",
            ["1:38: data.classes[2]: the class '3' stands here twice"],
        ),
        (
            "{name: digits, classes: [3, 1.5, true]}",
            [
                "1:35: data.classes[1]: must be a class's name, got 1.5",
                "1:40: data.classes[2]: must be a class's name, got true",
            ],
        ),
        (
            "{name: digits, crop: 9, normalise: imagenet}",
            [
                "1:28: data.crop: a crop of 9x9 does not fit into images of 8x8",
                (
                    "1:42: data.normalise: must be training or none: imagenet is for inputs of "
                    "three channels, those of digits are 1 x 8 x 8"
                ),
            ],
        ),
        (
            "{name: digits, label_noise: 2}",
            ["1:35: data.label_noise: must be a finite number >= 0 and <= 1, got 2"],
        ),
        (
            "{name: digtis, noise: 2}",
            [
                (
                    "1:14: data.name: unknown data set 'digtis'; did you mean 'digits'?; known "
                    "data sets: digits, mnist, fashion_mnist, cifar10, image_folder, sunshine, "
                    "too_hot, digit_scenes, separable, fake"
                ),
                "1:29: data.noise: must be a finite number >= 0 and <= 1, got 2",
            ],
        ),
    ],
)
def test_faults_stand_where_they_were_made(text: str, faults: list[str]) -> None:
    value, found = read(text)
    assert value is INVALID
    assert found == faults


def test_what_only_files_can_tell_is_placed_by_its_error(tmp_path: Path) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for name in ("bike", "car"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            Image.new("L", (6, 6)).save(folder / "0.png")
    data = spec("{name: image_folder, path: photos, classes: [bike, cra]}")
    with pytest.raises(DatasetError) as caught:
        facts(data.name, data.options, root=tmp_path, changes=data.changes)
    node, path = data.place(caught.value)
    assert node is not None
    assert (node.value, path) == ("cra", "data.classes[1]")
    with pytest.raises(DatasetError) as missing:
        facts(data.name, data.options, root=tmp_path / "photos", changes=data.changes)
    assert data.place(missing.value) == (data.node, "data")


def test_the_schema_offers_the_changes_but_not_over_an_option() -> None:
    forms = {
        form["properties"]["name"]["const"]: form["properties"]
        for form in Data().schema()["anyOf"]
        if "properties" in form
    }
    assert forms["fake"]["classes"]["type"] == "integer"
    assert "anyOf" in forms["digits"]["classes"]
    assert {"resize", "crop", "noise", "label_noise", "normalise"} <= set(forms["sunshine"])
