"""How every peer trains a trial: data in memory, batches by slicing, no more than is needed.

Each epoch is validated and the last one tested, as trainyard does with `select: last`. What
trainyard does beyond that (training accuracy, curves, checkpoints, a record that survives a
power cut) no peer is asked for.
"""

import importlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers.networks import build

Params = Mapping[str, Any]
"""One trial's `model`, `activation`, `lr`, `batch_size` and `seed`."""

Data = Mapping[str, tuple[Tensor, Tensor]]
"""For "train", "val" and "test": images (N, C, H, W) float32, standardised; classes (N,) int64."""

EVALUATION_BATCH = 512


@dataclass(frozen=True, slots=True)
class Job:
    """What a peer is asked to do. `grid` has the values of every parameter.

    Of the grid's points the first `num_trials` are trained, in its order.
    """

    data: str
    grid: Mapping[str, Sequence[Any]]
    num_trials: int
    epochs: int
    momentum: float
    num_classes: int
    channels_last: bool
    num_processes: int

    def trials(self) -> list[dict[str, Any]]:
        """Give the points of the grid, the last parameter's values next to each other."""
        points = itertools.product(*self.grid.values())
        chosen = itertools.islice(points, self.num_trials)
        return [dict(zip(self.grid, point, strict=True)) for point in chosen]


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial's accuracy on the test split, and when it was trained (Unix seconds)."""

    test_accuracy: float
    started_at: float
    ended_at: float


@cache
def load(path: str) -> Data:
    """Read the data, once a process."""
    data: Data = torch.load(path, weights_only=True)
    return data


def prepare(path: str, *, num_threads: int | None = None) -> None:
    """Do what would else slow a process's first trial: load the data and all of torch."""
    importlib.import_module("torch._dynamo")  # which the first optimizer needs; 2 seconds
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    load(path)


class Training:
    """One trial, epoch by epoch."""

    def __init__(self, job: Job, params: Params) -> None:
        self.started_at = time.time()
        self._job = job
        self._data = load(job.data)
        self._batch_size: int = params["batch_size"]
        torch.manual_seed(params["seed"])
        self._network = build(
            params["model"],
            activation=params["activation"],
            num_classes=job.num_classes,
            channels_last=job.channels_last,
        )
        self._optimizer = torch.optim.SGD(
            self._network.parameters(), lr=params["lr"], momentum=job.momentum, fused=True
        )
        self._loss = nn.CrossEntropyLoss()

    def epoch(self) -> float:
        """Train one epoch, and give the accuracy on the validation split."""
        inputs, targets = self._data["train"]
        order = torch.randperm(len(targets))
        self._network.train()
        for chosen in torch.split(order, self._batch_size):
            loss = self._loss(self._network(inputs[chosen]), targets[chosen])
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        return self.accuracy("val")

    def accuracy(self, split: str) -> float:
        """Give the share of a split's images that the network gets right."""
        inputs, targets = self._data[split]
        self._network.eval()
        with torch.inference_mode():
            batches = zip(
                torch.split(inputs, EVALUATION_BATCH),
                torch.split(targets, EVALUATION_BATCH),
                strict=True,
            )
            right = sum(int((self._network(x).argmax(1) == y).sum().item()) for x, y in batches)
        return right / len(targets)

    def finish(self) -> Finished:
        """Test the network as it is."""
        return Finished(self.accuracy("test"), self.started_at, time.time())


def train(job: Job, params: Params) -> Finished:
    """Train a trial to its end."""
    training = Training(job, params)
    for _ in range(job.epochs):
        training.epoch()
    return training.finish()


def noop() -> Finished:
    """Report one number, and train nothing."""
    now = time.time()
    return Finished(1.0, now, now)


def read_job() -> tuple[Job, Path]:
    """Read the command line: the job's file, and the file for the result."""
    job, result = sys.argv[1:]
    return Job(**json.loads(Path(job).read_text(encoding="utf-8"))), Path(result)


def write_result(path: Path, finished: Sequence[Finished]) -> None:
    """Write what came of the trials, and print how well they did."""
    accuracies = [each.test_accuracy for each in finished]
    accuracy, middle = statistics.fmean(accuracies), statistics.median(accuracies)
    result = {
        "num_trials": len(finished),
        "test_accuracy": accuracy,
        "middle_accuracy": middle,
        "work_seconds": max(each.ended_at for each in finished)
        - min(each.started_at for each in finished),
    }
    path.write_text(json.dumps(result), encoding="utf-8")
    print(f"{len(finished)} trials, test accuracy: mean {accuracy:.4f}, median {middle:.4f}")
