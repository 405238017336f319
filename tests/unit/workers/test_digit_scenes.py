from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.data.generated_sets import DigitScenesOptions
from workers.datasets import digit_scenes
from workers.datasets.digit_scenes import make_digit_scenes
from workers.datasets.digits import read_digits
from workers.datasets.raw import RawData


@cache
def scenes(**options: Any) -> RawData:
    return make_digit_scenes(DigitScenesOptions(**{"examples": 150, **options}))


def images(data: RawData) -> NDArray[np.uint8]:
    return np.concatenate(list(data.train.inputs))


def test_every_scene_has_a_class_for_each_pixel() -> None:
    data = scenes()
    assert images(data).shape == (150, 1, 64, 64)
    assert images(data).dtype == data.train.targets.dtype == np.uint8
    assert data.train.targets.shape == (150, 64, 64)
    shares = np.bincount(data.train.targets.ravel(), minlength=11) / data.train.targets.size
    assert len(shares) == 11
    assert 0.8 < shares[0] < 0.95  # thin strokes on much background
    assert shares[1:].min() > 0.003
    assert (data.train.targets.reshape(150, -1).max(axis=1) > 0).all()


def test_digits_are_brighter_than_what_lies_behind_them() -> None:
    data = scenes()
    on = data.train.targets > 0
    values = images(data)[:, 0].astype(np.float64)
    brighter = [values[i][on[i]].mean() - values[i][~on[i]].mean() for i in range(150)]
    assert min(brighter) > 30


@pytest.mark.parametrize(("size", "sides"), [(64, {16, 24, 32}), (48, {16, 24}), (32, {16})])
def test_digits_have_several_sizes_and_do_not_touch(
    size: int, sides: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[digit_scenes._Box]] = []
    boxes = digit_scenes._boxes

    def watched(*arguments: Any) -> list[digit_scenes._Box]:
        seen.append(boxes(*arguments))
        return seen[-1]

    monkeypatch.setattr(digit_scenes, "_boxes", watched)
    make_digit_scenes(DigitScenesOptions(examples=40, size=size, digits=4))
    assert {box.side for found in seen for box in found} == sides
    for found in seen:
        free = np.ones((size, size), dtype=np.bool_)
        for box in found:
            place = np.s_[box.top : box.top + box.side, box.left : box.left + box.side]
            assert free[place].shape == (box.side, box.side)
            assert free[place].all()
            free[place] = False
    assert 1 <= min(map(len, seen)) <= max(map(len, seen)) <= 4


def test_test_scenes_hold_digits_that_are_in_no_training_scene(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = read_digits()
    only_ones = RawData(train=data.train, test=type(data.test)(data.test.inputs, np.ones(360, int)))
    monkeypatch.setattr(digit_scenes, "read_digits", lambda: only_ones)
    found = make_digit_scenes(DigitScenesOptions(examples=20))
    assert set(np.unique(found.test.targets)) == {0, 2}
    assert len(np.unique(found.train.targets)) > 5


def test_more_scenes_begin_with_the_same_ones() -> None:
    few, many = scenes(examples=5), scenes(examples=8)
    assert np.array_equal(images(few), images(many)[:5])
    assert np.array_equal(few.train.targets, many.train.targets[:5])
    assert not np.array_equal(images(few), images(scenes(examples=5, seed=1)))
