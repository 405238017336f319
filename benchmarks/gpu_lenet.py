"""A 512-trial grid of LeNet-5 on a GPU: `python -m benchmarks.gpu_lenet` (or `make bench BENCH=`).

ReLU or tanh, eight rates, 32 seeds; one epoch of 60,000 images of 28x28, batches of 64. A trial
is all that the engine does for one: training, validation, test. Measured are trials an hour of
the plain loop one at a time, of packs of several sizes, with and without CUDA graphs, and of
several workers on the GPU at once. Ways take turns; the figures are medians of REPEATS (3)
rounds. There is no queue and no store in it, and it needs torch and numpy only.
"""

import multiprocessing
import os
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from multiprocessing.synchronize import Barrier
from typing import Any, Final

import torch

from benchmarks.gpu import NO_GPU, Ends, described, images, network, trial
from benchmarks.record import Goal, at_least, measured, write
from experiments.planning.pack_shapes import pack_order
from experiments.planning.strategies import PLAIN, Strategy
from experiments.records import Assignment, TrialConfig
from workers.datasets.staged import StagedData
from workers.devices import prepare_device, wait_for
from workers.training import run_pack

SHAPE: Final = (1, 28, 28)
RATES: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.1)
WANTED: Final = 20.0
"""How many times the plain loop's trials an hour a pack should reach."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    Attributes:
        num_train: Images of the training split.
        num_test: Images of the test split.
        num_alone: Trials of a round of the plain loop.
        num_trials: Of the grid.
        members: Sizes of packs.
        workers: Numbers of workers on the GPU at once, each with its part of the grid.
        repeats: Rounds.
    """

    num_train: int = 60_000
    num_test: int = 10_000
    num_alone: int = 3
    num_trials: int = 512
    members: tuple[int, ...] = (16, 64, 128, 256, 512)
    workers: tuple[int, ...] = (2, 4)
    repeats: int = 3


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave: trials, the seconds of all of them, their mean accuracy, how they ran."""

    num_trials: int
    seconds: float
    accuracy: float
    strategy: str

    @property
    def trials_per_hour(self) -> float:
        """Give the rate."""
        return 3600 * self.num_trials / self.seconds


def main() -> None:
    """Measure, print and keep."""
    if not torch.cuda.is_available():
        print(NO_GPU)
        return
    device = prepare_device(num_cpus=4, num_gpus=1)
    found = measure(Size(repeats=int(os.environ.get("REPEATS", "3"))), device)
    write("gpu_lenet", {"gpu": described(device), **found, "goals": goals(found)})


def measure(size: Size, device: torch.device) -> dict[str, Any]:
    """Time every way, round by round; ratios are to the plain loop of the same round."""
    data = images(SHAPE, num_train=size.num_train, num_test=size.num_test)
    grid = trials(size.num_trials)
    ways = [PLAIN, Strategy(graph=True)]
    ways += [Strategy(num, graph=graph) for num in size.members for graph in (False, True)]
    for way in ways:  # libraries load and choose, memory is taken
        run(grid[: min(way.members, 4)], data, way, device)
    rounds = list[dict[str, Run]]()
    for _ in range(size.repeats):
        round_of = {way.text: run(part(grid, way, size), data, way, device) for way in ways}
        largest = Strategy(max(size.members), graph=True)
        for num in size.workers:
            runs = run_workers(grid, num, size, largest, device)
            round_of[f"{num} workers, {largest.text} in all"] = runs
        rounds.append(round_of)
    return {
        "num_train": size.num_train,
        "batch_size": grid[0].batch_size,
        "ways": {name: _summary([each[name] for each in rounds], rounds) for name in rounds[0]},
    }


def trials(count: int) -> list[TrialConfig]:
    """Give the first trials of the grid, those that compute alike next to each other."""
    nets = [network("lenet5", SHAPE, activation=name) for name in ("relu", "tanh")]
    points = product(range(-(-count // (len(RATES) * len(nets)))), RATES, nets)
    grid = [trial(net, lr=lr, batch_size=64, seed=seed) for seed, lr, net in points]
    return sorted(grid[:count], key=pack_order)


def part(grid: Sequence[TrialConfig], way: Strategy, size: Size) -> list[TrialConfig]:
    """Give what a way is timed on: one full pack, from all over the grid, or a few trials."""
    count = way.members if way.is_fused else size.num_alone
    return sorted(random.Random(0).sample(grid, count), key=pack_order)


def run(
    configs: Sequence[TrialConfig], data: StagedData, way: Strategy, device: torch.device
) -> Run:
    """Train trials in a way, from the first weights to the test score."""
    ends = Ends()
    assignments = [Assignment(str(index), 1, each) for index, each in enumerate(configs)]
    wait_for(device)
    started = time.perf_counter()
    run_pack(assignments, data, ends, device=device, strategy=way)
    wait_for(device)
    seconds = time.perf_counter() - started
    accuracies = [each.metrics["test/accuracy"] for each in ends.succeeded.values()]
    assert len(accuracies) == len(configs)
    ran = {str(each.strategy) for each in ends.succeeded.values()}
    return Run(len(configs), seconds, statistics.fmean(accuracies), "; ".join(sorted(ran)))


def run_workers(
    grid: Sequence[TrialConfig], num: int, size: Size, way: Strategy, device: torch.device
) -> Run:
    """Train one full pack, cut in equal parts, by so many processes at once."""
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(num + 1), spawn.SimpleQueue()
    whole = part(grid, way, size)
    shares = [sorted(whole[start::num], key=pack_order) for start in range(num)]
    processes = [
        spawn.Process(target=_work, args=(share, size, way, str(device), barrier, answers))
        for share in shares
    ]
    for process in processes:
        process.start()
    barrier.wait(timeout=600)
    started = time.perf_counter()
    runs = [answers.get() for _ in processes]
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    accuracy = sum(each.accuracy * each.num_trials for each in runs) / len(whole)
    return Run(len(whole), seconds, accuracy, f"{num} x {runs[0].strategy}")


def _work(
    share: Sequence[TrialConfig],
    size: Size,
    way: Strategy,
    device: str,
    barrier: Barrier,
    answers: Any,
) -> None:
    """Get ready, wait for the others, train, and say how it went."""
    place = torch.device(device)
    if place.type == "cuda":
        prepare_device(num_cpus=2, num_gpus=0.5)
    data = images(SHAPE, num_train=size.num_train, num_test=size.num_test)
    run(share[:2], data, way, place)
    barrier.wait(timeout=600)
    answers.put(run(share, data, way, place))


def _summary(runs: Sequence[Run], rounds: Sequence[dict[str, Run]]) -> dict[str, Any]:
    pairs = zip(runs, rounds, strict=True)
    return {
        "ran": runs[0].strategy,
        "num_trials": runs[0].num_trials,
        "trials_per_hour": measured([each.trials_per_hour for each in runs]),
        "times_plain": measured(
            [each.trials_per_hour / others[PLAIN.text].trials_per_hour for each, others in pairs]
        ),
        "test_accuracy": measured([each.accuracy for each in runs]),
    }


def goals(found: dict[str, Any]) -> list[Goal]:
    """Hold the fastest way to the plain loop."""
    best = max(each["times_plain"]["median"] for each in found["ways"].values())
    return [at_least("trials an hour, times one process in the plain loop", WANTED, best)]


if __name__ == "__main__":
    main()
