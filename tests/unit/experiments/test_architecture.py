import itertools
import json
import pickle

import pytest

from experiments.architecture import Architecture
from experiments.errors import SpecError
from experiments.geometry import ShapeError
from experiments.layers import Activation, BatchNorm, Dropout, Flatten, Linear, Residual
from experiments.window_layers import AdaptiveAvgPool2d, AvgPool2d, Conv2d, MaxPool2d

EVERY_LAYER = Architecture(
    "every-layer",
    (3, 16, 12),
    (
        Conv2d(8, (3, 3), padding=(1, 1), bias=False),
        BatchNorm(),
        Activation("leaky_relu", 0.2),
        MaxPool2d((3, 3), stride=(2, 1), padding=(1, 1)),
        Residual(
            (Conv2d(16, (5, 3), padding="same", groups=2), Activation("linear"), BatchNorm()),
            (Residual((Conv2d(8, (1, 1)),)), Conv2d(16, (1, 1))),
        ),
        AvgPool2d((2, 2)),
        AdaptiveAvgPool2d((2, 3)),
        Flatten(),
        Dropout(0.25),
        Linear(7, bias=False),
        Activation("tanh"),
    ),
)


def test_trace_names_layers_as_torch_does() -> None:
    paths = [(row.path, row.depth) for row in EVERY_LAYER.trace()]
    assert paths[4:11] == [
        ("4.body.0", 1),
        ("4.body.1", 1),
        ("4.body.2", 1),
        ("4.shortcut.0.body.0", 2),
        ("4.shortcut.0", 1),
        ("4.shortcut.1", 1),
        ("4", 0),
    ]


def test_trace_hands_each_output_to_the_next_layer() -> None:
    rows = [row for row in EVERY_LAYER.trace() if row.depth == 0]
    assert rows[0].input_shape == EVERY_LAYER.input_shape
    for before, after in itertools.pairwise(rows):
        assert before.output_shape == after.input_shape
    assert rows[-1].output_shape == EVERY_LAYER.output_shape == (7,)


def test_rows_add_up_to_the_network() -> None:
    # Residual.measure sums its branches by a way of its own.
    shape, parameters, multiply_adds = EVERY_LAYER.input_shape, 0, 0
    for layer in EVERY_LAYER.layers:
        parameters += layer.parameters(shape)
        multiply_adds += layer.multiply_adds(shape)
        shape = layer.output_shape(shape)
    assert EVERY_LAYER.parameters == parameters
    assert EVERY_LAYER.multiply_adds == multiply_adds


def test_receptive_field_of_lenet_is_its_padded_input() -> None:
    layers = (Conv2d(6, (5, 5), padding=(2, 2)), AvgPool2d((2, 2)), Conv2d(16, (5, 5)))
    network = Architecture("lenet", (1, 28, 28), (*layers, AvgPool2d((2, 2)), Flatten(), Linear(9)))
    fields = [row.receptive_field for row in network.trace()]
    assert fields == [(5, 5), (6, 6), (14, 14), (16, 16), (32, 32), (32, 32)]
    assert network.receptive_field == (32, 32)


def test_receptive_field_of_a_block_is_that_of_its_wider_branch() -> None:
    wide = Conv2d(1, (5, 3), padding=(2, 1))
    network = Architecture("block", (1, 9, 9), (Residual((wide,)), Conv2d(1, (3, 3))))
    assert network.trace()[1].receptive_field == (5, 3)
    assert network.receptive_field == (7, 5)


def test_vector_input_has_no_receptive_field() -> None:
    network = Architecture("line", (4,), (Linear(1),))
    assert network.receptive_field is None
    assert network.trace()[0].lost_border == (0, 0)


def test_lost_border_is_told_for_each_layer() -> None:
    network = Architecture("lossy", (1, 7, 8), (Conv2d(1, (3, 3), stride=(3, 3)),))
    assert network.trace()[0].lost_border == (1, 2)


def test_misfit_names_network_layer_and_shapes() -> None:
    network = Architecture("tiny", (1, 8, 8), (MaxPool2d((2, 2)), Conv2d(6, (5, 5))))
    message = (
        r"tiny does not fit an input of 1x8x8: layer 1: "
        r"conv2d 6 5x5 needs an input of at least 5x5, got 1x4x4"
    )
    with pytest.raises(ShapeError, match=message):
        network.trace()


def test_misfit_inside_a_block_names_the_branch() -> None:
    block = Residual((Conv2d(1, (1, 1)), Residual((Linear(3),))))
    with pytest.raises(ShapeError, match=r"layer 0\.body\.1\.body\.0: linear 3 needs a vector"):
        Architecture("deep", (1, 8, 8), (block,)).trace()


def test_branches_that_cannot_be_added_name_their_block() -> None:
    with pytest.raises(ShapeError, match=r"layer 0: residual cannot add"):
        Architecture("odd", (1, 8, 8), (Residual((Conv2d(2, (1, 1)),)),)).trace()


def test_data_round_trips_through_json() -> None:
    data = json.loads(json.dumps(EVERY_LAYER.to_data()))
    again = Architecture.from_data(data)
    assert again == EVERY_LAYER
    assert again.to_data() == EVERY_LAYER.to_data()


def test_pickle_round_trips() -> None:
    assert pickle.loads(pickle.dumps(EVERY_LAYER)) == EVERY_LAYER


def test_equal_networks_have_equal_hashes() -> None:
    assert hash(Architecture.from_data(EVERY_LAYER.to_data())) == hash(EVERY_LAYER)


def test_data_that_leaves_a_layer_open_is_refused() -> None:
    data = {"name": "open", "input_shape": [4], "layers": ["activation"]}
    with pytest.raises(ValueError, match=r"open is not complete: HiddenActivation"):
        Architecture.from_data(data)


def test_data_with_an_unknown_layer_is_refused() -> None:
    data = {"name": "altered", "input_shape": [4], "layers": ["flaten"]}
    with pytest.raises(SpecError, match=r"architecture altered: layers\[0\]: unknown layer"):
        Architecture.from_data(data)
