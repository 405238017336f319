import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape, ShapeError
from experiments.architectures.layer_language import layer_definitions
from experiments.architectures.layers import Activation, Dropout, Linear
from experiments.architectures.torchvision_networks import TorchvisionFigures, TorchvisionNetwork
from experiments.architectures.window_layers import Conv2d, MaxPool2d
from experiments.architectures.zoo import (
    ModelChoice,
    build,
    model_schema,
    models,
    read_model,
    task_fault,
)
from experiments.errors import SpecError
from experiments.language.kinds import Faults
from experiments.language.source import from_values
from experiments.language.yaml_text import parse

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
    ("alexnet", (3, 224, 224), 1000, 61_100_840),
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
    network = build(choose(model), input_shape=shape, output_shape=(classes,))
    assert network.parameters == parameters


# torchvision's documentation of its weights ("GFLOPS", which are multiply-adds).
@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("alexnet", 0.71),
        ("vgg11", 7.61),
        ("vgg16", 15.47),
        ("resnet18", 1.81),
        ("resnet50", 4.09),
        ("resnet152", 11.51),
    ],
)
def test_multiply_adds_equal_the_published_count(model: str, billions: float) -> None:
    network = build(choose(model), input_shape=(3, 224, 224), output_shape=(1000,))
    assert round(network.multiply_adds / 1e9, 2) == billions


# Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
# 2019, table 1 (its ResNets stride elsewhere than torchvision's and ours).
def test_receptive_field_of_vgg16_equals_the_published_one() -> None:
    rows = build(choose("vgg16"), input_shape=(3, 224, 224), output_shape=(1000,)).trace()
    last_pooling = [row for row in rows if row.kind == "max_pool2d"][-1]
    assert last_pooling.receptive_field == (212, 212)


# What each task needs of a network on images of that shape.
OUTPUTS: dict[str, Callable[[Shape], Shape]] = {
    "classification": lambda _: (7,),
    "binary": lambda _: (1,),
    "regression": lambda _: (3,),
    "segmentation": lambda image: (7, *image[1:]),
    "reconstruction": lambda image: image,
}
TASKS_OF_MODELS = [(name, task) for name, named in models().items() for task in named.tasks]
SIDES_OF_28 = [pair for pair in TASKS_OF_MODELS if pair[0] not in ("fcn", "patch_network")]


@pytest.mark.parametrize(
    ("model", "task", "shape"),
    [(*pair, shape) for pair in TASKS_OF_MODELS for shape in ((3, 32, 32), (3, 64, 96))]
    + [(*pair, (1, 28, 28)) for pair in SIDES_OF_28],
)
def test_model_fits_images_of_every_data_set(model: str, task: str, shape: Shape) -> None:
    wanted = OUTPUTS[task](shape)
    assert build(choose(model), input_shape=shape, output_shape=wanted).output_shape == wanted


@pytest.mark.parametrize("model", ["softmax_regression", "mlp", "alexnet", "vgg19", "plain50"])
def test_model_fits_the_digits_of_8_pixels(model: str) -> None:
    assert build(choose(model), input_shape=(1, 8, 8), output_shape=(10,)).output_shape == (10,)


def test_small_resnet_keeps_its_stem_s_resolution() -> None:
    rows = build(choose("resnet18"), input_shape=(3, 32, 32), output_shape=(10,)).trace()
    assert rows[0].text == "conv2d 64 3x3, padding 1x1"
    assert not any(row.kind == "max_pool2d" for row in rows)


def test_small_vgg_leaves_out_the_pooling_of_a_single_pixel() -> None:
    def pools(shape: Shape) -> int:
        layers = build(choose("vgg11"), input_shape=shape, output_shape=(10,)).layers
        return sum(isinstance(layer, MaxPool2d) for layer in layers)

    assert pools((3, 32, 32)) == 5
    assert pools((1, 28, 28)) == 4
    assert pools((1, 8, 8)) == 3


def test_lenet5_pads_only_what_is_smaller_than_32_pixels() -> None:
    def padding(size: int) -> Any:
        first = build(choose("lenet5"), input_shape=(1, size, size), output_shape=(10,)).layers[0]
        assert isinstance(first, Conv2d)
        return first.padding

    assert padding(28) == (2, 2)
    assert padding(32) == (0, 0)


def test_width_scales_every_hidden_channel() -> None:
    narrow = build(
        choose({"name": "vgg", "depth": 11, "width": 0.01}),
        input_shape=(3, 32, 32),
        output_shape=(9,),
    )
    channels = [layer.out_channels for layer in narrow.layers if isinstance(layer, Conv2d)]
    units = [layer.out_features for layer in narrow.layers if isinstance(layer, Linear)]
    assert channels == [1, 1, 3, 3, 5, 5, 5, 5]
    assert units == [5, 9]


def test_batch_norm_of_vgg_follows_every_convolution() -> None:
    rows = build(
        choose({"name": "vgg13", "batch_norm": True}), input_shape=(3, 32, 32), output_shape=(10,)
    ).trace()
    after = [rows[i + 1].kind for i, row in enumerate(rows) if row.kind == "conv2d"]
    assert after == ["batch_norm"] * 10


def test_trial_s_activation_and_dropout_reach_every_place() -> None:
    elu = Activation("elu", 0.5)
    network = build(
        choose("vgg16"), input_shape=(3, 224, 224), output_shape=(10,), activation=elu, dropout=0.5
    )
    assert [layer for layer in network.layers if isinstance(layer, Activation)] == [elu] * 15
    assert [layer for layer in network.layers if isinstance(layer, Dropout)] == [Dropout(0.5)] * 2


@pytest.mark.parametrize("model", [*models(), SMALL], ids=str)
def test_uses_tell_what_makes_a_difference(model: Any) -> None:
    task = models()[model].tasks[0] if model in list(models()) else "classification"

    def network(**trial: Any) -> Any:
        outputs = OUTPUTS[task]((1, 32, 32))
        return build(choose(model), input_shape=(1, 32, 32), output_shape=outputs, **trial)

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
    ("fcn", "fcn8s"),
    ("fcn32s", "fcn32s"),
    ({"name": "fcn", "stride": 16, "upsampling": "nearest"}, "fcn16s upsampling=nearest"),
    ({"name": "autoencoder", "hidden": [64, 16]}, "autoencoder hidden=64-16"),
    ("torchvision/resnet18", "torchvision/resnet18"),
    (
        {"name": "torchvision/resnet50", "weights": "IMAGENET1K_V2"},
        "torchvision/resnet50 weights=IMAGENET1K_V2",
    ),
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
    ("lenet", "1:1: model: unknown model 'lenet'; did you mean 'lenet5'?; known models: linear"),
    ("vgg12", "1:1: model: vgg has the depths 11, 13, 16, 19, got 12"),
    ("fcn8", "1:1: model: unknown model 'fcn8'; did you mean 'fcn8s'?; known models: linear"),
    ("fcn4s", "1:1: model: fcn has the strides 32, 16, 8, got 4"),
    ("{name: fcn8s, stride: 8}", "1:15: model.stride: 'fcn8s' already says the stride"),
    ("{name: patch_network, stride: 3}", "1:8: model: patch and stride must be even, got patch=16"),
    ("{name: patch_network, patch: 18}", "stride must be at least half of patch, got patch=18"),
    (
        "torchvision/resnet19",
        (
            "model: unknown model 'torchvision/resnet19'; did you mean 'torchvision/resnet18'?; "
            "torchvision has alexnet, convnext_base, "
        ),
    ),
    (
        "{name: torchvision/resnet18, weights: IMAGENET1K_V2}",
        "1:39: model.weights: torchvision/resnet18 has the weights IMAGENET1K_V1, got IMAGENET",
    ),
    (
        "{name: torchvision/resnet18, weights: best.pt}",
        "1:39: model.weights: must be one of IMAGENET1K_V1, IMAGENET1K_V2, ",
    ),
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
        build(choose("lenet5"), input_shape=(1, 8, 8), output_shape=(10,))


@pytest.mark.parametrize(
    ("model", "output_shape", "message"),
    [
        (
            {"name": "seven", "layers": ["flatten", {"linear": 7}]},
            (10,),
            "seven ends in 7 where the task needs 10; end it with flatten and linear: classes",
        ),
        (
            {"name": "map", "layers": ["relu"]},
            (64,),
            "map ends in 1x32x32 where the task needs 64; end it with flatten",
        ),
        (
            {"name": "half", "layers": [{"max_pool2d": 2}]},
            (5, 32, 32),
            "half ends in 1x16x16 where the task needs 5x32x32; end it with conv2d: {out_channels",
        ),
        (
            "lenet5",
            (5, 32, 32),
            (
                "lenet5 ends in 5120 where the task needs 5x32x32; models for segmentation: fcn, "
                "patch_network; models for reconstruction: autoencoder"
            ),
        ),
        (
            "fcn8s",
            (5,),
            "fcn8s ends in 5x32x32 where the task needs 5; models for classification: softmax",
        ),
    ],
)
def test_network_that_ends_in_another_shape_is_refused_with_the_mend(
    model: Any, output_shape: Shape, message: str
) -> None:
    with pytest.raises(ShapeError, match="^" + re.escape(message)):
        build(choose(model), input_shape=(1, 32, 32), output_shape=output_shape)


@pytest.mark.parametrize(
    ("model", "task", "fault"),
    [
        ("lenet5", "binary", None),
        (SMALL, "segmentation", None),
        ("torchvision/resnet18", "regression", None),
        (
            "softmax_regression",
            "binary",
            (
                "softmax_regression does classification, not binary; models for binary: "
                "logistic_regression, perceptron, mlp, maxout, keras_convnet, lenet5, alexnet, "
                "vgg, resnet, plain, locally_connected"
            ),
        ),
        (
            "mlp",
            "segmentation",
            (
                "mlp does classification and binary and regression, not segmentation; models for "
                "segmentation: fcn, patch_network"
            ),
        ),
    ],
    ids=str,
)
def test_model_that_is_not_made_for_a_task_names_those_that_are(
    model: Any, task: str, fault: str | None
) -> None:
    assert task_fault(choose(model), task) == fault


def test_network_of_torchvision_is_one_layer_with_what_was_measured() -> None:
    asked: list[tuple[str, Shape, int]] = []

    def measure(name: str, input_shape: Shape, outputs: int) -> TorchvisionFigures:
        asked.append((name, input_shape, outputs))
        return TorchvisionFigures(11_181_642, 34_240_256, 500_000, norms_single_values=True)

    network = build(
        choose({"name": "torchvision/resnet18", "weights": "IMAGENET1K_V1"}),
        input_shape=(1, 28, 28),
        output_shape=(10,),
        measure_torchvision=measure,
    )
    (layer,) = network.layers
    assert layer == TorchvisionNetwork(
        "resnet18",
        10,
        11_181_642,
        34_240_256,
        500_000,
        weights="IMAGENET1K_V1",
        norms_single_values=True,
    )
    assert Architecture.from_data(network.to_data()) == network
    assert asked == [("resnet18", (1, 28, 28), 10)]
    assert (network.parameters, network.multiply_adds) == (11_181_642, 34_240_256)
    assert (network.output_shape, network.receptive_field) == ((10,), (28, 28))
    assert network.activation_bytes == 4 * 500_000


@pytest.mark.parametrize("shape", [(2, 28, 28), (784,)], ids=str)
def test_network_of_torchvision_wants_grey_or_colour_images(shape: Shape) -> None:
    with pytest.raises(ShapeError, match=r"torchvision/resnet18 needs an image of 1 or 3 channels"):
        build(
            choose("torchvision/resnet18"),
            input_shape=shape,
            output_shape=(10,),
            measure_torchvision=lambda *_: TorchvisionFigures(0, 0, 0),
        )
