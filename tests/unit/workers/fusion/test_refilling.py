"""Places that fall free in a pack are taken by trials that wait: nobody's numbers change by it."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from experiments.events import TrialBegun, TrialFailed, TrialStopped, TrialSucceeded
from experiments.records import Assignment
from experiments.states import FailureKind
from tests.unit.workers.fusion.pack_runs import (
    OPTIMIZERS,
    Listener,
    MakeConfig,
    assign,
    convnet,
    run_together,
)
from tests.unit.workers.fusion.test_packs import in_folders, points_of, success
from workers.datasets.staged import StagedData
from workers.fusion.fused_layers import FusedLinear


class Waiting:
    """Trials that wait for places, in order; `asked` is for how many each time."""

    def __init__(self, assignments: list[Assignment]) -> None:
        self.left = [*assignments]
        self.asked: list[int] = []

    def __call__(self, _: Assignment, num: int) -> list[Assignment]:
        self.asked.append(num)
        taken, self.left = self.left[:num], self.left[num:]
        return taken


def assert_as_alone(listener: Listener, name: str, config: Any, data: StagedData) -> None:
    """Hold a trial to what it gives as the only member of a pack."""
    alone = run_together(assign({name: config}), data)
    assert listener.bits(name) == alone.bits(name)
    assert success(listener, name).metrics == success(alone, name).metrics


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_trials_that_wait_take_the_places_of_those_that_ended(
    make_config: MakeConfig, digits: StagedData, optimizer: str
) -> None:
    def make(number: int, epochs: int) -> Any:
        function = ("relu", "tanh", "gelu")[number % 3]
        return make_config(
            layers=convnet(function),
            optimizer=OPTIMIZERS[optimizer](number),
            epochs=epochs,
            seed=number,
        )

    first = {"a": make(0, 4), "b": make(1, 1), "c": make(2, 2)}
    later = {"d": make(3, 2), "e": make(4, 1), "f": make(5, 1)}  # after epochs 1, 2 and 3
    waiting = Waiting(assign(later))
    listener = run_together(assign(first), digits, joining=waiting)
    assert waiting.left == []
    assert waiting.asked[0] == 1  # after the first epoch
    for name, config in (first | later).items():
        assert_as_alone(listener, name, config, digits)
        assert isinstance(listener.of(name)[0], TrialBegun)
        members = 2 if name == "f" else 3  # d and e ended together
        assert success(listener, name).strategy == f"fused, {members} members"


def test_nobody_joins_while_no_place_is_free(make_config: MakeConfig, digits: StagedData) -> None:
    trials = {"a": make_config(), "b": make_config(seed=1)}
    waiting = Waiting(assign({"c": make_config(seed=2)}))
    run_together(assign(trials), digits, joining=waiting)
    assert waiting.asked == []


def test_one_that_ran_with_fewer_says_so(make_config: MakeConfig, digits: StagedData) -> None:
    trials = {"a": make_config(epochs=4)} | {
        name: make_config(epochs=1, seed=seed) for seed, name in enumerate("bc", start=1)
    }
    waiting = Waiting(assign({"d": make_config(seed=3)}))
    listener = run_together(assign(trials), digits, joining=waiting)
    assert success(listener, "a").strategy == "fused, 3 members"
    assert success(listener, "d").strategy == "fused, 2 members"


def test_a_joiner_that_fails_or_stops_touches_no_other(
    make_config: MakeConfig, digits: StagedData
) -> None:
    first = {"a": make_config(epochs=5)} | {
        name: make_config(epochs=1, seed=seed) for seed, name in enumerate("bcd", start=1)
    }
    good = make_config()
    other_data = dataclasses.replace(good.data, digest="0" * 64)
    later = {
        "diverges": make_config(lr=1e30, seed=4),
        "stops": make_config(seed=5),
        "elsewhere": dataclasses.replace(good, data=other_data),
        "fine": make_config(seed=6),
    }
    listener = Listener(stop=lambda name, time: (name, time) == ("stops", 3))
    run_together(assign(first), digits, listener=listener, joining=Waiting(assign(later)))
    kinds = {}
    for name in ("diverges", "elsewhere"):
        ending = listener.ending(name)
        assert isinstance(ending, TrialFailed)
        kinds[name] = ending.failure.kind
    assert kinds == {"diverges": FailureKind.NOT_FINITE, "elsewhere": FailureKind.DATA}
    assert listener.ending("stops") == TrialStopped("stops")
    for name, config in {"a": first["a"], "fine": later["fine"]}.items():
        assert_as_alone(listener, name, config, digits)


def test_a_joiner_goes_on_from_its_checkpoint(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    config = make_config(epochs=4, seed=7)
    straight = run_together(in_folders(assign({"late": config}), tmp_path / "straight"), digits)
    point = next(each for each in points_of(straight, "late") if each.epoch == 2)
    late = Assignment("late", 2, config, resume_from=(point,))
    first = {"a": make_config(epochs=4), "b": make_config(epochs=1, seed=1)}
    listener = run_together(assign(first), digits, joining=Waiting([late]))
    assert listener.of("late")[0] == TrialBegun("late", epoch=2, step=12)
    assert listener.bits("late") == [p for p in straight.bits("late") if p[2] > 12]
    assert success(listener, "late").metrics == success(straight, "late").metrics
    assert_as_alone(listener, "a", first["a"], digits)


@pytest.fixture
def room_for_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let linear layers of more than two members find no memory."""
    forward = FusedLinear.forward

    def run_out(layer: FusedLinear, inputs: Tensor) -> Tensor:
        if layer.num_members > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(layer, inputs)

    monkeypatch.setattr(FusedLinear, "forward", run_out)


@pytest.mark.usefixtures("room_for_two")
def test_a_pack_that_was_halved_is_filled_no_further_than_it_fits(
    make_config: MakeConfig, digits: StagedData
) -> None:
    trials = {
        name: make_config(epochs=num, seed=num)
        for name, num in zip("abcd", (3, 1, 3, 1), strict=True)
    }
    later = {name: make_config(seed=seed) for seed, name in enumerate("efg", start=5)}
    waiting = Waiting(assign(later))
    listener = run_together(assign(trials), digits, joining=waiting)
    ended = [e.trial_id for e in listener.events if isinstance(e, TrialSucceeded | TrialFailed)]
    assert sorted(ended) == ["a", "b", "c", "d", *sorted(set(later) - _names(waiting))]
    assert len(_names(waiting)) < len(later)
    for name in ended:
        assert success(listener, name).strategy == "fused, 2 members"


def _names(waiting: Waiting) -> set[str]:
    return {each.trial_id for each in waiting.left}


def test_seconds_of_a_joiner_count_from_its_joining_and_by_its_share(
    make_config: MakeConfig, digits: StagedData
) -> None:
    clock = itertools.count()  # a second passes at each look
    first = {"a": make_config(epochs=3), "b": make_config(epochs=1, seed=1)}
    later = {"c": make_config(epochs=2, seed=2)}
    listener = run_together(
        assign(first),
        digits,
        joining=Waiting(assign(later)),
        timer=lambda: float(next(clock)),
    )
    seconds = {name: success(listener, name).duration_seconds for name in first | later}
    assert seconds["a"] > seconds["c"] > 0
    assert sum(seconds.values()) <= next(clock)
