"""ResNet-18 and VGG-11 at a quarter of their width: `make bench BENCH=resnet_cifar`.

Four trials of 180 steps on 32x32 pixels: CIFAR-10 where TRAINYARD_DATA has its archive, else
random images of that shape, on which the accuracy says nothing. REPEATS=1 for a quick look.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.contest import PLAIN_LOOP, PROCESS_POOL, RAY_TUNE_REUSED, contest, goals
from benchmarks.data import linked
from benchmarks.record import write
from benchmarks.workloads import Workload

FAKE: Final = {"name": "fake", "image_shape": [3, 32, 32], "classes": 10, "examples": 6400}

WORKLOAD: Final = Workload(
    name="resnet-cifar",
    data={"name": "cifar10", "limit": 6400},
    models=["resnet18", "vgg11"],
    activations=["relu"],
    rates=[0.01, 0.02],
    batch_sizes=[64],
    num_seeds=1,
    epochs=2,
    channels_last=True,
)


def main() -> None:
    """Measure, print and keep."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        data = linked(folder / "data")
        workload = WORKLOAD if has_cifar(data) else replace(WORKLOAD, data=FAKE)
        found = contest(
            workload,
            [PLAIN_LOOP, PROCESS_POOL, RAY_TUNE_REUSED],
            repeats=int(os.environ.get("REPEATS", "3")),
            data_root=data,
            folder=folder,
        )
    write("resnet_cifar", {**found, "goals": goals(found["contestants"], work=1.0)})


def has_cifar(data: Path) -> bool:
    """Say whether CIFAR-10 is there as it is published, packed or not."""
    return any((data / name).exists() for name in ("cifar-10-python.tar.gz", "cifar-10-batches-py"))


if __name__ == "__main__":
    main()
