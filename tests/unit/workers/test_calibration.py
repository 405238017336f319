"""Ways to train are timed within a budget, and the trials are none the wiser."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from experiments.events import Event, StrategiesTimed, TrialSucceeded
from experiments.planning.strategies import PLAIN, Calibration, Strategy
from experiments.records import Assignment, TrialConfig
from tests.samples import SOME_WORK
from tests.unit.workers.fusion.pack_runs import Listener, assign
from workers import calibration as calibration_module
from workers.calibration import Trainee, calibrate, step_timer
from workers.datasets.staged import StagedData
from workers.training import run_pack

MakeConfig = Callable[..., TrialConfig]
CPU = torch.device("cpu")
STEPS_AN_EPOCH = 50
BUILD_SECONDS = 0.01
WORK = replace(SOME_WORK, steps=1000, multiply_adds=10**9)


@dataclass(slots=True)
class Machine:
    """A machine on which a member's step takes so many seconds, by the strategy.

    What takes no time at all fails; for want of memory where that is negative.
    """

    step_seconds: Mapping[Strategy, float]
    now: float = 100.0
    steps: list[Strategy] = field(default_factory=list)

    def read(self) -> float:
        return self.now

    def build(self, configs: Sequence[TrialConfig], _: Any, **options: Any) -> Any:
        strategy = options["strategy"]
        assert len(configs) == strategy.members
        self.now += BUILD_SECONDS

        def train_epoch(epochs: Sequence[int], *, before_step: Callable[[int], None]) -> None:
            assert [*epochs] == [1] * strategy.members
            for step in range(1, STEPS_AN_EPOCH + 1):
                before_step(step)
                seconds = self.step_seconds.get(strategy, 1.0)
                if seconds == 0:
                    raise RuntimeError("no such way")
                if seconds < 0:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                self.now += strategy.members * seconds
                self.steps.append(strategy)

        member = SimpleNamespace(steps_per_epoch=STEPS_AN_EPOCH)
        return SimpleNamespace(members=[member] * strategy.members, train_epoch=train_epoch)


MakeMachine = Callable[..., Machine]


@pytest.fixture
def make_machine(monkeypatch: pytest.MonkeyPatch) -> MakeMachine:
    """Let networks take the time that a test says."""

    def make(step_seconds: Mapping[Strategy, float]) -> Machine:
        machine = Machine(step_seconds)
        monkeypatch.setattr(calibration_module, "build_group", machine.build)
        return machine

    return make


def calibrated(
    machine: Machine,
    config: TrialConfig,
    data: StagedData,
    *,
    num_trials: int = 1000,
    steps: int = WORK.steps,
    reporter: Listener | None = None,
) -> tuple[Strategy, Listener]:
    """Calibrate for two trials, and give what was chosen and heard."""
    reporter = reporter or Listener()
    chosen = calibrate(
        [Assignment(name, 1, config) for name in "ab"],
        data,
        reporter,
        calibration=Calibration(replace(WORK, steps=steps), 0, num_trials),
        otherwise=Strategy(7),
        device=CPU,
        timer=machine.read,
    )
    return chosen, reporter


def timed(reporter: Listener) -> StrategiesTimed:
    """Give the one thing that was heard."""
    (event,) = reporter.events
    assert isinstance(event, StrategiesTimed)
    return event


def test_the_fastest_is_chosen_and_all_times_are_told(
    make_machine: MakeMachine, make_config: MakeConfig, digits: StagedData
) -> None:
    contiguous = Strategy(layout="contiguous")
    seconds = {PLAIN: 0.004, Strategy(16): 0.003, Strategy(64): 0.002, Strategy(4): 0.005}
    machine = make_machine({**seconds, contiguous: 0.006})

    chosen, reporter = calibrated(machine, make_config(), digits)

    assert chosen == Strategy(64)
    event = timed(reporter)
    assert (event.trial_id, event.chosen) == ("a", "fused, 64 members")
    assert event.step_seconds == pytest.approx(
        {
            "fused, 16 members": 0.003,
            "plain": 0.004,
            "fused, 64 members": 0.002,
            "fused, 4 members": 0.005,
            "plain, contiguous": 0.006,
        }
    )


def test_what_may_be_the_fastest_is_looked_at_again_in_turn(
    make_machine: MakeMachine, make_config: MakeConfig, digits: StagedData
) -> None:
    machine = make_machine({PLAIN: 0.001, Strategy(16): 0.0011, Strategy(64): 0.01})
    calibrated(machine, make_config(), digits)
    turns = [
        now for now, then in zip(machine.steps[1:], machine.steps, strict=False) if now != then
    ]
    assert turns[-4:] == [Strategy(16), PLAIN] * 2 or turns[-4:] == [PLAIN, Strategy(16)] * 2
    assert turns.count(Strategy(64)) == 1


@pytest.mark.parametrize(("num_trials", "num_timed"), [(1, 2), (3, 2), (10, 4), (30, 5), (1000, 5)])
def test_it_takes_no_more_than_its_share_of_the_training(
    make_machine: MakeMachine,
    make_config: MakeConfig,
    digits: StagedData,
    num_trials: int,
    num_timed: int,
) -> None:
    seconds = {Strategy(members): 0.002 for members in (1, 4, 16, 64)}
    machine = make_machine(seconds | {Strategy(layout="contiguous"): 0.002})

    _, reporter = calibrated(machine, make_config(), digits, num_trials=num_trials)

    spent, training = machine.now - 100, 0.002 * WORK.steps * num_trials
    getting_going = BUILD_SECONDS + 3 * 0.002
    building = 4 * BUILD_SECONDS
    assert spent - getting_going <= 0.03 * training + building
    event = timed(reporter)
    assert (event.num_steps, len(event.step_seconds)) == (1000 * num_trials, num_timed)
    assert event.is_thorough == (num_timed == 5)


def test_where_there_is_no_time_for_two_the_rule_of_thumb_stays_and_nothing_is_remembered(
    make_machine: MakeMachine, make_config: MakeConfig, digits: StagedData
) -> None:
    machine = make_machine({PLAIN: 0.002})
    chosen, reporter = calibrated(machine, make_config(), digits, steps=100, num_trials=1)
    assert (chosen, reporter.events) == (Strategy(7), [])


def test_what_fails_is_ruled_out_and_told_of(
    make_machine: MakeMachine, make_config: MakeConfig, digits: StagedData
) -> None:
    broken = {Strategy(members): 0.0 for members in (4, 16, 64)}
    machine = make_machine({PLAIN: 0.002, Strategy(layout="contiguous"): 0.003, **broken})

    chosen, reporter = calibrated(machine, make_config(), digits)

    assert chosen == PLAIN
    found = timed(reporter).step_seconds
    assert {name for name, each in found.items() if each is None} == {
        strategy.text for strategy in broken
    }


def test_what_had_no_room_beside_others_is_left_open(
    make_machine: MakeMachine, make_config: MakeConfig, digits: StagedData
) -> None:
    large = {Strategy(members): -1.0 for members in (4, 16, 64)}
    machine = make_machine({PLAIN: 0.002, Strategy(layout="contiguous"): 0.003, **large})

    chosen, reporter = calibrated(machine, make_config(), digits)

    assert chosen == PLAIN
    assert timed(reporter).step_seconds.keys() == {"plain", "plain, contiguous"}
    assert not timed(reporter).is_thorough


def test_where_even_the_plain_loop_fails_the_trials_will_say_so(
    make_machine: MakeMachine, make_config: MakeConfig, digits: StagedData
) -> None:
    chosen, reporter = calibrated(make_machine({PLAIN: 0.0}), make_config(), digits)
    assert (chosen, reporter.events) == (Strategy(7), [])


def test_a_request_to_stop_is_heard_at_the_next_step(
    make_machine: MakeMachine, make_config: MakeConfig, digits: StagedData
) -> None:
    machine = make_machine({Strategy(members): 0.002 for members in (1, 4, 16, 64)})

    class Impatient(Listener):
        def stop_requested(self, trial_id: str) -> bool:
            return trial_id == "b" and len(machine.steps) >= 10

    chosen, reporter = calibrated(machine, make_config(), digits, reporter=Impatient())

    assert (chosen, reporter.events) == (Strategy(7), [])
    assert len(machine.steps) <= 11


def test_trials_get_the_same_numbers_with_and_without(
    make_config: MakeConfig, digits: StagedData
) -> None:
    """Real networks: whatever is chosen, the run in that way is bit for bit the same."""
    trials = {str(seed): make_config(seed=seed) for seed in range(3)}
    measured, told = Listener(), Listener()

    run_pack(assign(trials), digits, measured, calibration=Calibration(WORK, 0, 10**5))

    event = next(each for each in measured.events if isinstance(each, StrategiesTimed))
    assert measured.events[0] is event
    assert len(event.step_seconds) == 5
    assert all(seconds is not None and seconds > 0 for seconds in event.step_seconds.values())
    chosen = Strategy.parse(event.chosen)
    run_pack(assign(trials), digits, told, strategy=chosen)
    for name in trials:
        assert measured.bits(name) == told.bits(name)
        assert ran(measured.ending(name)) == ran(told.ending(name))


def ran(event: Event) -> str:
    """Say how a trial that must have succeeded was trained."""
    assert isinstance(event, TrialSucceeded)
    return event.strategy


def test_a_graph_that_cannot_be_recorded_is_no_way_to_train(
    make_config: MakeConfig, digits: StagedData
) -> None:
    def trainee(strategy: Strategy) -> Trainee:
        return Trainee(
            [make_config()],
            digits,
            strategy,
            device=CPU,
            timer=time.monotonic,
            go_on=lambda: None,
        )

    assert trainee(PLAIN).step_seconds > 0
    with pytest.raises(RuntimeError, match="plain, CUDA graph: its steps cannot be recorded here"):
        trainee(Strategy(graph=True))


@pytest.mark.parametrize(
    ("place", "threads", "timer"),
    [("cpu", 1, time.thread_time), ("cpu", 2, time.monotonic), ("cuda", 1, time.monotonic)],
)
def test_steps_of_one_core_are_timed_by_what_it_did_and_not_by_its_waiting(
    place: str, threads: int, timer: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert step_timer(torch.device(place), time.monotonic) is timer
