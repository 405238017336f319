"""ResNet-18 on 3x32x32 images on a GPU: `python -m benchmarks.gpu_resnet`.

Images a second of whole training epochs, augmentation included, in float32 and in bfloat16, with
channels last, CUDA graphs and torch's compiler; and the share of the GPU's bfloat16 products that
is, of the rate of one large product of matrices, measured here too. A training image counts three
forward passes of multiply-adds, two operations each. Ways take turns; the figures are medians of
REPEATS (3) epochs each. It needs torch and numpy only.
"""

import os
import statistics
import time
from dataclasses import dataclass
from typing import Any, Final

import torch

from benchmarks.gpu import NO_GPU, described, images, network, trial
from benchmarks.record import Goal, at_least, measured, write
from experiments.planning.strategies import PLAIN, Strategy
from workers.devices import prepare_device, wait_for
from workers.learner import Learner

SHAPE: Final = (3, 32, 32)
_OPERATIONS: Final = 2 * 3
"""Of an image for each multiply-add of its forward pass: forward, and twice as much backward."""

WAYS: Final = {
    "float32": ("float32", PLAIN),
    "bfloat16": ("bfloat16", PLAIN),
    "bfloat16, channels last": ("bfloat16", Strategy(layout="channels_last")),
    "bfloat16, channels last, graph": ("bfloat16", Strategy(layout="channels_last", graph=True)),
    "bfloat16, channels last, compiled": (
        "bfloat16",
        Strategy(layout="channels_last", compiled=True),
    ),
    "bfloat16, channels last, compiled, graph": (
        "bfloat16",
        Strategy(layout="channels_last", compiled=True, graph=True),
    ),
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: images, a batch of them, the network's width, rounds, a product."""

    num_train: int = 51_200
    batch_size: int = 512
    width: float = 1.0
    repeats: int = 3
    matrix: int = 8192


def main() -> None:
    """Measure, print and keep."""
    if not torch.cuda.is_available():
        print(NO_GPU)
        return
    device = prepare_device(num_cpus=4, num_gpus=1)
    found = measure(Size(repeats=int(os.environ.get("REPEATS", "3"))), device, WAYS)
    write("gpu_resnet", {"gpu": described(device), **found, "goals": goals(found)})


def measure(
    size: Size, device: torch.device, ways: dict[str, tuple[str, Strategy]]
) -> dict[str, Any]:
    """Time epochs of every way, round by round, and the product of matrices beside them."""
    data = images(SHAPE, num_train=size.num_train, num_test=16)
    architecture = network("resnet", SHAPE, depth=18, width=size.width)
    products = sum(row.multiply_adds for row in architecture.trace())
    learners = {
        name: Learner(
            trial(
                architecture, lr=0.05, batch_size=size.batch_size, precision=precision, epochs=99
            ),
            data,
            device=device,
            strategy=strategy,
        )
        for name, (precision, strategy) in ways.items()
    }
    for learner in learners.values():
        _epoch(learner, 1)  # compiles, records, takes memory
    peaks, rates = list[float](), {name: list[float]() for name in ways}
    accuracies = dict[str, float]()
    for number in range(size.repeats):
        peaks.append(product_rate(size.matrix, device))
        for name, learner in learners.items():
            seconds, accuracies[name] = _epoch(learner, number + 2)
            rates[name].append(size.num_train / seconds)
    peak = statistics.median(peaks)
    return {
        "batch_size": size.batch_size,
        "width": size.width,
        "multiply_adds_per_image": products,
        "product_teraflops": measured([each / 1e12 for each in peaks]),
        "ways": {
            name: {
                "ran": learners[name].strategy.text,
                "images_per_second": measured(each),
                "share_of_product_rate": measured(
                    [_OPERATIONS * products * rate / peak for rate in each]
                ),
                "train_accuracy": round(accuracies[name], 4),
            }
            for name, each in rates.items()
        },
    }


def _epoch(learner: Learner, epoch: int) -> tuple[float, float]:
    """Give the seconds of an epoch, and the accuracy in it."""
    device = learner.data.mean.device
    wait_for(device)
    started = time.perf_counter()
    record = learner.train_epoch(epoch, before_step=lambda _: None)
    wait_for(device)
    return time.perf_counter() - started, record.train.metrics["accuracy"]


def product_rate(size: int, device: torch.device, *, repeats: int = 20) -> float:
    """Give the operations a second of products of bfloat16 matrices, random (size, size) both.

    Of zeros they would be faster than of any data: the chip's power is what limits them.
    """
    one, other = (torch.randn(size, size, device=device).to(torch.bfloat16) for _ in range(2))
    for _ in range(3):
        one @ other
    wait_for(device)
    started = time.perf_counter()
    for _ in range(repeats):
        one @ other
    wait_for(device)
    return 2 * size**3 * repeats / (time.perf_counter() - started)


def goals(found: dict[str, Any]) -> list[Goal]:
    """Hold the fastest way in bfloat16 to float32 in the plain loop."""
    rates = {name: each["images_per_second"]["median"] for name, each in found["ways"].items()}
    best = max(rate for name, rate in rates.items() if name != "float32")
    ratio = round(best / rates["float32"], 2)
    return [at_least("images a second in bfloat16, times float32's plain loop", 1.0, ratio)]


if __name__ == "__main__":
    main()
