"""Optuna's way to use several cores: processes that share a study in SQLite.

The grid sampler of two processes may choose the same point twice at the end; what was trained
twice counts, as it does for Optuna's users.
"""

import math
import multiprocessing

import optuna

from benchmarks.peers.training import Finished, Job, prepare, read_job, train, write_result

STUDY = "grid"


def main() -> None:
    """Train them all."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    job, result = read_job()
    assert job.num_trials == math.prod(map(len, job.grid.values())), "it takes whole grids"
    prepare(job.data, num_threads=1)  # shared by the processes to come
    storage = f"sqlite:///{result.with_suffix('.db')}"
    optuna.create_study(study_name=STUDY, storage=storage, direction="maximize")
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=optimize, args=(job, storage)) for _ in range(job.num_processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0, "a process of the study failed"
    study = optuna.load_study(study_name=STUDY, storage=storage)
    write_result(result, [finished_of(trial) for trial in study.trials])


def optimize(job: Job, storage: str) -> None:
    """Train what is left of the grid, beside the other processes."""

    def objective(trial: optuna.Trial) -> float:
        params = {
            name: trial.suggest_categorical(name, values) for name, values in job.grid.items()
        }
        finished = train(job, params)
        trial.set_user_attr("started_at", finished.started_at)
        trial.set_user_attr("ended_at", finished.ended_at)
        return finished.test_accuracy

    sampler = optuna.samplers.GridSampler(dict(job.grid))
    study = optuna.load_study(study_name=STUDY, storage=storage, sampler=sampler)
    study.optimize(objective)


def finished_of(trial: optuna.trial.FrozenTrial) -> Finished:
    """Read what a trial of the study came to."""
    assert trial.value is not None
    return Finished(trial.value, trial.user_attrs["started_at"], trial.user_attrs["ended_at"])


if __name__ == "__main__":
    main()
