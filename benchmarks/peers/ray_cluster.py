"""What the peers on Ray share: a Ray of their own, and a tuner over a list of trials."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray import tune

from benchmarks.peers.training import Finished


@contextmanager
def embedded_ray(num_cpus: int) -> Generator[None]:
    """Run a Ray without its dashboard, its files in a folder of its own."""
    # Its processes may still write there when they have been told to end.
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,  # a short path: it holds sockets
        )
        try:
            yield
        finally:
            ray.shutdown()


def train_all(
    trainable: Any, trials: Sequence[Any], folder: Path, *, reuse_actors: bool
) -> tune.ResultGrid:
    """Run a trainable once for each trial, on a core each, without checkpoints.

    Raises:
        RuntimeError: A trial failed.
    """
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"trial": tune.grid_search(list(trials))},
        tune_config=tune.TuneConfig(reuse_actors=reuse_actors),
        run_config=tune.RunConfig(
            storage_path=str(folder / "tune"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    grid = tuner.fit()
    if grid.num_errors:
        raise RuntimeError(f"{grid.num_errors} trials of Ray Tune failed: {grid.errors[0]}")
    return grid


def finished_of(grid: tune.ResultGrid) -> list[Finished]:
    """Read what the trials reported last."""
    names = Finished.__dataclass_fields__
    told = [grid[number].metrics or {} for number in range(len(grid))]
    return [Finished(**{name: metrics[name] for name in names}) for metrics in told]
