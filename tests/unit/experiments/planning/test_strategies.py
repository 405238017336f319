"""The ways to train: their names, and which are tried where."""

from dataclasses import replace
from itertools import product

import pytest

from experiments.planning.strategies import (
    PLAIN,
    Calibration,
    Layout,
    Strategy,
    candidates,
    fastest,
    rule_of_thumb,
)
from tests.samples import SOME_WORK

SMALL = replace(SOME_WORK, multiply_adds=10**6 * SOME_WORK.steps, memory_bytes=10**7)
LARGE = replace(SMALL, multiply_adds=10**9 * SOME_WORK.steps)


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        (PLAIN, "plain"),
        (Strategy(16), "fused, 16 members"),
        (Strategy(layout="channels_last"), "plain, channels last"),
        (
            Strategy(64, "contiguous", compiled=True, graph=True),
            "fused, 64 members, contiguous, compiled, CUDA graph",
        ),
    ],
)
def test_a_strategy_is_named_by_what_a_person_understands(strategy: Strategy, text: str) -> None:
    assert strategy.text == text


def test_a_pack_that_is_not_full_says_how_many_ran() -> None:
    assert Strategy(16, "contiguous").text_of(1) == "fused, 1 member, contiguous"


def test_every_name_is_read_back() -> None:
    layouts: tuple[Layout | None, ...] = (None, "channels_last", "contiguous")
    either = (False, True)
    for members, layout, compiled, graph in product((1, 2, 512), layouts, either, either):
        strategy = Strategy(members, layout, compiled, graph)
        assert Strategy.parse(strategy.text) == strategy


@pytest.mark.parametrize(
    "text", ["", "fused", "fused, many members", "plain, 4 threads", "plain, compiled, compiled"]
)
def test_a_name_of_another_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names no way to train"):
        Strategy.parse(text)


def test_the_rule_of_thumb_comes_first_and_plain_is_always_tried() -> None:
    for work, gpus in product((SMALL, LARGE), (0, 0.5, 1)):
        tried = candidates(work, gpus=gpus, has_images=True)
        assert tried[0] == rule_of_thumb(work, gpus=gpus)
        assert PLAIN in tried
        assert len(set(tried)) == len(tried)


def test_a_gpu_tries_what_fits_its_memory() -> None:
    def most(memory_bytes: int | None) -> int:
        tried = candidates(LARGE, gpus=1, has_images=False, memory_bytes=memory_bytes)
        return max(each.members for each in tried)

    assert most(600 * LARGE.memory_bytes) == 512
    assert most(300 * LARGE.memory_bytes) == 256
    assert most(None) == 512


def test_a_gpu_tries_graphs_of_every_size_and_the_compiler_last() -> None:
    tried = candidates(SMALL, gpus=1, has_images=True)
    graphs = {each.members for each in tried if each.graph}
    assert graphs == {each.members for each in tried if not each.graph}
    assert tried[-1] == Strategy(layout="channels_last", compiled=True, graph=True)
    assert not any(each.compiled and each.is_fused for each in tried)
    on_cpu = candidates(SMALL, gpus=0, has_images=True)
    assert not any(each.graph or each.compiled for each in on_cpu)


def test_on_a_cpu_only_packs_of_a_gibibyte_at_most_are_tried() -> None:
    work = replace(SMALL, memory_bytes=2**30 // 16)
    tried = candidates(work, gpus=0, has_images=False)
    assert {each.members for each in tried} == {1, 4, 16}


def test_layouts_are_tried_where_they_matter() -> None:
    def layouts(*, gpus: float, has_images: bool) -> set[str | None]:
        tried = candidates(SMALL, gpus=gpus, has_images=has_images)
        return {each.layout for each in tried}

    assert layouts(gpus=0, has_images=True) == {None, "contiguous"}
    assert layouts(gpus=1, has_images=True) == {None, "channels_last"}
    assert layouts(gpus=0, has_images=False) == layouts(gpus=1, has_images=False) == {None}


def test_in_a_hurry_only_what_is_clearly_faster_goes_before_the_first() -> None:
    seconds = {Strategy(16): 1.25, PLAIN: 1.0}
    assert fastest(seconds) == PLAIN
    assert fastest(seconds, is_thorough=False) == Strategy(16)
    assert fastest({Strategy(16): 1.35, PLAIN: 1.0}, is_thorough=False) == PLAIN


def test_the_fastest_is_chosen_and_what_failed_is_not() -> None:
    seconds = {Strategy(16): None, PLAIN: 2.0, Strategy(4): 1.0, Strategy(64): 1.2}
    assert fastest(seconds) == Strategy(4)


def test_of_those_as_good_as_the_fastest_the_first_is_chosen() -> None:
    assert fastest({Strategy(16): 1.04, PLAIN: 1.02, Strategy(64): 1.0}) == Strategy(16)
    assert fastest({Strategy(16): 1.06, PLAIN: 1.02, Strategy(64): 1.0}) == PLAIN


def test_measuring_takes_a_small_share_of_the_training() -> None:
    work = replace(SMALL, steps=100)
    assert Calibration(work, 0, 50).budget_seconds(0.002) == pytest.approx(0.3)
    assert not Calibration(work, 0, 7).can_pay
    assert Calibration(work, 0, 8).can_pay
