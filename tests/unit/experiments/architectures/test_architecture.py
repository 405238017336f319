import itertools
import json
import pickle

import pytest

from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import ShapeError
from experiments.architectures.joins import Add, Concat, From, Tap
from experiments.architectures.layers import (
    Activation,
    BatchNorm,
    Dropout,
    Flatten,
    Layer,
    Linear,
    Reshape,
)
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.architectures.unit_layers import AssociativeUnits, Maxout
from experiments.architectures.upsampling_layers import ConvTranspose2d, Upsample
from experiments.architectures.window_layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    LocallyConnected2d,
    MaxPool2d,
)
from experiments.errors import SpecError

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

# A small FCN: scores of the whole map and of an earlier, finer one.
GRAPH = Architecture(
    "graph",
    (3, 32, 32),
    (
        Conv2d(8, (3, 3), padding=(1, 1)),
        MaxPool2d((2, 2)),
        Tap("fine"),
        Conv2d(16, (3, 3), padding=(1, 1)),
        MaxPool2d((4, 4)),
        Conv2d(5, (1, 1)),
        ConvTranspose2d(5, (8, 8), (4, 4), (2, 2), bias=False, init="bilinear"),
        Tap("coarse"),
        From("fine"),
        Conv2d(5, (1, 1)),
        Add(("coarse",)),
        Upsample((2, 2), "bilinear"),
    ),
)
PATCHES = Architecture(
    "patches",
    (3, 16, 12),
    (
        Conv2d(4, (3, 3), padding=(1, 1)),
        Patches(
            (5, 5),
            (2, 1),
            (
                LocallyConnected2d(6, (3, 3), bias=False),
                Residual((BatchNorm(),)),
                Flatten(),
                Maxout(7, 3),
                Activation("softmax"),
            ),
        ),
        Flatten(),
        AssociativeUnits(24),
        Activation("step"),
        Reshape((2, 3, 4)),
    ),
)
NETWORKS = pytest.mark.parametrize(
    "network", [EVERY_LAYER, GRAPH, PATCHES], ids=lambda network: network.name
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


@NETWORKS
def test_trace_hands_each_output_to_the_next_layer(network: Architecture) -> None:
    rows = [row for row in network.trace() if row.depth == 0]
    assert rows[0].input_shape == network.input_shape
    for before, after in itertools.pairwise(rows):
        assert before.output_shape == after.input_shape
    assert rows[-1].output_shape == network.output_shape


@pytest.mark.parametrize("network", [EVERY_LAYER, PATCHES], ids=["every-layer", "patches"])
def test_rows_add_up_to_the_network(network: Architecture) -> None:
    # A block's own `measure` sums up its layers by another way.
    shape, parameters, multiply_adds, activation_bytes = network.input_shape, 0, 0, 0
    for layer in network.layers:
        measure = layer.measure(shape)
        parameters += measure.parameters
        multiply_adds += measure.multiply_adds
        activation_bytes += measure.activation_bytes
        shape = measure.output_shape
    assert network.parameters == parameters
    assert network.multiply_adds == multiply_adds
    assert network.activation_bytes == activation_bytes


def test_graph_is_followed_to_its_taps_and_joined() -> None:
    rows = {row.path: row for row in GRAPH.trace()}
    assert rows["8"].input_shape == (5, 16, 16)
    assert rows["8"].output_shape == rows["2"].output_shape == (8, 16, 16)
    assert rows["10"].text == "add coarse"
    assert GRAPH.output_shape == (5, 32, 32)
    learned = 3 * 9 * 8 + 8 + 8 * 9 * 16 + 16 + 16 * 5 + 5 + 5 * 5 * 64 + 8 * 5 + 5
    assert GRAPH.parameters == learned


def test_taps_hold_no_memory_of_their_own() -> None:
    rows = {row.path: row for row in GRAPH.trace()}
    assert [rows[path].activation_bytes for path in ("2", "7", "8", "10")] == [0, 0, 0, 4 * 1280]


def test_join_sees_what_any_of_its_signals_sees() -> None:
    fields = {row.path: row.receptive_field for row in GRAPH.trace()}
    # 3x3, pooled by 2: 4 pixels, 2 apart; 3x3: 8; pooled by 4: 14, 8 apart; two of those: 22.
    assert (fields["2"], fields["4"], fields["6"]) == ((4, 4), (14, 14), (22, 22))
    assert (fields["8"], fields["9"], fields["10"]) == ((4, 4), (4, 4), (22, 22))
    # Two neighbours of the sum may see three of the scores that were upsampled by 4.
    assert fields["11"] == (30, 30)


def test_rows_inside_patches_are_of_one_patch_and_count_for_all() -> None:
    rows = {row.path: row for row in PATCHES.trace()}
    places = 6 * 8
    local = rows["1.layers.0"]
    assert (local.input_shape, local.output_shape) == ((4, 5, 5), (6, 3, 3))
    assert local.parameters == 6 * 9 * 4 * 9
    assert local.multiply_adds == places * local.parameters
    assert local.activation_bytes == places * 4 * (54 + 9 * 36)
    assert [row.depth for row in rows.values()][1:4] == [1, 2, 1]
    assert (rows["1"].parameters, rows["1"].output_shape) == (0, (7, 6, 8))
    # The layer before has seen a border of one pixel more; a patch is seen whole.
    assert (local.receptive_field, rows["1"].receptive_field) == ((5, 5), (7, 7))
    assert rows["1"].lost_border == (1, 0)


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


def test_joins_that_do_not_fit_name_taps_and_shapes() -> None:
    layers = (Tap("a"), MaxPool2d((2, 2)), Concat(("a",)))
    message = (
        r"layer 2: concat needs images of one size, or vectors, got 1x4x4 at its place, "
        r"1x8x8 at the tap a"
    )
    with pytest.raises(ShapeError, match=message):
        Architecture("odd", (1, 8, 8), layers).trace()


def test_unknown_tap_names_the_layer() -> None:
    with pytest.raises(ShapeError, match=r"layer 1: there is no tap 'b' before it"):
        Architecture("lost", (1, 8, 8), (Flatten(), Add(("b",)))).trace()


def test_tap_inside_a_block_names_the_branch() -> None:
    with pytest.raises(ShapeError, match=r"layer 0\.body\.0: tap a stands inside a block"):
        Architecture("deep", (1, 8, 8), (Residual((Tap("a"),)),)).trace()


@pytest.mark.parametrize(
    ("layers", "path"),
    [
        ((Flatten(), Conv2d(2, (3, 3))), "1"),
        ((Residual((Flatten(), Conv2d(2, (3, 3)))),), "0.body.1"),
        ((Residual((Conv2d(2, (3, 3)),)),), "0"),
        ((Flatten(), Patches((2, 2), (1, 1), (Flatten(),))), "1"),
        ((Patches((2, 2), (1, 1), (Conv2d(2, (3, 3)),)),), "0.layers.0"),
        ((Flatten(), Add(("b",))), "1"),
    ],
    ids=str,
)
def test_misfit_knows_its_place(layers: tuple[Layer, ...], path: str) -> None:
    with pytest.raises(ShapeError) as caught:
        Architecture("misfit", (1, 8, 8), layers).trace()
    assert caught.value.path == path
    assert pickle.loads(pickle.dumps(caught.value)).path == path


@NETWORKS
def test_data_round_trips_through_json(network: Architecture) -> None:
    data = json.loads(json.dumps(network.to_data()))
    again = Architecture.from_data(data)
    assert again == network
    assert hash(again) == hash(network)
    assert again.to_data() == network.to_data()


def test_measured_layer_round_trips_though_no_spec_may_write_it() -> None:
    network = Architecture("tv", (3, 64, 64), (TorchvisionNetwork("resnet18", 7, 11, 12, 13),))
    assert Architecture.from_data(network.to_data()) == network


@NETWORKS
def test_pickle_round_trips(network: Architecture) -> None:
    assert pickle.loads(pickle.dumps(network)) == network


def test_data_that_leaves_a_layer_open_is_refused() -> None:
    data = {"name": "open", "input_shape": [4], "layers": ["activation"]}
    with pytest.raises(ValueError, match=r"open is not complete: HiddenActivation"):
        Architecture.from_data(data)


def test_data_with_an_unknown_layer_is_refused() -> None:
    data = {"name": "altered", "input_shape": [4], "layers": ["flaten"]}
    with pytest.raises(SpecError, match=r"architecture altered: layers\[0\]: unknown layer"):
        Architecture.from_data(data)
