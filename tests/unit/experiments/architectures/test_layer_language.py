from typing import Any

import jsonschema
import pytest

from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.joins import Add, Concat, From, Tap
from experiments.architectures.layer_language import (
    layer_definitions,
    layer_names,
    layers_schema,
    read_layers,
)
from experiments.architectures.layers import (
    Activation,
    BatchNorm,
    Dropout,
    Flatten,
    Linear,
    Reshape,
)
from experiments.architectures.templates import (
    ConvHead,
    Head,
    HiddenActivation,
    PatchesTemplate,
    ResidualTemplate,
    Template,
    TrialDropout,
    fill,
    to_data,
)
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
from experiments.language.kinds import Faults
from experiments.language.source import from_values
from experiments.language.yaml_text import parse

SCHEMA = layers_schema() | {"$defs": layer_definitions()}


def read(text: str) -> tuple[Template, ...]:
    faults = Faults("net.yaml")
    layers: tuple[Template, ...] = read_layers(parse(text, source="net.yaml"), "layers", faults)
    faults.raise_any()
    return layers


def read_values(values: Any) -> tuple[Template, ...]:
    faults = Faults("values")
    layers: tuple[Template, ...] = read_layers(from_values(values), "layers", faults)
    faults.raise_any()
    return layers


SPELLINGS: list[tuple[str, Template]] = [
    ("flatten", Flatten()),
    ("flatten:", Flatten()),
    ("batch_norm", BatchNorm()),
    ("activation", HiddenActivation()),
    ("activation:", HiddenActivation()),
    ("dropout", TrialDropout()),
    ("dropout: 0.3", Dropout(0.3)),
    ("dropout: {p: 0}", Dropout(0.0)),
    ("relu", Activation("relu")),
    ("activation: tanh", Activation("tanh")),
    ("activation: linear", Activation("linear")),
    ("leaky_relu", Activation("leaky_relu", 0.01)),
    ("leaky_relu: 0.2", Activation("leaky_relu", 0.2)),
    ("leaky_relu: {alpha: 0.2}", Activation("leaky_relu", 0.2)),
    ("activation: {name: leaky_relu, alpha: 0.2}", Activation("leaky_relu", 0.2)),
    ("linear: 64", Linear(64)),
    ("linear: {out_features: 64, bias: false}", Linear(64, bias=False)),
    ("linear: classes", Head()),
    ("linear: {out_features: classes, bias: false}", Head(bias=False)),
    ("max_pool2d: 2", MaxPool2d((2, 2))),
    ("max_pool2d: [2, 3]", MaxPool2d((2, 3))),
    ("avg_pool2d: {kernel_size: 2, stride: 1}", AvgPool2d((2, 2), stride=(1, 1))),
    ("adaptive_avg_pool2d", AdaptiveAvgPool2d((1, 1))),
    ("adaptive_avg_pool2d: 7", AdaptiveAvgPool2d((7, 7))),
    (
        "conv2d: {out_channels: 16, kernel_size: 3, padding: same}",
        Conv2d(16, (3, 3), padding=(1, 1)),
    ),
    ("residual: {body: [relu]}", Residual((Activation("relu"),))),
    ("step", Activation("step")),
    ("activation: softmax", Activation("softmax")),
    ("maxout: 64", Maxout(64)),
    ("maxout: {out_features: 64, pieces: 3, bias: false}", Maxout(64, 3, bias=False)),
    ("associative_units: 512", AssociativeUnits(512)),
    (
        "locally_connected2d: {out_channels: 8, kernel_size: [3, 5], stride: 2}",
        LocallyConnected2d(8, (3, 5), stride=(2, 2)),
    ),
    ("upsample: 2", Upsample((2, 2))),
    ("upsample: {scale: [2, 3], mode: bilinear}", Upsample((2, 3), "bilinear")),
    (
        "conv_transpose2d: {out_channels: 8, kernel_size: 4, stride: 2, padding: 1, bias: false}",
        ConvTranspose2d(8, (4, 4), (2, 2), (1, 1), bias=False),
    ),
    (
        "conv_transpose2d: {out_channels: classes, kernel_size: 4, stride: 2, init: bilinear}",
        ConvHead(ConvTranspose2d(1, (4, 4), (2, 2), init="bilinear")),
    ),
    (
        "conv2d: {out_channels: classes, kernel_size: 1, bias: false}",
        ConvHead(Conv2d(1, (1, 1), bias=False)),
    ),
    ("reshape: [8, 8, 8]", Reshape((8, 8, 8))),
    ("reshape: {shape: [1, 28, 28]}", Reshape((1, 28, 28))),
    (
        "patches: {size: [5, 3], stride: 2, layers: [flatten, linear: 4]}",
        Patches((5, 3), (2, 2), (Flatten(), Linear(4))),
    ),
    (
        "patches: {size: 5, layers: [flatten, linear: classes]}",
        PatchesTemplate((5, 5), (1, 1), (Flatten(), Head())),
    ),
    (
        "residual: {body: [batch_norm], shortcut: [residual: {body: [activation]}]}",
        ResidualTemplate((BatchNorm(),), (ResidualTemplate((HiddenActivation(),)),)),
    ),
]
IDS = [text for text, _ in SPELLINGS]


@pytest.mark.parametrize(("text", "layer"), SPELLINGS, ids=IDS)
def test_item_is_read(text: str, layer: Template) -> None:
    assert read(f"- {text}") == (layer,)


@pytest.mark.parametrize("layer", [layer for _, layer in SPELLINGS], ids=IDS)
def test_written_item_is_read_back(layer: Template) -> None:
    assert read_values(to_data([layer])) == (layer,)


# A key without a value is read leniently; an editor may frown on it.
@pytest.mark.parametrize("text", [text for text in IDS if not text.endswith(":")])
def test_schema_accepts_what_is_read(text: str) -> None:
    jsonschema.validate(parse(f"- {text}", source="net.yaml").plain(), SCHEMA)


@pytest.mark.parametrize("layer", [layer for _, layer in SPELLINGS], ids=IDS)
def test_schema_accepts_what_is_written(layer: Template) -> None:
    jsonschema.validate(to_data([layer]), SCHEMA)


FAULTS = [
    ("relu", "1:1: layers: must be a list of layers, got 'relu'"),
    ("[]", "1:1: layers: needs at least one layer, got an empty list"),
    ("- 3", "1:3: layers[0]: a layer is a name, or one name with its options, got 3"),
    ("- {relu: 1, tanh: 2}", "1:3: layers[0]: a layer is a name, or one name with its options"),
    ("- flaten", "1:3: layers[0]: unknown layer 'flaten'; did you mean 'flatten'?; known layers:"),
    ("- ReLU", "unknown layer 'ReLU'; did you mean 'relu'?"),
    ("- activation: maxout", "1:15: layers[0].activation: maxout has weights of its own, so it is"),
    ("- maxout", "1:3: layers[0]: maxout needs out_features"),
    ("- upsample: 0", "1:13: layers[0].upsample: must be an integer from 1 to"),
    ("- upsample: {scale: 2, mode: cubic}", "layers[0].upsample.mode: must be one of nearest, bil"),
    ("- reshape: [28, 28]", "1:12: layers[0].reshape: must be [channels, height, width], each"),
    ("- torchvision: {name: resnet18}", "1:3: layers[0]: unknown layer 'torchvision'"),
    ("- activation: rleu", "must be one of relu, leaky_relu"),
    ("- activation: {name: relu, alpha: 0.2}", "relu has no alpha, got alpha=0.2"),
    ("- relu: 0.2", "1:9: layers[0].relu: takes no options, got 0.2"),
    (
        "- leaky_relu: -1",
        "1:15: layers[0].leaky_relu: must be a finite number >= 0 and <= 10000, got -1",
    ),
    ("- flatten: 2", "1:12: layers[0].flatten: takes no options, got 2"),
    ("- linear", "1:3: layers[0]: linear needs out_features"),
    ("- conv2d:", "1:3: layers[0]: conv2d needs out_channels and kernel_size"),
    ("- conv2d: {out_channels: 8}", "1:11: layers[0].conv2d: the key 'kernel_size' is missing"),
    (
        "- conv2d: {out_channels: 8, kernel_sze: 3, kernel_size: 3}",
        "1:29: layers[0].conv2d: unknown key 'kernel_sze'; did you mean 'kernel_size'?",
    ),
    (
        "- conv2d: {out_channels: 8, kernel_size: 3, stride: 2, padding: same}",
        "1:11: layers[0].conv2d: padding: same needs stride 1, got stride 2x2",
    ),
    ("- conv2d: {out_channels: true, kernel_size: 3}", "1:26: layers[0].conv2d.out_channels: must"),
    ("- max_pool2d: 0", "1:15: layers[0].max_pool2d: must be an integer from 1 to"),
    ("- linear: clases", "1:11: layers[0].linear: must be an integer from 1 to"),
    ("- dropout: 1.0", "1:12: layers[0].dropout: must be a finite number >= 0 and < 1, got 1.0"),
    (
        "- conv2d: {out_channels: clases, kernel_size: 1}",
        "out_channels: must be an integer from 1 to 10000000, or one of classes, got 'clases'",
    ),
    (
        "- conv2d: {out_channels: classes, kernel_size: 1, groups: 2}",
        "1:51: layers[0].conv2d.groups: must be left out where out_channels is classes",
    ),
    (
        "- conv_transpose2d: {out_channels: 1, kernel_size: 3, stride: 2, init: bilinear}",
        "1:21: layers[0].conv_transpose2d: init: bilinear with stride 2x2 needs kernel_size 4x4",
    ),
    (
        "- conv_transpose2d: {out_channels: 1, kernel_size: 3, padding: 3}",
        "1:21: layers[0].conv_transpose2d: padding must be less than kernel_size, got padding 3x3",
    ),
    ("- patches: {size: 3, layers: []}", "layers[0].patches.layers: needs at least one layer"),
    (
        "- tap: a\n- relu\n- tap: a\n- add: a",
        "3:3: layers[2]: the tap 'a' exists already; each needs its own name",
    ),
    ("- tap: a\n- add: [a, b]", "2:3: layers[1]: there is no tap 'b' before it; there are: a"),
    ("- relu\n- from: a", "2:3: layers[1]: there is no tap 'a' before it; there are: none"),
    ("- relu\n- tap: a", "2:3: layers[1]: nothing uses the tap 'a'"),
    (
        "- tap: a\n- relu\n- from: a",
        "3:3: layers[2]: the signal before it is lost; give it a tap",
    ),
    ("- tap: a\n- add: [a, a]", "2:8: layers[1].add: names a tap twice: a, a"),
    ("- tap: ../a\n- add: a", "1:8: layers[0].tap: must be a name of 1 to 50 characters"),
    (
        "- residual:\n    body:\n    - relu\n    - tap: a",
        "4:7: layers[0].residual.body[1]: taps and joins work at the top level of a network only",
    ),
    (
        "- patches: {size: 3, layers: [flatten, concat: a]}",
        "layers[0].patches.layers[1]: taps and joins work at the top level of a network only",
    ),
    ("- residual: {shortcut: []}", "1:13: layers[0].residual: the key 'body' is missing"),
    ("- residual: {body: []}", "layers[0].residual.body: needs at least one layer"),
    ("- residual:\n    body:\n    - tahn", "3:7: layers[0].residual.body[0]: unknown layer 'tahn'"),
]


@pytest.mark.parametrize(("text", "message"), FAULTS, ids=[text for text, _ in FAULTS])
def test_fault_is_told_where_it_stands(text: str, message: str) -> None:
    with pytest.raises(SpecError) as raised:
        read(text)
    assert len(raised.value.faults) == 1
    assert message in str(raised.value)


def test_all_faults_come_at_once() -> None:
    with pytest.raises(SpecError) as raised:
        read("- flaten\n- relu\n- linear: 0\n- max_pool2d: [1, 2, 3]\n")
    assert [fault.position.line for fault in raised.value.faults if fault.position] == [1, 3, 4]


def test_graph_is_read_and_written_back() -> None:
    graph = read("[tap: a, relu, tap: b, from: a, concat: [b], add: {taps: [a, b]}]")
    assert graph == (
        *(Tap("a"), Activation("relu"), Tap("b")),
        *(From("a"), Concat(("b",)), Add(("a", "b"))),
    )
    assert read_values(to_data(graph)) == graph
    jsonschema.validate(to_data(graph), SCHEMA)


def test_head_and_other_options_are_found_at_fault_together() -> None:
    with pytest.raises(SpecError) as raised:
        read("- conv2d: {out_channels: clases, kernel_size: 0}")
    assert [fault.path for fault in raised.value.faults] == [
        "layers[0].conv2d.out_channels",
        "layers[0].conv2d.kernel_size",
    ]


def test_fill_puts_the_trial_s_choices_everywhere() -> None:
    templates = read(
        "[activation, residual: {body: [activation, dropout]}, relu, flatten, linear: classes]"
    )
    tanh = Activation("tanh")
    assert fill(templates, activation=tanh, dropout=0.5, output_shape=(10,)) == (
        tanh,
        Residual((tanh, Dropout(0.5))),
        Activation("relu"),
        Flatten(),
        Linear(10),
    )


def test_schema_refuses_an_unknown_layer() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(["flaten"], SCHEMA)


def test_every_layer_name_is_offered_by_the_schema() -> None:
    bare, item = layer_definitions()["layer"]["anyOf"]
    assert set(bare["enum"]) | set(item["properties"]) == set(layer_names())
