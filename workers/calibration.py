"""Which way to train a shape is the fastest here: some steps of each, on throw-away networks.

The networks are those of the very trials that wait, and nothing of the trials is touched: they
draw from streams of their own, and begin when this is over. It takes a small share of the time
that the experiment's trials of the shape take together.
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

import torch

from experiments.events import Reporter, StrategiesTimed
from experiments.planning.pack_shapes import pack_order
from experiments.planning.strategies import (
    PLAIN,
    STEPS_OF_A_LOOK,
    Calibration,
    Strategy,
    candidates,
    fastest,
)
from experiments.records import Assignment, TrialConfig
from workers.datasets.staged import StagedData
from workers.devices import has_convolutions, memory_for, release_memory, wait_for
from workers.failures import StopRequestedError, is_out_of_memory
from workers.groups import build_group
from workers.modules import module_without_storage
from workers.recorded_steps import STEPS_TO_RECORD

_FEWEST_STEPS: Final = 2
_WINDOW_SECONDS: Final = 0.05
"""How long a strategy is timed without a break, at the most unless its steps take longer."""

_WINDOWS: Final = 20
"""So many of them, at the least, are in a budget."""

_MORE_ROUNDS: Final = 3
"""How often what may be the fastest is timed once more; the best time counts."""

_STILL_IN: Final = 1.25
"""What takes more than so many times the seconds of the fastest is not timed again."""


def calibrate(
    assignments: Sequence[Assignment],
    data: StagedData,
    reporter: Reporter,
    *,
    calibration: Calibration,
    otherwise: Strategy,
    device: torch.device,
    timer: Callable[[], float],
) -> Strategy:
    """Measure which strategy is the fastest for trials of one shape, and report it.

    Args:
        assignments: The trials that are about to be trained; they are only looked at.
        data: Their staged data set.
        reporter: Takes what was found, in the first trial's name; is asked before every step
            whether to stop.
        calibration: What the trials of this shape will take.
        otherwise: The strategy where there is no time for two, or a trial is to stop; then
            nothing is reported.
        device: Where to train.
        timer: Seconds that never jump.
    """
    trial_ids = itertools.cycle([each.trial_id for each in assignments])
    configs = [each.config for each in assignments]

    def go_on() -> None:
        if reporter.stop_requested(next(trial_ids)):  # one a step is soon enough
            raise StopRequestedError

    timer_of_steps = step_timer(device, timer)

    def build(strategy: Strategy) -> Trainee:
        return Trainee(configs, data, strategy, device=device, timer=timer_of_steps, go_on=go_on)

    try:
        tried = _candidates(configs[0], calibration, device)
        found = time_strategies(tried, build, calibration, timer=timer)
    except Exception:  # a request to stop, or what fails plainly too: the trials' runs will say
        found = {}
    release_memory(device)
    if len(found) < 2:
        return otherwise
    is_thorough = len(found) == len(tried)
    chosen = fastest(found, is_thorough=is_thorough)
    reporter.report(
        StrategiesTimed(
            assignments[0].trial_id,
            {strategy.text: seconds for strategy, seconds in found.items()},
            chosen.text,
            num_steps=calibration.num_steps,
            is_thorough=is_thorough,
        )
    )
    return chosen


def step_timer(device: torch.device, timer: Callable[[], float]) -> Callable[[], float]:
    """Give the time by which steps are compared.

    A worker of one core is measured while others start beside it: it counts what its own thread
    got done, not for how long that was kept waiting.
    """
    is_alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.thread_time if is_alone and timer is time.monotonic else timer


class Trainee:
    """Throw-away networks that learn in one way, to see how fast they do.

    `step_seconds` are those of a member's step, the least that was seen.
    """

    def __init__(
        self,
        configs: Sequence[TrialConfig],
        data: StagedData,
        strategy: Strategy,
        *,
        device: torch.device,
        timer: Callable[[], float],
        go_on: Callable[[], None],
    ) -> None:
        """Build networks of these trials, in turn, and make their first steps, which are slow.

        `go_on` is called before each step; what it raises ends it.

        Raises:
            RuntimeError: The steps should be a graph, and cannot be.
        """
        self._device = device
        self._timer = timer
        self._go_on = go_on
        self._members = strategy.members
        repeated = itertools.islice(itertools.cycle(configs), strategy.members)
        ordered = sorted(repeated, key=pack_order)
        self._group = build_group(ordered, data, device=device, strategy=strategy)
        self._epoch_steps = self._group.members[0].steps_per_epoch
        self._train(STEPS_TO_RECORD if strategy.graph else 1)
        if strategy.graph and not Strategy.parse(self._group.strategy).graph:
            raise RuntimeError(f"{strategy.text}: its steps cannot be recorded here")
        self.step_seconds = self._train(_FEWEST_STEPS)

    def window_seconds(self, window: float) -> float:
        """Give how long `train` will take for so many seconds."""
        return self._steps_in(window) * self._members * self.step_seconds

    def train(self, window: float) -> None:
        """Train for so many seconds: at least a few steps, at most an epoch."""
        self.step_seconds = min(self.step_seconds, self._train(self._steps_in(window)))

    def _steps_in(self, window: float) -> int:
        steps = max(_FEWEST_STEPS, round(window / (self._members * self.step_seconds)))
        return min(steps, self._epoch_steps)

    def _train(self, steps: int) -> float:
        """Make the first steps of an epoch, or all there are; give the seconds of a member's.

        Of a whole epoch all of it counts, otherwise only what comes after its preparation.
        """
        is_whole = steps >= self._epoch_steps
        began = self._now()

        def before_step(step: int) -> None:
            nonlocal began
            self._go_on()
            if step > steps:
                raise _EnoughError
            if step == 1 and not is_whole:
                began = self._now()

        with contextlib.suppress(_EnoughError):
            self._group.train_epoch([1] * self._members, before_step=before_step)
        return (self._now() - began) / (min(steps, self._epoch_steps) * self._members)

    def _now(self) -> float:
        """Read the time when all that was asked of the device is done."""
        wait_for(self._device)
        return self._timer()


class _EnoughError(Exception):
    """As many steps are made as are timed."""


def time_strategies(
    tried: Sequence[Strategy],
    build: Callable[[Strategy], Trainee],
    calibration: Calibration,
    *,
    timer: Callable[[], float],
) -> dict[Strategy, float | None]:
    """Give the seconds of a member's step in each way that there was time for, in the order tried.

    None stands for a way that failed. What may be the fastest is timed in several rounds, so that
    whatever else the machine does meanwhile falls on all of them.

    Args:
        tried: The strategies, the most promising first, the reference loop among them.
        build: Makes the networks of one.
        calibration: How long all of it may take.
        timer: Seconds that never jump.

    Raises:
        StopRequestedError: A trial is to end.
        Exception: What the reference loop raised.
    """
    began = timer()
    trainees = {PLAIN: build(PLAIN)}
    failed = set[Strategy]()

    def has_time_for(seconds: float) -> bool:
        fewest = min(each.step_seconds for each in trainees.values())
        return timer() - began + seconds <= calibration.budget_seconds(fewest)

    plain = trainees[PLAIN]
    window = min(_WINDOW_SECONDS, calibration.budget_seconds(plain.step_seconds) / _WINDOWS)
    plain.train(window)
    for strategy in tried:
        # Members may be no faster together than one by one.
        at_most = strategy.members * STEPS_OF_A_LOOK * plain.step_seconds
        if strategy != PLAIN and has_time_for(at_most):
            try:
                trainees[strategy] = build(strategy)
                trainees[strategy].train(window)
            except StopRequestedError:
                raise
            except Exception as error:  # what cannot be trained so is ruled out
                trainees.pop(strategy, None)
                if not is_out_of_memory(error):  # that may be for those beside it
                    failed.add(strategy)
    for _ in range(_MORE_ROUNDS if len(trainees) > 1 else 0):
        most = _STILL_IN * min(each.step_seconds for each in trainees.values())
        for trainee in trainees.values():
            if trainee.step_seconds <= most and has_time_for(trainee.window_seconds(window)):
                trainee.train(window)
    return {
        strategy: trainees[strategy].step_seconds if strategy in trainees else None
        for strategy in tried
        if strategy in trainees or strategy in failed
    }


def _candidates(
    config: TrialConfig, calibration: Calibration, device: torch.device
) -> tuple[Strategy, ...]:
    """List what may be the fastest for trials like this one, on this device."""
    return candidates(
        calibration.work,
        gpus=calibration.gpus,
        has_images=has_convolutions(module_without_storage(config.architecture)),
        memory_bytes=memory_for(device, share=min(calibration.gpus, 1.0)),
    )
