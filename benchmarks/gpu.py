"""What the measurements on a GPU share: made-up data, the GPU's name, and their way to end early.

They need torch, numpy and this repository, and no more: a machine with a GPU may have just that.
"""

from typing import Any, Final

import torch

from experiments.architectures import zoo
from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape
from experiments.events import Event, TrialFailed, TrialSucceeded
from experiments.records import (
    DataConfig,
    Objective,
    OptimizerConfig,
    ScheduleConfig,
    TrialConfig,
)
from workers.datasets.staged import Split, StagedData, channel_statistics

NO_GPU: Final = "no GPU: torch finds none here; nothing was measured, and nothing is written"
DIGEST: Final = "0" * 64
_NUM_CLASSES: Final = 10


class Ends:
    """A reporter that keeps how trials ended, and lets all go on."""

    def __init__(self) -> None:
        self.succeeded: dict[str, TrialSucceeded] = {}

    def report(self, event: Event) -> None:
        """Keep a success.

        Raises:
            RuntimeError: A trial failed: there is nothing to measure then.
        """
        if isinstance(event, TrialFailed):
            raise RuntimeError(f"{event.trial_id}: {event.failure.message}")
        if isinstance(event, TrialSucceeded):
            self.succeeded[event.trial_id] = event

    def stop_requested(self, trial_id: str) -> bool:
        """Let all go on."""
        assert trial_id
        return False


def images(shape: Shape, *, num_train: int, num_test: int) -> StagedData:
    """Make images (C, H, W) that can be learned: each is its class's picture, under much noise.

    They are drawn from one seed, so every process makes the same. A tenth of `num_train` more
    are there to validate on.
    """
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(64, 192, (_NUM_CLASSES, *shape), generator=generator)
    num_val = max(1, num_train // 10)
    files = []
    for count in (num_train + num_val, num_test):
        labels = torch.randint(_NUM_CLASSES, (count,), generator=generator)
        noise = torch.randint(-64, 64, (count, *shape), generator=generator, dtype=torch.int16)
        files.append(((pictures[labels] + noise).to(torch.uint8), labels))
    (inputs, targets), (test_inputs, test_targets) = files
    order = torch.randperm(len(inputs), generator=generator)
    train = order[:num_train].sort().values
    mean, std = channel_statistics(inputs.numpy(), train.numpy())
    return StagedData(
        name="pictures under noise",
        digest=DIGEST,
        input_shape=shape,
        class_names=tuple(map(str, range(_NUM_CLASSES))),
        train=Split(inputs, targets, train),
        val=Split(inputs, targets, order[num_train:].sort().values),
        test=Split(test_inputs, test_targets, torch.arange(num_test)),
        mean=mean,
        std=std,
    )


def network(name: str, shape: Shape, *, activation: str = "relu", **options: Any) -> Architecture:
    """Build one of our named networks for ten classes."""
    return zoo.build(
        zoo.ModelChoice(name, options),
        input_shape=shape,
        output_shape=(_NUM_CLASSES,),
        activation=activation,
    )


def trial(
    architecture: Architecture,
    *,
    lr: float,
    batch_size: int,
    seed: int = 0,
    epochs: int = 1,
    precision: str = "float32",
) -> TrialConfig:
    """Make a trial on `images`."""
    return TrialConfig(
        task="classification",
        architecture=architecture,
        data=DataConfig("pictures under noise", DIGEST),
        loss="cross_entropy",
        optimizer=OptimizerConfig("sgd", lr, momentum=0.9),
        schedule=ScheduleConfig(),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        objective=Objective(),
        precision=precision,
    )


def described(device: torch.device) -> dict[str, Any]:
    """Name a GPU, with its memory and what drives it; of a CPU there is nothing to say."""
    if device.type != "cuda":
        return {"name": device.type}
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }
