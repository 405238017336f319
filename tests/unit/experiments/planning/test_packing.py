"""How many trials train as one program."""

from dataclasses import replace

import pytest

from experiments.planning.cost import Work
from experiments.planning.packing import (
    fair_share,
    fitting_members,
    most_members,
    with_remnant,
)
from tests.samples import SOME_WORK


def work(*, products_a_step: float = 1e6, memory_bytes: int = 10**7) -> Work:
    products = int(products_a_step * SOME_WORK.steps)
    return replace(SOME_WORK, multiply_adds=products, memory_bytes=memory_bytes)


def test_a_cpu_packs_small_steps_only() -> None:
    assert most_members(work(products_a_step=1e6), gpus=0) == 16
    assert most_members(work(products_a_step=1e9), gpus=0) == 1


def test_epochs_do_not_change_how_many_a_cpu_packs() -> None:
    one = work(products_a_step=14e6)
    longer = replace(one, epochs=50, steps=25 * one.steps, multiply_adds=25 * one.multiply_adds)
    assert most_members(one, gpus=0) == most_members(longer, gpus=0) == 16


@pytest.mark.parametrize(
    ("memory_bytes", "gpus", "members"),
    [
        (10**7, 1.0, 64),
        (2**30, 1.0, 8),
        (2**30, 2.0, 8),
        (2**30, 0.25, 2),
        (2**40, 1.0, 1),
    ],
)
def test_a_gpu_packs_what_fits_its_share(memory_bytes: int, gpus: float, members: int) -> None:
    assert most_members(work(products_a_step=1e9, memory_bytes=memory_bytes), gpus=gpus) == members


@pytest.mark.parametrize(
    ("left", "num_workers", "share"), [(64, 2, 32), (7, 2, 4), (0.5, 2, 1), (1, 8, 1), (5, 0, 5)]
)
def test_a_share_is_an_equal_part_and_at_least_one(
    left: float, num_workers: int, share: int
) -> None:
    assert fair_share(left, num_workers=num_workers) == share


def test_as_many_fit_a_gpu_as_its_memory_holds_if_that_is_known() -> None:
    large = work(memory_bytes=2**30)
    assert fitting_members(large, gpus=1.0) == 8
    assert fitting_members(large, gpus=0.5, memory_bytes=70 * 2**30) == 70
    assert fitting_members(large, gpus=1.0, memory_bytes=1) == 1


@pytest.mark.parametrize(
    ("share", "num_waiting", "taken"), [(14, 16, 16), (8, 16, 8), (4, 5, 5), (3, 4, 3), (9, 3, 3)]
)
def test_few_that_would_be_left_over_are_taken_along(
    share: int, num_waiting: int, taken: int
) -> None:
    assert with_remnant(share, num_waiting=num_waiting) == taken
