from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from experiments.data.data_changes import read_changes
from experiments.data.datasets import facts, read_options
from workers.datasets import changes as changes_module
from workers.datasets.changes import changed
from workers.datasets.digits import read_digits
from workers.datasets.makers import MAKERS
from workers.datasets.raw import RawData, RawSplit

NOWHERE = Path("/nowhere")
FAKE = {"image_shape": [3, 12, 10], "classes": 4, "examples": 50}
SCENES = {"examples": 4, "size": 48}


def read(name: str, options: dict[str, Any]) -> RawData:
    return read_digits() if name == "digits" else MAKERS[name](read_options(name, options))


def apply(name: str, options: dict[str, Any], plain: dict[str, Any]) -> RawSplit:
    """Give the training split of a changed set, its inputs in one piece."""
    base = facts(name, options, root=NOWHERE)
    known = facts(name, options, root=NOWHERE, changes=plain)
    data = changed(read(name, options), read_changes(plain), base=base, known=known)
    inputs = whole(data.train)
    assert inputs.shape == (known.num_train, *known.input_shape)
    assert inputs.dtype == np.uint8
    return RawSplit((inputs,), data.train.targets)


def whole(split: RawSplit) -> NDArray[Any]:
    return np.concatenate(list(split.inputs))


@pytest.mark.parametrize("block", [7, 1024])
def test_a_subset_keeps_its_examples_in_order_and_renumbers_them(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes_module, "_BLOCK", block)
    base = read("digits", {}).train
    found = apply("digits", {}, {"classes": ["8", "3"]})
    keep = np.isin(base.targets, [3, 8])
    assert np.array_equal(whole(found), whole(base)[keep])
    assert found.targets.dtype == np.int64
    assert np.array_equal(found.targets, np.where(base.targets[keep] == 8, 0, 1))


def test_a_resize_is_antialiased() -> None:
    # Stripes a pixel wide become an even grey, where picking pixels would keep stripes.
    stripes = np.zeros((2, 1, 16, 16), dtype=np.uint8)
    stripes[:, :, ::2] = 200
    base = facts("fake", {**FAKE, "image_shape": [1, 16, 16], "examples": 2}, root=NOWHERE)
    plain = {"resize": [4, 8]}
    raw = RawSplit((stripes,), np.zeros(2, dtype=np.int64))
    data = changed(RawData(raw, raw), read_changes(plain), base=base, known=base)
    found = whole(data.train)
    assert found.shape == (2, 1, 4, 8)
    assert abs(found[:, :, 1:3].astype(int) - 100).max() <= 13


def test_a_crop_cuts_the_centre_after_the_resize() -> None:
    base = whole(read("fake", FAKE).train)
    cut = whole(apply("fake", FAKE, {"crop": [6, 7]}))
    assert np.array_equal(cut, base[:, :, 3:9, 1:8])
    both = whole(apply("fake", FAKE, {"resize": [20, 20], "crop": [6, 6]}))
    resized = whole(apply("fake", FAKE, {"resize": [20, 20]}))
    assert np.array_equal(both, resized[:, :, 7:13, 7:13])


def test_each_channel_is_resized_by_itself() -> None:
    base = whole(read("fake", FAKE).train)
    found = whole(apply("fake", FAKE, {"resize": [6, 5]}))
    expected = Image.fromarray(base[3, 2]).resize((5, 6), Image.Resampling.BILINEAR)
    assert np.array_equal(found[3, 2], np.asarray(expected))


def test_masks_change_their_size_with_their_scenes_and_stay_classes() -> None:
    base = read("digit_scenes", SCENES).train
    found = apply("digit_scenes", SCENES, {"resize": [96, 96], "crop": [48, 48]})
    doubled = base.targets.repeat(2, axis=1).repeat(2, axis=2)
    assert found.targets.dtype == np.uint8
    assert np.array_equal(found.targets, doubled[:, 24:72, 24:72])


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    options = {"image_shape": [1, 64, 64], "classes": 2, "examples": 20}
    base = whole(read("fake", options).train).astype(np.int64)
    noisy = whole(apply("fake", options, {"noise": 0.05})).astype(np.int64)
    middle = (base > 100) & (base < 155)  # where nothing is cut off
    noise = (noisy - base)[middle]
    assert noise.std() == pytest.approx(0.05 * 255, rel=0.03)
    assert abs(noise.mean()) < 0.5


def test_noise_is_relative_to_the_full_scale_and_stays_within_it() -> None:
    base, noisy = whole(read("digits", {}).train), whole(apply("digits", {}, {"noise": 0.1}))
    assert noisy.max() == 16  # the digits' white
    inside = (base > 6) & (base < 10)
    noise = noisy[inside].astype(np.int64) - base[inside]
    assert noise.std() == pytest.approx(1.6, rel=0.05)


def test_noise_is_fixed_and_differs_between_splits_and_sets() -> None:
    def noise(plain: dict[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        black = RawSplit((np.full((30, 3, 12, 10), 128, np.uint8),), np.zeros(30, np.int64))
        base = facts("fake", FAKE, root=NOWHERE)
        known = facts("fake", FAKE, root=NOWHERE, changes=plain)
        data = changed(RawData(black, black), read_changes(plain), base=base, known=known)
        return whole(data.train), whole(data.test)

    train, test = noise({"noise": 0.1})
    assert np.array_equal(train, noise({"noise": 0.1})[0])
    assert not np.array_equal(train, test)
    assert not np.array_equal(train, noise({"noise": 0.1001})[0])


@pytest.mark.parametrize("cuts", [(), (1,), (7, 20), (13, 14, 49)])
def test_noise_is_that_of_the_example_however_the_set_comes(cuts: tuple[int, ...]) -> None:
    plain = {"noise": 0.1, "classes": ["2", "0"]}
    base = facts("fake", FAKE, root=NOWHERE)
    known = facts("fake", FAKE, root=NOWHERE, changes=plain)
    targets = read("fake", FAKE).train.targets
    images = whole(read("fake", FAKE).train)
    cut = RawSplit(np.split(images, cuts), targets)
    data = changed(RawData(cut, cut), read_changes(plain), base=base, known=known)
    assert np.array_equal(whole(data.train), whole(apply("fake", FAKE, plain)))
