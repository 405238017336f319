"""Values that a hyperparameter cannot have, wherever they stand: the fault is named in full."""

from pathlib import Path

import pytest

from experiments.architectures.layer_language import layer_names
from experiments.compatibility import LOSSES
from experiments.descent import OPTIMIZERS
from tests.refusals import FINITE_RATE, KNOWN_MODELS, NAME, listed, refused

HIDDEN = "relu, leaky_relu, tanh, sigmoid, linear, gelu, silu, elu, step"

# Each stands as `parameters: {lr: 0.1, model: mlp, ...}`, in the place of what it names.
VALUES: list[tuple[str, str, str]] = [
    ("not a number", "lr: .nan", f"2:18: parameters.lr: {FINITE_RATE}, got .nan"),
    ("infinite", "lr: [0.1, .inf]", f"2:24: parameters.lr[1]: {FINITE_RATE}, got .inf"),
    ("zero rate", "lr: 0", f"2:18: parameters.lr: {FINITE_RATE}, got 0"),
    ("text for a number", "lr: fast", f"2:18: parameters.lr: {FINITE_RATE}, got 'fast'"),
    ("one e3 as text", "lr: '1e-3'", f"2:18: parameters.lr: {FINITE_RATE}, got '1e-3'"),
    (
        "negative epochs",
        "epochs: -1",
        "2:22: parameters.epochs: must be an integer from 1 to 100000, got -1",
    ),
    (
        "zero epochs",
        "epochs: 0",
        "2:22: parameters.epochs: must be an integer from 1 to 100000, got 0",
    ),
    (
        "half an epoch",
        "epochs: 1.5",
        "2:22: parameters.epochs: must be an integer from 1 to 100000, got 1.5",
    ),
    (
        "true for a count",
        "epochs: true",
        "2:22: parameters.epochs: must be an integer from 1 to 100000, got true",
    ),
    (
        "no values",
        "epochs: []",
        "2:22: parameters.epochs: an empty list: give at least one value",
    ),
    (
        "doubled value",
        "epochs: [1, 2, 1]",
        "2:29: parameters.epochs[2]: the value 1 is given twice (first as item 0)",
    ),
    (
        "doubled value, written otherwise",
        "lr: [0.10, 1.0e-1]",
        "2:25: parameters.lr[1]: the value 0.1 is given twice (first as item 0)",
    ),
    (
        "unknown model",
        "model: [mlp, lenet]",
        (
            "2:27: parameters.model[1]: unknown model 'lenet'; did you mean 'lenet5'?; "
            f"{KNOWN_MODELS}"
        ),
    ),
    (
        "address as model",
        "model: https://x.org/m.pt",
        (
            f"2:21: parameters.model: unknown model 'https://x.org/m.pt'; "
            f"{KNOWN_MODELS}"
        ),
    ),
    (
        "unknown option of a model",
        "model: {name: vgg, witdh: 0.5}",
        (
            "2:33: parameters.model: unknown key 'witdh'; did you mean 'width'?; known keys: "
            "depth, width, batch_norm"
        ),
    ),
    (
        "unknown depth",
        "model: resnet19",
        "2:21: parameters.model: resnet has the depths 18, 34, 50, 101, 152, got 19",
    ),
    (
        "unknown layer",
        "model: {name: own, layers: [flatten, {Linaer: 8}, {linear: classes}]}",
        (
            "2:52: parameters.model.layers[1]: unknown layer 'Linaer'; did you mean 'linear'?; "
            f"known layers: {listed(layer_names())}"
        ),
    ),
    (
        "bad option deep in a network",
        (
            "model: {name: own, layers: [{residual: {body: [{conv2d: {out_channels: 1, "
            "kernel_size: [3, 0]}}]}}, flatten, {linear: classes}]}"
        ),
        (
            "2:101: parameters.model.layers[0].residual.body[0].conv2d.kernel_size: must be an "
            "integer from 1 to 100000, or [height, width] of two, got [3, 0]"
        ),
    ),
    (
        "missing option of a layer",
        "model: {name: own, layers: [{conv2d: {out_channels: 8}}, flatten, {linear: classes}]}",
        (
            "2:51: parameters.model.layers[0].conv2d: the key 'kernel_size' is missing: "
            "height and width of a filter, in pixels"
        ),
    ),
    (
        "name with a slash",
        "model: {name: a/b, layers: [flatten, {linear: classes}]}",
        f"2:28: parameters.model.name: {NAME}, got 'a/b'",
    ),
    (
        "two networks of one name",
        "model: [{name: a, layers: [flatten]}, {name: a, layers: [relu]}]",
        (
            "2:52: parameters.model[1]: another network is called 'a' already; name this one "
            "otherwise"
        ),
    ),
    (
        "unknown loss",
        "loss: cross_entropi",
        (
            f"2:20: parameters.loss: must be one of {listed(LOSSES)}, got 'cross_entropi'; "
            "did you mean 'cross_entropy'?"
        ),
    ),
    (
        "unknown activation",
        "activation: RELU",
        (
            f"2:26: parameters.activation: must be one of {HIDDEN}, got 'RELU'; did you mean "
            "'relu'?"
        ),
    ),
    (
        "unknown optimizer",
        "optimizer: [sgd, adamm]",
        (
            f"2:31: parameters.optimizer[1]: must be one of {listed(OPTIMIZERS)}, got 'adamm'; "
            "did you mean 'adam'?"
        ),
    ),
    (
        "range without a method for it",
        "lr: {min: 0.1, max: 0.01}",
        (
            "2:19: parameters.lr.min: ranges need search.method random or tpe, which this version "
            "has not yet"
        ),
    ),
    (
        "batch larger than the data",
        "batch_size: [64, 2000]",
        "2:31: parameters.batch_size[1]: the batch is larger than the data: 2000 > 1293 examples",
    ),
    (
        "input too small for the network",
        "model: lenet5",
        (
            "2:21: parameters.model: on digits: lenet5 does not fit an input of 1x8x8: "
            "layer 3: conv2d 16 5x5 needs an input of at least 5x5, got 6x4x4"
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("value", "message"), [r[1:] for r in VALUES], ids=[r[0] for r in VALUES])
def test_a_value_that_cannot_be(value: str, message: str, tmp_path: Path) -> None:
    others = {"lr": "lr: 0.1", "model": "model: mlp"}
    others.pop(value.partition(":")[0], None)
    spec = f"name: t\nparameters: {{{value}, {', '.join(others.values())}}}\n"
    assert refused(spec, tmp_path) == [f"s.yaml:{message}"]
