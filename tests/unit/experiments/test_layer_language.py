from typing import Any

import jsonschema
import pytest

from experiments.errors import SpecError
from experiments.kinds import Faults
from experiments.layer_language import layer_definitions, layer_names, layers_schema, read_layers
from experiments.layers import Activation, BatchNorm, Dropout, Flatten, Linear, Residual
from experiments.source import from_values
from experiments.templates import (
    Head,
    HiddenActivation,
    ResidualTemplate,
    Template,
    TrialDropout,
    fill,
    to_data,
)
from experiments.window_layers import AdaptiveAvgPool2d, AvgPool2d, Conv2d, MaxPool2d
from experiments.yaml_text import parse

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
    ("- softmax", "1:3: layers[0]: 'softmax' is not supported by this version yet"),
    ("- upsample: 2", "1:3: layers[0]: 'upsample' is not supported by this version yet"),
    ("- activation: step", "layers[0].activation: 'step' is not supported by this version yet"),
    ("- activation: rleu", "must be one of relu, leaky_relu"),
    ("- activation: {name: relu, alpha: 0.2}", "relu has no alpha, got alpha=0.2"),
    ("- relu: 0.2", "1:9: layers[0].relu: takes no options, got 0.2"),
    ("- leaky_relu: -1", "1:15: layers[0].leaky_relu: must be a finite number >= 0, got -1"),
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


def test_fill_puts_the_trial_s_choices_everywhere() -> None:
    templates = read(
        "[activation, residual: {body: [activation, dropout]}, relu, flatten, linear: classes]"
    )
    tanh = Activation("tanh")
    assert fill(templates, activation=tanh, dropout=0.5, outputs=10) == (
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
