"""The engine against problems whose solution is known: by closed form, by rule, by others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from experiments.records import DataConfig, OptimizerConfig, TrialConfig
from workers.batches import standardise
from workers.datasets.staged import StagedData
from workers.learner import Learner, draw_order

MakeConfig = Callable[..., TrialConfig]
Stage = Callable[..., tuple[DataConfig, StagedData]]
CPU = torch.device("cpu")


def trained(config: TrialConfig, data: StagedData) -> Learner:
    """Train a network to its last epoch."""
    learner = Learner(config, data, device=CPU)
    for epoch in range(1, config.epochs + 1):
        learner.train_epoch(epoch, before_step=lambda _: None)
    return learner


def last_layer(learner: Learner) -> NDArray[np.float64]:
    """Give the weights of the last layer's first output, and its bias."""
    *_, weight, bias = learner.copy_weights().values()
    return np.array([*weight[0].tolist(), bias[0].item()])


def training_split(data: StagedData) -> tuple[Tensor, Tensor]:
    """Give the training split as the network sees it, and its targets."""
    inputs, targets = data.train.gather(torch.arange(len(data.train)))
    return standardise(inputs, data).flatten(1), targets


def test_logistic_regression_finds_the_weights_of_scikit_learn(
    stage_set: Stage, make_task_config: MakeConfig
) -> None:
    data_config, data = stage_set("too_hot")
    config = make_task_config(
        "binary",
        data_config,
        (1,),
        layers=[{"linear": 1}],
        optimizer=OptimizerConfig("sgd", 2.0, momentum=0.9),
        epochs=300,
        batch_size=len(data.train),
    )
    inputs, targets = training_split(data)
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(inputs.numpy(), targets.numpy())
    expected = [*reference.coef_[0], reference.intercept_[0]]
    found = last_layer(trained(config, data))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_linear_regression_finds_the_least_squares(
    stage_set: Stage, make_task_config: MakeConfig
) -> None:
    data_config, data = stage_set("sunshine")
    config = make_task_config(
        "regression",
        data_config,
        (1,),
        layers=[{"linear": 1}],
        optimizer=OptimizerConfig("sgd", 0.1, momentum=0.5),
        epochs=150,
        batch_size=len(data.train),
    )
    inputs, targets = training_split(data)
    table = np.hstack([inputs.double().numpy(), np.ones((len(inputs), 1))])
    expected = np.linalg.lstsq(table, targets.double().numpy()[:, 0], rcond=None)[0]
    np.testing.assert_allclose(last_layer(trained(config, data)), expected, rtol=0, atol=1e-4)


@pytest.fixture
def make_perceptron(
    stage_set: Stage, make_task_config: MakeConfig
) -> Callable[..., tuple[TrialConfig, StagedData]]:
    """Make a sign unit behind the given layers, for separable images, one at a time."""

    def make(*before: Any) -> tuple[TrialConfig, StagedData]:
        data_config, data = stage_set("separable", examples=120)
        config = make_task_config(
            "binary",
            data_config,
            (1, 20, 20),
            layers=["flatten", *before, {"linear": 1}],
            loss="perceptron",
            optimizer=OptimizerConfig("sgd", 0.1, momentum=0.0),
            epochs=20,
            batch_size=1,
        )
        return config, data

    return make


def test_sgd_on_the_perceptron_loss_is_rosenblatts_rule(
    make_perceptron: Callable[..., tuple[TrialConfig, StagedData]],
) -> None:
    config, data = make_perceptron()
    learner = Learner(config, data, device=CPU)
    weights = last_layer(learner)
    images, classes = training_split(data)
    found = list[NDArray[np.float64]]()
    learner.train_epoch(1, before_step=lambda _: found.append(last_layer(learner)))
    num_wrong = 0
    for step, place in enumerate(draw_order(config, 1, len(data.train)).tolist()):
        np.testing.assert_allclose(found[step], weights, rtol=0, atol=1e-4)
        x, t = np.array([*images[place].tolist(), 1.0]), 2 * classes[place].item() - 1
        if t * (weights @ x) <= 0:  # a wrong answer: the weights move by lr t x
            weights = weights + 0.1 * t * x
            num_wrong += 1
    assert 10 < num_wrong < len(images)


# systems.md: Rosenblatt's perceptron learns its response unit alone, on fixed random units.
@pytest.mark.parametrize("before", [[], [{"associative_units": 512}]], ids=["sensors", "units"])
def test_the_perceptron_separates_what_can_be_separated(
    make_perceptron: Callable[..., tuple[TrialConfig, StagedData]], before: list[Any]
) -> None:
    config, data = make_perceptron(*before)
    fixed = Learner(config, data, device=CPU).module.state_dict() if before else {}
    learner = trained(config, data)
    images, classes = training_split(learner.data)
    with torch.no_grad():
        answers = learner.module(images.view(-1, 1, 20, 20))[:, 0] > 0
    assert (answers != (classes == 1)).sum().item() == 0
    if before:
        assert torch.equal(learner.module.state_dict()["1.weight"], fixed["1.weight"])
        assert [name for name, _ in learner.module.named_parameters()] == ["2.weight", "2.bias"]
