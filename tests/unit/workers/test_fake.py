import numpy as np
import pytest

from experiments.data.generated_sets import FakeOptions
from workers.datasets import fake
from workers.datasets.fake import make_fake
from workers.datasets.raw import RawSplit

OPTIONS = FakeOptions((3, 5, 7), 4, 50)


def joined(split: RawSplit) -> list[int]:
    return [int(value) for block in split.inputs for value in block.ravel()]


def test_fake_images_have_the_shape_and_number_asked_for() -> None:
    for split in (make_fake(OPTIONS).train, make_fake(OPTIONS).test):
        blocks = list(split.inputs)
        assert {block.dtype for block in blocks} == {np.dtype(np.uint8)}
        assert np.concatenate(blocks).shape == (50, 3, 5, 7)
        assert np.bincount(split.targets).tolist() == [13, 13, 12, 12]


def test_fake_images_are_the_same_every_time_and_for_any_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = joined(make_fake(OPTIONS).train)
    monkeypatch.setattr(fake, "_BLOCK_BYTES", 1000)
    assert len(list(make_fake(OPTIONS).train.inputs)) > 1
    assert joined(make_fake(OPTIONS).train) == whole


def test_fake_images_are_random_and_differ_between_splits() -> None:
    data = make_fake(FakeOptions((1, 64, 64), 2, 64))
    train, test = joined(data.train), joined(data.test)
    assert train != test
    counts = np.bincount(train, minlength=256)
    assert counts.min() > 1024 - 6 * 32  # 262,144 draws of 256 values: 1,024, deviation 32
    assert counts.max() < 1024 + 6 * 32
