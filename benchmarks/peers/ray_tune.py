"""Ray Tune, as shipped: a function a trial, and a process for each of them.

Its reports are one an epoch, and it keeps what it keeps by default. `ray_tune_reused.py` is the
same with actors that live on.
"""

from typing import Any

from ray import tune

from benchmarks.peers.ray_cluster import embedded_ray, finished_of, train_all
from benchmarks.peers.training import Job, Training, prepare, read_job, write_result


def main() -> None:
    """Train them all."""
    job, result = read_job()
    with embedded_ray(job.num_processes):
        tuner = tune.with_parameters(trainable, job=job)
        grid = train_all(tuner, job.trials(), result.parent, reuse_actors=False)
        write_result(result, finished_of(grid))


def trainable(config: dict[str, Any], job: Job) -> None:
    """Train one trial, reporting every epoch."""
    prepare(job.data, num_threads=1)
    training = Training(job, config["trial"])
    for epoch in range(1, job.epochs + 1):
        report: dict[str, Any] = {"val_accuracy": training.epoch()}
        if epoch == job.epochs:
            finished = training.finish()
            report |= {name: getattr(finished, name) for name in finished.__dataclass_fields__}
        tune.report(report)


if __name__ == "__main__":
    main()
