from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import digits_grid, lenet_mnist, metrics, noop, queue, resnet_cifar
from benchmarks.peers.training import Job, train
from benchmarks.workloads import Workload, export

ALL = [digits_grid.WORKLOAD, lenet_mnist.WORKLOAD, resnet_cifar.WORKLOAD, metrics.GRID]
ALL += [noop.grid(2000), queue.grid(3000)]


def tiny() -> Workload:
    return replace(
        digits_grid.WORKLOAD,
        data={"name": "digits", "limit": 500},
        rates=[0.05],
        batch_sizes=[32],
        num_seeds=1,
        epochs=2,
    )


def prepared(folder: Path) -> Job:
    export(tiny(), data_root=folder / "data", to=folder / "data.pt")
    return tiny().job(folder / "data.pt", num_processes=1)


@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.name)
def test_peers_are_asked_for_the_trials_that_trainyard_plans(workload: Workload) -> None:
    plan = workload.plan(Path())

    planned = [
        (config.optimizer.lr, config.batch_size, config.seed, config.epochs, config.optimizer.name)
        for config in (trial.config for trial in plan.trials)
    ]
    job = workload.job(Path("data.pt"), num_processes=2)
    asked = [
        (point["lr"], point["batch_size"], point["seed"], job.epochs, "sgd")
        for point in job.trials()
    ]

    assert sorted(planned) == sorted(asked)
    assert {trial.config.optimizer.momentum for trial in plan.trials} == {job.momentum}
    assert {trial.config.optimizer.weight_decay for trial in plan.trials} == {0.0}
    assert {trial.config.schedule.name for trial in plan.trials} == {"constant"}
    assert {trial.config.objective.select for trial in plan.trials} == {"last"}


def test_digits_grid_is_the_grid_that_was_agreed_on() -> None:
    assert digits_grid.WORKLOAD.num_trials == 64
    assert lenet_mnist.WORKLOAD.num_trials == 24


def test_peer_that_runs_fewer_trials_takes_the_first_of_the_grid() -> None:
    whole = digits_grid.WORKLOAD.job(Path("data.pt"), num_processes=2)
    some = digits_grid.WORKLOAD.job(Path("data.pt"), num_processes=2, num_trials=8)

    assert some.trials() == whole.trials()[:8]


def test_peers_are_given_the_splits_that_trainyard_trains_on(tmp_path: Path) -> None:
    data = torch.load(prepared(tmp_path).data, weights_only=True)

    plan = tiny().plan(tmp_path / "data")
    assert len(data["train"][1]) == plan.num_train
    assert len(data["val"][1]) == plan.num_val
    assert len(data["test"][1]) == plan.data.num_test
    images = data["train"][0]
    torch.testing.assert_close(images.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std(), torch.tensor(1.0), atol=1e-3, rtol=0)


def test_peers_learn(tmp_path: Path) -> None:
    job = prepared(tmp_path)
    longer = replace(job, epochs=8)

    assert train(longer, job.trials()[0]).test_accuracy > 0.8


def test_peers_trial_is_the_same_every_time(tmp_path: Path) -> None:
    job = prepared(tmp_path)

    first, second = (train(job, job.trials()[0]).test_accuracy for _ in range(2))

    assert first == second
