import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from workers.datasets import staged
from workers.datasets.staged import Split, StagedData, channel_statistics, feature_statistics

Images = NDArray[np.uint8]


def random_images(num_images: int, channels: int = 3) -> Images:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (num_images, channels, 4, 5), dtype=np.uint8)


def test_statistics_are_those_of_the_chosen_images() -> None:
    images, chosen = random_images(50), np.array([1, 4, 7, 30])
    mean, std = channel_statistics(images, chosen)
    values = images[chosen].astype(np.float64)
    np.testing.assert_allclose(mean.numpy(), values.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std.numpy(), values.std(axis=(0, 2, 3)), rtol=1e-6)


def test_statistics_depend_on_neither_order_nor_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    images, chosen = random_images(50), np.arange(50)
    whole = channel_statistics(images, chosen)
    monkeypatch.setattr(staged, "_BLOCK_VALUES", 7 * images[0].size)
    in_blocks = channel_statistics(images, chosen[::-1].copy())
    assert all(torch.equal(a, b) for a, b in zip(whole, in_blocks, strict=True))


@given(hnp.arrays(np.uint8, (3, 1, 2, 2)))
def test_a_deviation_is_never_zero(images: Images) -> None:
    _, std = channel_statistics(images, np.arange(3))
    assert (std > 0).all()


@given(st.integers(0, 255))
def test_a_channel_that_never_changes_has_deviation_one(value: int) -> None:
    images = np.full((3, 1, 2, 2), value, dtype=np.uint8)
    mean, std = channel_statistics(images, np.arange(3))
    assert (mean.item(), std.item()) == (value, 1.0)


def test_statistics_of_plain_numbers_are_those_of_the_chosen_ones() -> None:
    numbers = np.random.default_rng(0).normal(5, 3, (40, 2)).astype(np.float32)
    numbers[:, 1] = 0.1
    chosen = np.array([3, 1, 30, 12])
    mean, std = feature_statistics(numbers, chosen)
    assert (mean.dtype, std.dtype) == (torch.float32, torch.float32)
    values = numbers[chosen].astype(np.float64)
    np.testing.assert_allclose(mean.numpy(), values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std.numpy(), [values[:, 0].std(), 1.0], rtol=1e-6)
    turned = feature_statistics(numbers, chosen[::-1].copy())
    assert torch.equal(mean, turned[0])


def test_a_split_gathers_by_its_own_positions() -> None:
    images = torch.from_numpy(random_images(10))
    split = Split(images, torch.arange(10), torch.tensor([2, 5, 7]))
    found, labels = split.gather(torch.tensor([2, 0]))
    assert labels.tolist() == [7, 2]
    assert torch.equal(found, images[[7, 2]])
    assert len(split) == 3


META = torch.device("meta")  # a device to which only shapes are copied


def staged_set(num_images: int = 6) -> StagedData:
    """A set whose training and validation splits lie in one file."""
    train, test = (torch.from_numpy(random_images(num_images)) for _ in range(2))
    labels = torch.arange(num_images)
    return StagedData(
        name="set",
        digest="0" * 64,
        input_shape=(3, 4, 5),
        class_names=("0", "1"),
        train=Split(train, labels, torch.tensor([0, 2, 3])),
        val=Split(train, labels, torch.tensor([1])),
        test=Split(test, labels, labels),
        mean=torch.zeros(3),
        std=torch.ones(3),
    )


def test_splits_of_one_file_share_one_copy_on_a_device() -> None:
    data = staged_set()
    moved = data.to(META)
    for name in ("inputs", "targets"):
        assert getattr(moved.train, name) is getattr(moved.val, name)
    assert moved.test.inputs is not moved.train.inputs
    shapes = [(len(split), split.inputs.shape) for split in (moved.train, moved.val, moved.test)]
    assert shapes == [(3, (6, 3, 4, 5)), (1, (6, 3, 4, 5)), (6, (6, 3, 4, 5))]
    tensors = [moved.mean, moved.std]
    for split in (moved.train, moved.val, moved.test):
        tensors += [split.inputs, split.targets, split.indices]
    assert {tensor.device for tensor in tensors} == {META}


def test_a_set_is_copied_to_a_device_once_for_all_trials() -> None:
    data = staged_set()
    assert data.to(META) is data.to(torch.device("meta"))


@pytest.mark.parametrize(("room", "place"), [(2 * 768, META), (2 * 768 - 1, torch.device("cpu"))])
def test_a_set_without_room_on_a_device_stays_where_it_is(
    monkeypatch: pytest.MonkeyPatch, room: int, place: torch.device
) -> None:
    monkeypatch.setattr(staged, "free_bytes", lambda _: room)
    data = staged_set()  # two files of 6 images of 3 x 4 x 5 bytes, and 6 labels for both
    moved = data.to(META)
    for split in (moved.train, moved.val, moved.test):
        assert {split.inputs.device, split.targets.device, split.indices.device} == {place}
    assert moved.mean.device == moved.std.device == META


def test_another_set_takes_the_place_of_the_one_on_the_device() -> None:
    one, other = staged_set(), staged_set(9)
    first = one.to(META)
    assert len(other.to(META).test) == 9
    assert list(staged._moved.values()) == [other.to(META)]
    assert one.to(META) is not first


def test_sets_of_equal_content_are_not_taken_for_one_another() -> None:
    data = staged_set()
    renamed = dataclasses.replace(data, digest="1" * 64)
    assert data.to(META).digest != renamed.to(META).digest


def test_on_the_cpu_a_set_is_its_own() -> None:
    data = staged_set()
    assert data.to(torch.device("cpu")) is data
