import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.data.datasets import split_sizes
from workers.datasets.splits import split_indices


def test_a_split_is_the_same_on_every_machine() -> None:
    train, val = split_indices(12, val_fraction=0.25, split_seed=0, limit=None)
    assert val.tolist() == [0, 2, 11]
    assert train.tolist() == [1, 3, 4, 5, 6, 7, 8, 9, 10]


@given(
    st.integers(1, 500), st.floats(0, 1), st.integers(0, 2**64 - 1), st.none() | st.integers(1, 600)
)
def test_a_split_deals_out_every_image_once(
    num_images: int, val_fraction: float, split_seed: int, limit: int | None
) -> None:
    train, val = split_indices(
        num_images, val_fraction=val_fraction, split_seed=split_seed, limit=limit
    )
    total = min(num_images, limit or num_images)
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(total))
    assert (len(train), len(val)) == split_sizes(num_images, val_fraction=val_fraction, limit=limit)


def test_a_split_is_ascending_and_int64() -> None:
    for indices in split_indices(1000, val_fraction=0.3, split_seed=5, limit=None):
        assert indices.dtype == np.int64
        assert (np.diff(indices) > 0).all()


def test_another_seed_gives_another_split() -> None:
    splits = {
        tuple(split_indices(100, val_fraction=0.1, split_seed=seed, limit=None)[1].tolist())
        for seed in range(20)
    }
    assert len(splits) == 20


def test_every_image_is_as_likely_to_validate() -> None:
    counts = np.zeros(50)
    for seed in range(2000):
        counts[split_indices(50, val_fraction=0.2, split_seed=seed, limit=None)[1]] += 1
    assert counts.min() > 400 - 5 * 18  # binomial(2000, 0.2): 400, deviation 17.9
    assert counts.max() < 400 + 5 * 18


@pytest.mark.parametrize("limit", [10, 20])
def test_a_limit_takes_the_first_images(limit: int) -> None:
    train, val = split_indices(100, val_fraction=0.5, split_seed=0, limit=limit)
    assert max(train.max(), val.max()) == limit - 1
