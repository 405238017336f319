from typing import Any

import pytest

from experiments.architectures.architecture import Architecture
from experiments.descent import OPTIMIZERS
from experiments.planning.cost import Work
from experiments.planning.workload import OPTIMIZER_STATES, Network
from experiments.records import InitConfig

LAYERS: list[Any] = [
    {"conv2d": {"out_channels": 2, "kernel_size": 3}},
    "relu",
    "flatten",
    {"linear": 5},
]
CONV_PARAMETERS, LINEAR_PARAMETERS = 2 * (9 + 1), 5 * (8 + 1)
CONV_PRODUCTS, LINEAR_PRODUCTS = 2 * 9 * 4, 8 * 5
# 4x4 pixels in; 2x2x2 after the convolution, and after relu; flatten is a view; 5 outputs.
INPUT, CONV_OUTPUTS, RELU_OUTPUTS, LINEAR_OUTPUTS = 16, 8, 8, 5


def network(*, num_frozen: int = 0) -> Network:
    data = {"name": "n", "input_shape": [1, 4, 4], "layers": LAYERS}
    init = InitConfig("t", "0" * 64, "p", 2, num_frozen) if num_frozen else None
    return Network.of(Architecture.from_data(data), init)


def work(network: Network, *, optimizer: str = "sgd") -> Work:
    return network.work(
        num_train=100, num_val=10, num_test=7, batch_size=32, epochs=3, optimizer=optimizer
    )


def test_a_trials_work_is_counted_from_its_first_step_to_its_test_score() -> None:
    trained, evaluated = 3 * 100, 3 * 10 + 7
    passes = 3 * trained + evaluated  # forward; and backward, which counts twice
    done = work(network())
    assert (done.epochs, done.steps) == (3, 3 * 4)
    assert done.layer_runs == 12 * 3 * 4
    assert done.multiply_adds == passes * (CONV_PRODUCTS + LINEAR_PRODUCTS)
    outputs = CONV_OUTPUTS + RELU_OUTPUTS + LINEAR_OUTPUTS
    assert done.elements == passes * outputs + (trained + evaluated) * INPUT
    assert done.updated_parameters == 12 * (CONV_PARAMETERS + LINEAR_PARAMETERS)


def test_frozen_layers_have_a_forward_pass_only() -> None:
    done = work(network(num_frozen=2))
    trained, evaluated = 3 * 100, 3 * 10 + 7
    assert done.layer_runs == 12 * (4 + 2 * 2)
    assert done.multiply_adds == (
        (trained + evaluated) * CONV_PRODUCTS + (3 * trained + evaluated) * LINEAR_PRODUCTS
    )
    assert done.updated_parameters == 12 * LINEAR_PARAMETERS


def test_memory_holds_weights_their_training_and_a_batch_of_activations() -> None:
    parameters = CONV_PARAMETERS + LINEAR_PARAMETERS
    batch = 32 * (CONV_OUTPUTS + RELU_OUTPUTS + LINEAR_OUTPUTS + 2 * CONV_OUTPUTS)
    assert work(network()).memory_bytes == 4 * (3 * parameters + batch)
    assert work(network(), optimizer="adam").memory_bytes == 4 * (4 * parameters + batch)
    frozen = parameters + 2 * LINEAR_PARAMETERS + 32 * (LINEAR_OUTPUTS + 2 * CONV_OUTPUTS)
    assert work(network(num_frozen=2)).memory_bytes == 4 * frozen


def test_every_optimizer_is_known_by_what_it_keeps() -> None:
    assert set(OPTIMIZER_STATES) == set(OPTIMIZERS)


@pytest.mark.parametrize(("size", "path"), [(1, "1"), (2, None)])
def test_the_first_batch_norm_that_one_image_cannot_feed_is_named(
    size: int, path: str | None
) -> None:
    layers = ["relu", "batch_norm", "batch_norm"]
    data = {"name": "n", "input_shape": [3, size, size], "layers": layers}
    assert Network.of(Architecture.from_data(data)).needs_two == path
