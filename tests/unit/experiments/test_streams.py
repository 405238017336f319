import itertools

from hypothesis import given
from hypothesis import strategies as st

from experiments.streams import PURPOSES, stream_seed


def test_streams_are_the_same_on_every_machine() -> None:
    assert stream_seed(0, "weights") == 266_883_383_748_357_492
    assert stream_seed(3, "order", 7) == 7_583_303_701_802_700_316


def test_no_two_streams_of_a_trial_are_equal() -> None:
    epochs = range(1, 50)
    seeds = {
        stream_seed(seed, purpose, epoch)
        for seed, purpose, epoch in itertools.product(range(20), PURPOSES, epochs)
    }
    assert len(seeds) == 20 * len(PURPOSES) * len(epochs)


@given(st.integers(0, 2**64), st.sampled_from(sorted(PURPOSES)), st.lists(st.integers(0, 10**6)))
def test_every_seed_fits_a_torch_generator(seed: int, purpose: str, parts: list[int]) -> None:
    assert 0 <= stream_seed(seed, purpose, *parts) < 2**63


def test_parts_do_not_run_into_each_other() -> None:
    assert stream_seed(1, "order", 12) != stream_seed(1, "order", 1, 2)
    assert stream_seed(11, "order", 2) != stream_seed(1, "order", 12)
