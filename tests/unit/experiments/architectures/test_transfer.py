"""What `init:` may say, and what becomes of two networks."""

from typing import Any

import pytest

from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape, ShapeError
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.architectures.transfer import (
    InitChoice,
    InitKind,
    SourceNetwork,
    extend,
    input_fault,
)
from experiments.errors import SpecError
from experiments.language.kinds import Faults
from experiments.language.source import from_values

LAYERS: list[Any] = [
    {"conv2d": {"out_channels": 4, "kernel_size": 3}},
    "relu",
    "flatten",
    {"linear": 6},
    "relu",
    {"linear": 8},
]
SOURCE = SourceNetwork(
    "abc-0001",
    Architecture.from_data({"name": "small", "input_shape": [1, 8, 8], "layers": LAYERS}),
    sha256="0" * 64,
    path="/somewhere/best-0003.pt",
)


def head(shape: Shape) -> Architecture:
    data = {"name": "head", "input_shape": shape, "layers": ["flatten", {"linear": 1}]}
    return Architecture.from_data(data)


def read(value: Any) -> Any:
    faults = Faults("spec")
    choice = InitKind().read(from_values(value), "defaults.init", faults)
    faults.raise_any()
    return choice


@pytest.mark.parametrize("value", ["none", None])
def test_none_means_weights_by_chance(value: str | None) -> None:
    assert read(value) is None


def test_features_are_taken_over_and_frozen_unless_said_otherwise() -> None:
    assert read({"from": "pretrain"}) == InitChoice("pretrain", "features", "second_to_last")
    assert read({"from": "pretrain", "freeze": 3, "layers": "last"}) == InitChoice(
        "pretrain", "3", "last"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"freeze": "none"}, "defaults.init: the key 'from' is missing"),
        ({"from": "a", "layer": "last"}, "unknown key 'layer'; did you mean 'layers'?"),
        ({"from": "a", "layers": "third"}, "defaults.init.layers: must be one of"),
        ("pretrain", "defaults.init: must be none, or {from: an experiment or a trial"),
    ],
)
def test_what_is_wrong_is_said(value: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("{", r"\{").replace("?", r"\?")):
        read(value)


def test_the_layers_before_the_last_one_feed_the_model() -> None:
    whole, init = extend(InitChoice("pretrain"), SOURCE, build_head=head, name="top")
    assert whole.name == "top"
    assert whole.input_shape == (1, 8, 8)
    assert [layer.kind for layer in whole.layers[:5]] == [
        "conv2d",
        "activation",
        "flatten",
        "linear",
        "activation",
    ]
    assert whole.trace()[5].input_shape == (6,)
    assert (init.num_layers, init.num_frozen) == (5, 5)
    assert (init.source, init.sha256) == ("abc-0001", "0" * 64)


def test_the_last_layer_feeds_the_model_its_scores() -> None:
    whole, init = extend(InitChoice("p", layers="last"), SOURCE, build_head=head, name="top")
    assert whole.trace()[6].input_shape == (8,)
    assert init.num_layers == 6


@pytest.mark.parametrize(("freeze", "num_frozen"), [("none", 0), ("features", 5), ("0", 1)])
def test_layers_are_frozen_up_to_the_one_that_is_named(freeze: str, num_frozen: int) -> None:
    _, init = extend(InitChoice("p", freeze), SOURCE, build_head=head, name="top")
    assert init.num_frozen == num_frozen


def test_a_frozen_layer_must_be_one_that_is_taken_over() -> None:
    with pytest.raises(ShapeError, match="the layers 0 to 4 of its table"):
        extend(InitChoice("p", "5"), SOURCE, build_head=head, name="top")


TAPPED = SourceNetwork(
    "abc-0003",
    Architecture.from_data(
        {
            "name": "tapped",
            "input_shape": [1, 8, 8],
            "layers": [
                *({"conv2d": {"out_channels": 2, "kernel_size": 3, "padding": "same"}},),
                *({"tap": "early"}, "relu", {"tap": "late"}, {"from": "early"}, "tanh"),
                *({"add": "late"}, {"conv2d": {"out_channels": 3, "kernel_size": 1}}),
                *({"concat": ["early", "late"]},),
            ],
        }
    ),
    sha256="0" * 64,
    path="/somewhere/best-0003.pt",
)


def tapped_head(shape: Shape) -> Architecture:
    layers: list[Any] = [{"tap": "late"}, "relu", {"tap": "taken1"}]
    layers += [{"add": ["late", "taken1"]}, "flatten", {"linear": 1}]
    return Architecture.from_data({"name": "head", "input_shape": shape, "layers": layers})


@pytest.mark.parametrize(("layers", "num_taken"), [("last", 9), ("second_to_last", 7)])
def test_taps_of_one_name_are_told_apart(layers: str, num_taken: int) -> None:
    choice = InitChoice("p", layers=layers)
    whole, init = extend(choice, TAPPED, build_head=tapped_head, name="top")
    assert init.num_layers == num_taken
    texts = [layer.text for layer in whole.layers]
    assert texts[1:7] == ["tap early", "relu", "tap taken2", "from early", "tanh", "add taken2"]
    if layers == "last":
        assert texts[8] == "concat early, taken2"
    assert texts[num_taken:][:4] == ["tap late", "relu", "tap taken1", "add late, taken1"]
    assert whole.output_shape == (1,)
    assert Architecture.from_data(whole.to_data()) == whole


def test_a_network_may_be_cut_between_a_tap_and_what_reads_it() -> None:
    layers = [
        *({"tap": "images"}, {"conv2d": {"out_channels": 1, "kernel_size": 1}}, "relu"),
        *({"conv2d": {"out_channels": 1, "kernel_size": 1}}, {"add": "images"}),
    ]
    network = Architecture.from_data({"name": "n", "input_shape": [1, 8, 8], "layers": layers})
    source = SourceNetwork("abc-0004", network, "0" * 64, "/x")
    whole, init = extend(InitChoice("p"), source, build_head=head, name="top")
    assert (init.num_layers, whole.output_shape) == (3, (1,))
    assert Architecture.from_data(whole.to_data()) == whole


def test_a_tap_may_name_the_last_frozen_layer() -> None:
    _, init = extend(InitChoice("p", "late"), TAPPED, build_head=tapped_head, name="top")
    assert init.num_frozen == 4
    message = r"none, its taps \(early, late\), and the layers 0 to 6 of its table"
    with pytest.raises(ShapeError, match=message):
        extend(InitChoice("p", "middle"), TAPPED, build_head=tapped_head, name="top")


def test_fixed_weights_are_weights_that_can_be_taken_over() -> None:
    layers = ["flatten", {"associative_units": 20}, {"linear": 1}]
    network = Architecture.from_data({"name": "n", "input_shape": [1, 8, 8], "layers": layers})
    source = SourceNetwork("abc-0005", network, "0" * 64, "/x")
    _, init = extend(InitChoice("p"), source, build_head=head, name="top")
    assert init.num_layers == 2


def test_a_network_of_torchvision_is_taken_over_as_a_whole() -> None:
    network = Architecture("tv", (3, 64, 64), (TorchvisionNetwork("resnet18", 7, 11, 12, 13),))
    source = SourceNetwork("abc-0006", network, "0" * 64, "/x")
    message = r"is torchvision resnet18, which is one layer and cannot be cut; use layers: last"
    with pytest.raises(ShapeError, match=message):
        extend(InitChoice("p"), source, build_head=head, name="top")
    whole, _ = extend(InitChoice("p", layers="last"), source, build_head=head, name="top")
    assert whole.trace()[1].input_shape == (7,)


def test_nothing_stands_before_the_only_layer() -> None:
    lone = SourceNetwork("abc-0002", head((1, 8, 8)), "0" * 64, "/x")
    with pytest.raises(ShapeError, match=r"one layer with weights.* use layers: last"):
        extend(InitChoice("p"), lone, build_head=head, name="top")


def test_inputs_of_another_shape_are_refused() -> None:
    assert input_fault(SOURCE, (1, 8, 8)) is None
    assert "learned on inputs of 1x8x8, this data has 3x32x32" in str(
        input_fault(SOURCE, (3, 32, 32))
    )
