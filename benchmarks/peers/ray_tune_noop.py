"""Ray Tune with reused actors and trials that only report one number."""

from typing import Any

from ray import tune

from benchmarks.peers.ray_cluster import embedded_ray, finished_of, train_all
from benchmarks.peers.training import Finished, noop, read_job, write_result


def main() -> None:
    """Run as many trials as the job says."""
    job, result = read_job()
    with embedded_ray(job.num_processes):
        numbers = range(job.num_trials)
        grid = train_all(Noop, numbers, result.parent, reuse_actors=True)
        write_result(result, finished_of(grid))


class Noop(tune.Trainable):
    """Says one number and is done."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trial on."""
        del new_config
        return True

    def step(self) -> dict[str, Any]:
        """Report."""
        finished = noop()
        report = {name: getattr(finished, name) for name in Finished.__dataclass_fields__}
        return report | {"done": True}


if __name__ == "__main__":
    main()
