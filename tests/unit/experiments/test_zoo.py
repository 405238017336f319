from typing import Any

import jsonschema
import pytest

from experiments.errors import SpecError
from experiments.geometry import Shape, ShapeError
from experiments.kinds import Faults
from experiments.layer_language import layer_definitions
from experiments.layers import Activation, Dropout, Linear
from experiments.source import from_values
from experiments.window_layers import Conv2d, MaxPool2d
from experiments.yaml_text import parse
from experiments.zoo import ModelChoice, build, model_schema, models, read_model

SCHEMA = model_schema() | {"$defs": layer_definitions()}
SMALL = {
    "name": "small",
    "layers": ["flatten", {"linear": 64}, "activation", {"linear": "classes"}],
}


def choose(value: Any) -> ModelChoice:
    faults = Faults("values")
    choice: ModelChoice = read_model(from_values(value), "model", faults)
    faults.raise_any()
    return choice


# systems.md, "Networks and tasks".
REFERENCE: list[tuple[Any, Shape, int, int]] = [
    ("softmax_regression", (1, 28, 28), 10, 7_850),
    ({"name": "mlp", "hidden": [128]}, (1, 28, 28), 10, 101_770),
    ("keras_convnet", (3, 28, 28), 10, 433_354),
    ("lenet5", (1, 28, 28), 10, 61_706),
    ("lenet5", (1, 32, 32), 10, 61_706),
    ("vgg16", (3, 224, 224), 1000, 138_357_544),
    ("vgg19", (3, 224, 224), 1000, 143_667_240),
    ("resnet18", (3, 224, 224), 1000, 11_689_512),
    ("resnet34", (3, 224, 224), 1000, 21_797_672),
    ("resnet50", (3, 224, 224), 1000, 25_557_032),
    ("resnet101", (3, 224, 224), 1000, 44_549_160),
    ("resnet152", (3, 224, 224), 1000, 60_192_808),
]


@pytest.mark.parametrize(("model", "shape", "classes", "parameters"), REFERENCE)
def test_parameters_equal_the_published_count(
    model: Any, shape: Shape, classes: int, parameters: int
) -> None:
    network = build(choose(model), input_shape=shape, outputs=classes)
    assert network.parameters == parameters


# torchvision's documentation of its weights ("GFLOPS", which are multiply-adds).
@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("vgg11", 7.61),
        ("vgg16", 15.47),
        ("resnet18", 1.81),
        ("resnet50", 4.09),
        ("resnet152", 11.51),
    ],
)
def test_multiply_adds_equal_the_published_count(model: str, billions: float) -> None:
    network = build(choose(model), input_shape=(3, 224, 224), outputs=1000)
    assert round(network.multiply_adds / 1e9, 2) == billions


# Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
# 2019, table 1 (its ResNets stride elsewhere than torchvision's and ours).
def test_receptive_field_of_vgg16_equals_the_published_one() -> None:
    rows = build(choose("vgg16"), input_shape=(3, 224, 224), outputs=1000).trace()
    last_pooling = [row for row in rows if row.kind == "max_pool2d"][-1]
    assert last_pooling.receptive_field == (212, 212)


@pytest.mark.parametrize("model", models())
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 80)], ids=str)
def test_model_fits_images_of_every_data_set(model: str, shape: Shape) -> None:
    assert build(choose(model), input_shape=shape, outputs=7).output_shape == (7,)


@pytest.mark.parametrize("model", ["softmax_regression", "mlp", "vgg19", "resnet50"])
def test_model_fits_the_digits_of_8_pixels(model: str) -> None:
    assert build(choose(model), input_shape=(1, 8, 8), outputs=10).output_shape == (10,)


def test_small_resnet_keeps_its_stem_s_resolution() -> None:
    rows = build(choose("resnet18"), input_shape=(3, 32, 32), outputs=10).trace()
    assert rows[0].text == "conv2d 64 3x3, padding 1x1"
    assert not any(row.kind == "max_pool2d" for row in rows)


def test_small_vgg_leaves_out_the_pooling_of_a_single_pixel() -> None:
    def pools(shape: Shape) -> int:
        layers = build(choose("vgg11"), input_shape=shape, outputs=10).layers
        return sum(isinstance(layer, MaxPool2d) for layer in layers)

    assert pools((3, 32, 32)) == 5
    assert pools((1, 28, 28)) == 4
    assert pools((1, 8, 8)) == 3


def test_lenet5_pads_only_what_is_smaller_than_32_pixels() -> None:
    def padding(size: int) -> Any:
        first = build(choose("lenet5"), input_shape=(1, size, size), outputs=10).layers[0]
        assert isinstance(first, Conv2d)
        return first.padding

    assert padding(28) == (2, 2)
    assert padding(32) == (0, 0)


def test_width_scales_every_hidden_channel() -> None:
    narrow = build(
        choose({"name": "vgg", "depth": 11, "width": 0.01}), input_shape=(3, 32, 32), outputs=9
    )
    channels = [layer.out_channels for layer in narrow.layers if isinstance(layer, Conv2d)]
    units = [layer.out_features for layer in narrow.layers if isinstance(layer, Linear)]
    assert channels == [1, 1, 3, 3, 5, 5, 5, 5]
    assert units == [5, 9]


def test_batch_norm_of_vgg_follows_every_convolution() -> None:
    rows = build(
        choose({"name": "vgg13", "batch_norm": True}), input_shape=(3, 32, 32), outputs=10
    ).trace()
    after = [rows[i + 1].kind for i, row in enumerate(rows) if row.kind == "conv2d"]
    assert after == ["batch_norm"] * 10


def test_trial_s_activation_and_dropout_reach_every_place() -> None:
    elu = Activation("elu", 0.5)
    network = build(
        choose("vgg16"), input_shape=(3, 224, 224), outputs=10, activation=elu, dropout=0.5
    )
    assert [layer for layer in network.layers if isinstance(layer, Activation)] == [elu] * 15
    assert [layer for layer in network.layers if isinstance(layer, Dropout)] == [Dropout(0.5)] * 2


@pytest.mark.parametrize("model", [*models(), SMALL], ids=str)
def test_uses_tell_what_makes_a_difference(model: Any) -> None:
    def network(**trial: Any) -> Any:
        return build(choose(model), input_shape=(1, 32, 32), outputs=10, **trial)

    choice = choose(model)
    assert (network(activation="relu") != network(activation="tanh")) == choice.uses_activation
    assert (network(dropout=0.1) != network(dropout=0.2)) == choice.uses_dropout


LABELS = [
    ("lenet5", "lenet5"),
    ("vgg11", "vgg11"),
    ("vgg", "vgg16"),
    ({"name": "vgg16"}, "vgg16"),
    ({"name": "vgg", "depth": 11, "width": 0.25}, "vgg11 width=0.25"),
    ({"name": "vgg11", "batch_norm": True}, "vgg11 batch_norm=true"),
    ({"name": "mlp", "hidden": [256, 128]}, "mlp hidden=256-128"),
    ({"name": "mlp", "hidden": 64}, "mlp hidden=64"),
    (SMALL, "small"),
]


@pytest.mark.parametrize(("value", "label"), LABELS, ids=[str(value) for value, _ in LABELS])
def test_label_tells_the_options_that_were_chosen(value: Any, label: str) -> None:
    assert choose(value).label == label


@pytest.mark.parametrize("value", [value for value, _ in LABELS], ids=str)
def test_data_in_full_is_the_same_choice(value: Any) -> None:
    choice = choose(value)
    assert choose(choice.to_data()) == choice


@pytest.mark.parametrize("value", [value for value, _ in LABELS], ids=str)
def test_schema_accepts_what_is_read(value: Any) -> None:
    jsonschema.validate(value, SCHEMA)
    jsonschema.validate(choose(value).to_data(), SCHEMA)


def test_short_name_is_the_same_choice_as_the_long_form() -> None:
    assert choose("resnet50") == choose({"name": "resnet", "depth": 50})
    assert choose("resnet50").options == {"depth": 50, "width": 1.0}


FAULTS = [
    ("lenet", "1:1: model: unknown model 'lenet'; did you mean 'lenet5'?; known models: softmax"),
    ("vgg12", "1:1: model: vgg has the depths 11, 13, 16, 19, got 12"),
    ("3", "1:1: model: must be a model's name, or a mapping with the key name, got 3"),
    ("{depth: 11}", "1:1: model: the key 'name' is missing"),
    ("{name: 3}", "1:8: model.name: must be a text, got 3"),
    ("{name: vgg, depth: 12}", "1:20: model.depth: must be one of 11, 13, 16, 19, got 12"),
    ("{name: vgg11, depth: 11}", "1:15: model.depth: 'vgg11' already says the depth"),
    ("{name: vgg, widht: 2}", "1:13: model: unknown key 'widht'; did you mean 'width'?"),
    ("{name: vgg, width: 0}", "1:20: model.width: must be a finite number > 0"),
    ("{name: lenet5, width: 2}", "1:16: model: lenet5 takes no options"),
    ("{name: mlp, hidden: []}", "1:21: model.hidden: needs at least 1 item, got an empty list"),
    ("{name: tiny}", "1:8: model: unknown model 'tiny'"),
    ("{name: vgg16, layers: [relu]}", "1:8: model.name: 'vgg16' is a named architecture; give"),
    ("{name: ../x, layers: [relu]}", "1:8: model.name: must be a name of 1 to"),
    ("{name: tiny, layers: [], depth: 3}", "1:26: model: unknown key 'depth'; a network with"),
    ("{name: tiny, layers: [rleu]}", "1:23: model.layers[0]: unknown layer 'rleu'"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS, ids=[text for text, _ in FAULTS])
def test_fault_is_told_where_it_stands(text: str, message: str) -> None:
    faults = Faults("spec.yaml")
    read_model(parse(text, source="spec.yaml"), "model", faults)
    with pytest.raises(SpecError) as raised:
        faults.raise_any()
    assert message in str(raised.value)


def test_schema_refuses_an_unknown_model() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate("lenet", SCHEMA)


def test_too_small_image_names_model_layer_and_shapes() -> None:
    message = (
        r"lenet5 does not fit an input of 1x8x8: layer 3: "
        r"conv2d 16 5x5 needs an input of at least 5x5, got 6x4x4"
    )
    with pytest.raises(ShapeError, match=message):
        build(choose("lenet5"), input_shape=(1, 8, 8), outputs=10)


def test_network_that_ends_in_another_number_is_refused() -> None:
    choice = choose({"name": "seven", "layers": ["flatten", {"linear": 7}]})
    with pytest.raises(ShapeError, match=r"seven ends in 7 where the task needs 10 outputs"):
        build(choice, input_shape=(1, 8, 8), outputs=10)


def test_network_that_ends_in_an_image_is_refused() -> None:
    choice = choose({"name": "map", "layers": ["relu"]})
    with pytest.raises(ShapeError, match=r"map ends in 1x8x8 where the task needs 64 outputs"):
        build(choice, input_shape=(1, 8, 8), outputs=64)
