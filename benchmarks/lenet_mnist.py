"""LeNet-5 on MNIST, 24 trials of one epoch: `make bench BENCH=lenet_mnist`.

ReLU or tanh, three rates and four seeds, batches of 64, on all 60,000 images. TRAINYARD_DATA
names the folder with `MNIST/raw/*.gz`; left out, saying so, where it does not. REPEATS=1 for a
quick look: every run takes minutes.
"""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.contest import (
    OPTUNA,
    PLAIN_LOOP,
    PROCESS_POOL,
    RAY_TUNE_REUSED,
    contest,
    goals,
    run_ours,
)
from benchmarks.data import linked
from benchmarks.record import measured, write
from benchmarks.workloads import Workload
from orchestrator.machine import multiplies_bfloat16

WORKLOAD: Final = Workload(
    name="lenet-mnist",
    data={"name": "mnist"},
    models=["lenet5"],
    activations=["relu", "tanh"],
    rates=[0.02, 0.05, 0.1],
    batch_sizes=[64],
    num_seeds=4,
    epochs=1,
    channels_last=True,
)


def main() -> None:
    """Measure, print and keep."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        data = linked(folder / "data")
        if not (data / "MNIST" / "raw").is_dir():
            print("lenet_mnist is left out: TRAINYARD_DATA names no MNIST/raw", file=sys.stderr)
            return
        repeats = int(os.environ.get("REPEATS", "3"))
        found = contest(
            WORKLOAD,
            [PLAIN_LOOP, PROCESS_POOL, RAY_TUNE_REUSED, OPTUNA],
            repeats=repeats,
            data_root=data,
            folder=folder,
        )
        found["bfloat16"] = bfloat16(repeats=repeats, data_root=data, folder=folder)
    write("lenet_mnist", {**found, "goals": goals(found["contestants"], work=1.3)})


def bfloat16(*, repeats: int, data_root: Path, folder: Path) -> dict[str, Any]:
    """Give the work's seconds in float32, times those in bfloat16, run by run."""
    if not multiplies_bfloat16():
        return {"left_out": "this processor has no instructions for it"}
    rounded = replace(WORKLOAD, execution={"precision": "bfloat16"})
    ratios = []
    for repeat in range(repeats):
        exact, other = (
            run_ours(each, folder / f"home-{name}-{repeat}", data_root=data_root)
            for name, each in (("float32", WORKLOAD), ("bfloat16", rounded))
        )
        ratios.append(exact.work_seconds / other.work_seconds)
    return {"times_float32": measured(ratios)}


if __name__ == "__main__":
    main()
