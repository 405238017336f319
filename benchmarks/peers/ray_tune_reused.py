"""Ray Tune as its manual tunes it for short trials: `reuse_actors=True`, no loggers."""

import os
from typing import Any

from ray import tune

from benchmarks.peers.ray_cluster import embedded_ray, finished_of, train_all
from benchmarks.peers.training import Job, Training, prepare, read_job, write_result


def main() -> None:
    """Train them all."""
    job, result = read_job()
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    with embedded_ray(job.num_processes):
        trainable = tune.with_parameters(ReusedTrainable, job=job)
        grid = train_all(trainable, job.trials(), result.parent, reuse_actors=True)
        write_result(result, finished_of(grid))


class ReusedTrainable(tune.Trainable):
    """Trains one trial after the other; a step is an epoch."""

    def setup(self, config: dict[str, Any], job: Job | None = None) -> None:
        """Begin the actor's first trial."""
        assert job is not None
        prepare(job.data, num_threads=1)
        self._job = job
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial."""
        self._training = Training(self._job, new_config["trial"])
        return True

    def step(self) -> dict[str, Any]:
        """Train an epoch; the last one's report has the test split's accuracy."""
        report: dict[str, Any] = {"val_accuracy": self._training.epoch()}
        if self.iteration + 1 == self._job.epochs:
            finished = self._training.finish()
            report |= {name: getattr(finished, name) for name in finished.__dataclass_fields__}
            report["done"] = True
        return report


if __name__ == "__main__":
    main()
