"""What a plan will cost: the seconds of its trials over the workers, and a worker's memory."""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from experiments.planning.cost import CostSample
from experiments.planning.cost_model import Interval, learn
from experiments.records import Resources, Trial

START_UP_SECONDS: Final = 8.0
"""From the command to the first step (benchmarks/results/cold_start.json)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan will cost on this machine.

    Attributes:
        seconds: How long until all is done, start-up included, and between which it should
            lie; 0 where nothing is to be trained, None while no trial has finished here.
        num_workers: The workers that this machine has room for, 1 where that is not known.
        learned_from: How many finished trials say so.
        trial_seconds: The mean seconds of a trial, for each network by name.
        peak_memory_bytes: The most that one worker will hold, 0 where none is needed. The
            arithmetic of its largest trial, and `base_memory_bytes` beside it where finished
            trials told that.
    """

    seconds: Interval | None
    num_workers: int
    learned_from: int
    trial_seconds: Mapping[str, float]
    peak_memory_bytes: int
    base_memory_bytes: int | None


def estimate(
    trials: Sequence[Trial],
    samples: Sequence[CostSample],
    *,
    num_workers: int,
    members: Callable[[Trial], int] = lambda _: 1,
) -> Estimate:
    """Forecast what trials will cost from what others did.

    `members` says how many a worker trains together with one, all of which need memory.
    """
    model, base = learn(samples), base_memory_bytes(samples)
    peak = max((members(trial) * trial.work.memory_bytes for trial in trials), default=0)
    seconds, by_network = None, dict[str, float]()
    if not trials:
        seconds = Interval(0.0, 0.0, 0.0)
    elif model is not None:
        expected = {work: model.predict(work) for work in {trial.work for trial in trials}}
        seconds = _makespan([expected[trial.work] for trial in trials], num_workers)
        taken: dict[str, list[float]] = {}
        for trial in trials:
            name = trial.config.architecture.name
            taken.setdefault(name, []).append(expected[trial.work].seconds)
        by_network = {name: fmean(each) for name, each in taken.items()}
    return Estimate(
        seconds=seconds,
        num_workers=num_workers,
        learned_from=len(samples),
        trial_seconds=by_network,
        peak_memory_bytes=peak + (base or 0) if trials else 0,
        base_memory_bytes=base,
    )


def workers_that_fit(capacity: Resources, wanted: Resources) -> int:
    """Count the workers of a size that a machine has room for."""
    fit = capacity.cpus // wanted.cpus
    return min(fit, int(capacity.gpus / wanted.gpus + 1e-4)) if wanted.gpus else fit


def base_memory_bytes(samples: Iterable[CostSample]) -> int | None:
    """Give what a worker holds beside its trial: Python, torch and the data.

    It is what is left of a peak without its trial's arithmetic. A process keeps the peak of
    its largest trial, so the larger remainders may be those of earlier trials; the smallest
    ones come from trials whose arithmetic says too much. So it is the lower quartile, and
    trials of which nothing would be left do not count.
    """
    rests = sorted(
        sample.peak_memory_bytes - sample.work.memory_bytes
        for sample in samples
        if sample.peak_memory_bytes is not None
        and sample.peak_memory_bytes > sample.work.memory_bytes
    )
    return rests[(len(rests) - 1) // 4] if rests else None


def _makespan(trials: Sequence[Interval], num_workers: int) -> Interval:
    """Give when the last of the workers is done, each taking the next trial when it is free.

    The errors of trials are taken to go the same way, as those of one network do: no luck
    evens them out.
    """
    free_at = [0.0] * num_workers
    for trial in trials:
        heapq.heapreplace(free_at, free_at[0] + trial.seconds)
    last, total = max(free_at), math.fsum(trial.seconds for trial in trials)
    low, high = (
        START_UP_SECONDS + last * math.fsum(getattr(trial, end) for trial in trials) / total
        for end in ("low", "high")
    )
    reach = max(trial.reach for trial in trials)
    return Interval(START_UP_SECONDS + last, low, high, reach)
