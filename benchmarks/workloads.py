"""The grids that trainyard and its peers train, each written down once for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.peers.training import Job
from experiments.planning.plan import Plan, make_plan
from experiments.records import DataConfig
from experiments.spec import read_spec
from workers.batches import standardise
from workers.datasets.staged import Split, StagedData
from workers.staging import stage

MOMENTUM: Final = 0.9

MODELS: Final[Mapping[str, Any]] = {
    "small": {
        "name": "small",
        "layers": [
            {"conv2d": {"out_channels": 16, "kernel_size": 3, "padding": "same"}},
            "activation",
            {"max_pool2d": 2},
            {"conv2d": {"out_channels": 32, "kernel_size": 3, "padding": "same"}},
            "activation",
            {"max_pool2d": 2},
            "flatten",
            {"linear": 64},
            "activation",
            {"linear": "classes"},
        ],
    },
    "lenet5": {"name": "lenet5"},
    "resnet18": {"name": "resnet", "depth": 18, "width": 0.25},
    "vgg11": {"name": "vgg", "depth": 11, "width": 0.25},
    "softmax_regression": {"name": "softmax_regression"},
}
"""What a spec calls the networks of `benchmarks/peers/networks.py`."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A grid: every model, with every activation, rate, batch size and seed.

    `data` is what a spec says of it. `channels_last` is how the peers lay out images in memory:
    whichever is faster for them.
    """

    name: str
    data: Mapping[str, Any]
    models: Sequence[str]
    activations: Sequence[str]
    rates: Sequence[float]
    batch_sizes: Sequence[int]
    num_seeds: int
    epochs: int
    channels_last: bool = False
    execution: Mapping[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> dict[str, Sequence[Any]]:
        """Give the values of every parameter, as the peers take them."""
        return {
            "model": list(self.models),
            "activation": list(self.activations),
            "lr": list(self.rates),
            "batch_size": list(self.batch_sizes),
            "seed": list(range(self.num_seeds)),
        }

    @property
    def num_trials(self) -> int:
        """Count the points of the grid."""
        variants = len(self.models) * len(self.activations) * len(self.rates)
        return variants * len(self.batch_sizes) * self.num_seeds

    def spec(self) -> dict[str, Any]:
        """Give the experiment spec; the last epoch counts, so nobody keeps weights for later."""
        return {
            "name": self.name,
            "data": dict(self.data),
            "objective": {"metric": "val/accuracy", "select": "last"},
            "defaults": {"epochs": self.epochs, "optimizer": "sgd", "momentum": MOMENTUM},
            "parameters": {
                "model": [MODELS[name] for name in self.models],
                "activation": list(self.activations),
                "lr": list(self.rates),
                "batch_size": list(self.batch_sizes),
            },
            "seeds": self.num_seeds,
            **({"execution": dict(self.execution)} if self.execution else {}),
        }

    def plan(self, data_root: Path) -> Plan:
        """Plan it as `trainyard plan` does in an empty home."""
        plan = make_plan(read_spec(self.spec()), data_root=data_root)
        assert len(plan.trials) == self.num_trials, "trainyard and the peers count differently"
        return plan

    def job(self, data: Path, *, num_processes: int, num_trials: int | None = None) -> Job:
        """Give what a peer is asked to do: all of it, or its first trials."""
        return Job(
            data=str(data),
            grid=self.grid,
            num_trials=self.num_trials if num_trials is None else num_trials,
            epochs=self.epochs,
            momentum=MOMENTUM,
            num_classes=10,
            channels_last=self.channels_last,
            num_processes=num_processes,
        )

    def describe(self) -> dict[str, Any]:
        """Say what is trained, for the results."""
        plain = {name: value for name, value in asdict(self).items() if name != "execution"}
        return plain | {"num_trials": self.num_trials}


def export(workload: Workload, *, data_root: Path, to: Path) -> DataConfig:
    """Prepare a workload's data for trainyard, and write the very same tensors for the peers."""
    config = workload.plan(data_root).trials[0].config.data
    staged = stage(config, root=data_root)
    layout = torch.channels_last if workload.channels_last else torch.contiguous_format
    parts = {"train": staged.train, "val": staged.val, "test": staged.test}
    torch.save({name: _tensors(part, staged, layout) for name, part in parts.items()}, to)
    return config


def _tensors(
    part: Split, staged: StagedData, layout: torch.memory_format
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give a split as a network takes it: images (N, C, H, W) float32, classes (N,) int64."""
    inputs, targets = part.gather(torch.arange(len(part)))
    return standardise(inputs, staged, layout=layout), targets.clone()
