from dataclasses import replace
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


def test_evaluating_many_examples_may_take_more_memory_than_training_on_a_few() -> None:
    parameters = CONV_PARAMETERS + LINEAR_PARAMETERS
    many = network().work(
        num_train=9000, num_val=900, num_test=5000, batch_size=1, epochs=1, optimizer="sgd"
    )
    assert many.memory_bytes == 4 * (3 * parameters + 1024 * 2 * CONV_OUTPUTS)


def test_bfloat16_takes_half_for_activations_and_has_copies_of_weights() -> None:
    parameters = CONV_PARAMETERS + LINEAR_PARAMETERS
    batch = 32 * (CONV_OUTPUTS + RELU_OUTPUTS + LINEAR_OUTPUTS + 2 * CONV_OUTPUTS)
    sizes = {"num_train": 100, "num_val": 10, "num_test": 7, "batch_size": 32, "epochs": 3}
    done = network().work(**sizes, optimizer="sgd", precision="bfloat16")
    assert done.memory_bytes == 4 * 3 * parameters + 2 * (parameters + batch)
    assert replace(done, memory_bytes=0) == replace(work(network()), memory_bytes=0)


def test_weights_that_are_never_learned_take_memory_once() -> None:
    data = {
        "name": "n",
        "input_shape": [8],
        "layers": [{"associative_units": 100}, {"linear": 1}],
    }
    fixed = Network.of(Architecture.from_data(data))
    assert fixed.fixed_numbers >= 8 * 100
    weights = fixed.fixed_numbers + 3 * fixed.parameters
    assert work(fixed).memory_bytes == 4 * (weights + 32 * (101 + 2 * 100))


def test_every_optimizer_is_known_by_what_it_keeps() -> None:
    assert set(OPTIMIZER_STATES) == set(OPTIMIZERS)


TORCHVISION = {"name": "resnet18", "num_outputs": 4, "num_parameters": 9, "num_multiply_adds": 9}
MEASURED = {"torchvision": TORCHVISION | {"num_activations": 9}}
SINGLE = {"torchvision": MEASURED["torchvision"] | {"norms_single_values": True}}


def patches(size: int, *layers: Any) -> dict[str, Any]:
    return {"patches": {"size": size, "layers": [*layers]}}


@pytest.mark.parametrize(
    ("layers", "num_frozen", "path"),
    [
        (["batch_norm"], 0, None),
        (["flatten", "batch_norm", "batch_norm"], 0, "1"),
        (["flatten", "batch_norm", "batch_norm"], 2, "2"),
        (["flatten", "batch_norm", "relu"], 2, None),
        ([{"adaptive_avg_pool2d": 1}, {"residual": {"body": ["batch_norm"]}}], 0, "1.body.0"),
        ([patches(1, "batch_norm")], 0, None),  # 4x4 patches of one pixel
        ([patches(4, "flatten", {"linear": 2}, "batch_norm")], 0, "0.layers.2"),  # one patch
        ([patches(3, patches(3, "flatten", {"linear": 2}, "batch_norm"))], 0, None),
        ([patches(4, patches(4, "flatten", "batch_norm"))], 0, "0.layers.0.layers.1"),
        ([MEASURED], 0, None),
        ([SINGLE], 0, "0"),
        ([SINGLE], 1, None),
    ],
)
def test_the_first_trained_batch_norm_that_one_image_cannot_feed_is_named(
    layers: list[Any], num_frozen: int, path: str | None
) -> None:
    architecture = Architecture.from_data({"name": "n", "input_shape": [1, 4, 4], "layers": layers})
    init = InitConfig("t", "0" * 64, "p", len(layers), num_frozen)
    assert Network.of(architecture, init).needs_two == path


def test_what_was_measured_of_a_network_is_no_part_of_its_identity() -> None:
    def identity(**changes: Any) -> str:
        layer = {"torchvision": MEASURED["torchvision"] | changes}
        data = {"name": "n", "input_shape": [1, 4, 4], "layers": [layer]}
        return Network.of(Architecture.from_data(data)).digest

    assert identity(num_multiply_adds=10, norms_single_values=True) == identity()
    assert identity(weights="IMAGENET1K_V1") != identity()
    assert identity(num_outputs=5) != identity()
