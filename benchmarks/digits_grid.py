"""64 small networks on digits, against every peer: `make bench BENCH=digits_grid`.

The `small` network with ReLU or tanh, four rates, two batch sizes and four seeds, five epochs
each. REPEATS=5 for more runs. Ray Tune as shipped trains 8 of the 64 and is scaled up;
FULL=1 has it train all, which takes a quarter of an hour.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.contest import (
    OPTUNA,
    PLAIN_LOOP,
    PROCESS_POOL,
    RAY_TUNE_REUSED,
    contest,
    goals,
    ray_tune,
)
from benchmarks.record import write
from benchmarks.workloads import Workload

WORKLOAD: Final = Workload(
    name="digits-grid",
    data={"name": "digits"},
    models=["small"],
    activations=["relu", "tanh"],
    rates=[0.01, 0.02, 0.05, 0.1],
    batch_sizes=[32, 64],
    num_seeds=4,
    epochs=5,
)


def main() -> None:
    """Measure, print and keep."""
    shipped = ray_tune(only=None if os.environ.get("FULL") == "1" else 8)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        found = contest(
            WORKLOAD,
            [PLAIN_LOOP, PROCESS_POOL, RAY_TUNE_REUSED, OPTUNA, shipped],
            repeats=int(os.environ.get("REPEATS", "3")),
            data_root=folder / "data",
            folder=folder,
        )
    wanted = goals(found["contestants"], work=2.0, whole=1.3, shipped=25.0, idle=0.03)
    write("digits_grid", {**found, "goals": wanted})


if __name__ == "__main__":
    main()
