import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from workers.datasets import staged
from workers.datasets.staged import Split, channel_statistics

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


def test_a_split_gathers_by_its_own_positions() -> None:
    images = torch.from_numpy(random_images(10))
    split = Split(images, torch.arange(10), torch.tensor([2, 5, 7]))
    found, labels = split.gather(torch.tensor([2, 0]))
    assert labels.tolist() == [7, 2]
    assert torch.equal(found, images[[7, 2]])
    assert len(split) == 3
