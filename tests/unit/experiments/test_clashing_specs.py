"""Specs that are fine line by line, and ask for what does not go together."""

from pathlib import Path

import pytest

from experiments.data.datasets import DATASETS
from experiments.tasks import TASKS
from tests.refusals import FINITE_RATE, KNOWN_MODELS, listed, refused

CLASHES: list[tuple[str, str, list[str]]] = [
    (
        "class counts",
        "parameters: {lr: 0.1, model: {name: own, layers: [flatten, {linear: 3}]}}",
        [
            (
                "2:60: parameters.model.layers[1]: on digits: own ends in 3 where the "
                "task needs 10; end it with flatten and linear: classes"
            )
        ],
    ),
    (
        "two classes wanted, ten there",
        "task: binary\nparameters: {lr: 0.1, model: mlp}",
        [
            (
                "1:1: data: binary needs two classes, and digits has 10; name two of them, such as "
                "data.classes: [0, 9] (the second one is the yes); tasks for this data: "
                "classification, reconstruction"
            )
        ],
    ),
    (
        "a loss of another task",
        "parameters: {lr: 0.1, model: mlp, loss: [cross_entropy, binary_cross_entropy]}",
        [
            (
                "2:57: parameters.loss[1]: binary_cross_entropy compares outputs between 0 and 1, "
                "each by itself, with 0 and 1, and the task classification has one output for each "
                "class; losses for it: cross_entropy, mean_squared_error, mean_absolute_error, "
                "mean_squared_logarithmic_error, kullback_leibler_divergence, hinge, squared_hinge"
            )
        ],
    ),
    (
        "cross entropy of one output",
        ("task: binary\ndata: {name: digits, classes: [3, 8]}\n"
        "parameters: {lr: 0.1, model: logistic_regression, loss: cross_entropy}"),
        [
            (
                "4:57: parameters.loss: cross_entropy compares the probabilities of several "
                "classes with the true one, and the task binary has one output; losses for it: "
                "binary_cross_entropy, mean_squared_error, mean_absolute_error, "
                "mean_squared_logarithmic_error, hinge, squared_hinge, perceptron"
            )
        ],
    ),
    (
        "cross entropy of linear outputs",
        "parameters: {lr: 0.1, model: mlp, output_activation: linear}",
        [
            (
                "2:54: parameters.output_activation: cross_entropy compares the probabilities of "
                "several classes with the true one, so for the task classification the "
                "output_activation must be softmax or sigmoid, got linear"
            )
        ],
    ),
    (
        "double softmax",
        "parameters: {lr: 0.1, model: {name: own, layers: [flatten, {linear: classes}, softmax]}}",
        [
            (
                "2:30: parameters.model: the network ends in softmax, and cross_entropy applies "
                "softmax to its outputs again; leave the layer out (output_activation says what is "
                "applied)"
            )
        ],
    ),
    (
        "double softmax behind layers that keep values",
        ("parameters:\n  lr: 0.1\n  model:\n"
        "  - {name: a, layers: [flatten, {linear: classes}, softmax, {dropout: 0.5}]}\n"
        "  - {name: b, layers: [{conv2d: {out_channels: 10, kernel_size: 8}}, softmax, flatten]}"),
        [
            (
                f"{place} the network ends in softmax, and cross_entropy applies "
                "softmax to its outputs again; leave the layer out (output_activation says what is "
                "applied)"
            )
            for place in ("5:5: parameters.model[0]:", "6:5: parameters.model[1]:")
        ],
    ),
    (
        "double softmax of every pixel",
        ("task: segmentation\ndata: {name: digit_scenes, examples: 100}\n"
        "parameters: {lr: 0.1, model: {name: own, layers: [{max_pool2d: 2}, "
        "{conv2d: {out_channels: classes, kernel_size: 1}}, softmax, {upsample: 2}]}}"),
        [
            (
                "4:30: parameters.model: the network ends in softmax, and cross_entropy applies "
                "softmax to its outputs again; leave the layer out (output_activation says what is "
                "applied)"
            )
        ],
    ),
    (
        "double sigmoid before a flatten",
        ("task: binary\ndata: {name: digits, classes: [3, 8]}\nparameters: {lr: 0.1, model: "
        "{name: own, layers: [{conv2d: {out_channels: 1, kernel_size: 8}}, sigmoid, flatten]}}"),
        [
            (
                "4:30: parameters.model: the network ends in sigmoid, and binary_cross_entropy "
                "applies sigmoid to its outputs again; leave the layer out (output_activation says "
                "what is applied)"
            )
        ],
    ),
    (
        "softmax of one output",
        ("task: regression\ndata: sunshine\n"
        "parameters: {lr: 0.1, model: {name: own, layers: [{linear: classes}, softmax]}}"),
        [
            (
                "4:30: parameters.model: the network ends in softmax of a single output, which is "
                "1 whatever the input; leave the layer out"
            )
        ],
    ),
    (
        "softmax of one output for a yes or no",
        ("task: binary\ndata: {name: digits, classes: [3, 8]}\nparameters: {lr: 0.1, "
        "loss: hinge, model: {name: own, layers: [flatten, {linear: 1}, softmax]}}"),
        [
            (
                "4:43: parameters.model: the network ends in softmax of a single output, which is "
                "1 whatever the input; leave the layer out"
            )
        ],
    ),
    (
        "nothing to learn",
        ("task: reconstruction\n"
        "parameters: {lr: 0.1, model: {name: own, layers: [{max_pool2d: 2}, {upsample: 2}]}}"),
        [
            (
                "3:30: parameters.model: own has nothing to learn: no layer of it has weights that "
                "are trained; add one, such as linear"
            )
        ],
    ),
    (
        "logarithms of negative targets",
        ("task: regression\ndata: sunshine\n"
        "parameters: {lr: 0.1, model: linear_regression, loss: mean_squared_logarithmic_error}"),
        [
            (
                "4:55: parameters.loss: mean_squared_logarithmic_error takes the logarithm of 1 + "
                "target, so it needs targets of 0 or more, and sunshine has targets below 0; use "
                "mean_squared_error or mean_absolute_error"
            )
        ],
    ),
    (
        "a model of another task",
        "parameters: {lr: 0.1, model: [mlp, linear_regression]}",
        [
            (
                "2:36: parameters.model[1]: linear_regression does regression, not classification; "
                "models for classification: softmax_regression, mlp, maxout, keras_convnet, "
                "lenet5, alexnet, vgg, resnet, plain, locally_connected"
            )
        ],
    ),
    (
        "moving plain numbers",
        ("task: regression\ndata: sunshine\n"
        "parameters: {lr: 0.1, model: linear_regression, augmentation: flip}"),
        [
            (
                "4:63: parameters.augmentation: flip changes images, and sunshine has plain "
                "numbers"
            )
        ],
    ),
    (
        "a crop larger than the images",
        "data: {name: digits, crop: 9}\nparameters: {lr: 0.1, model: mlp}",
        ["2:28: data.crop: a crop of 9x9 does not fit into images of 8x8"],
    ),
    (
        "weights from an address",
        "parameters: {lr: 0.1, model: mlp, init: {from: 'https://x.org/w.pt'}}",
        ["2:41: parameters.init: no store to look for 'https://x.org/w.pt' in"],
    ),
    (
        "nothing left to validate on",
        ("data: {name: digits, limit: 8, val_fraction: 0.01}\n"
        "parameters: {lr: 0.1, model: mlp, batch_size: 4}"),
        [
            (
                "2:7: data: val_fraction 0.01 of 8 examples leaves 8 to train and 0 to validate; "
                "both need one"
            )
        ],
    ),
    (
        "a grid beyond the limit",
        "parameters: {model: mlp, lr: [0.1, 0.2], batch_size: [8, 16]}\nseeds: 2501",
        [
            (
                "parameters: 4 points x 2501 seeds are 10004 trials, more than 10000; vary "
                "less, or set execution.max_trials"
            )
        ],
    ),
    (
        "everything excluded",
        "parameters: {model: mlp, lr: [0.1, 0.2]}\nexclude: [{model: mlp}]",
        ["parameters: no variant is left to train"],
    ),
    (
        "no model",
        "parameters: {lr: 0.1}",
        [
            (
                "parameters: the hyperparameter 'model' is missing (every variant needs one); "
                "give it in defaults or parameters"
            )
        ],
    ),
    (
        "no rate",
        "parameters: {model: mlp}",
        [
            (
                "parameters: the hyperparameter 'lr' is missing (every variant needs one); "
                "give it in defaults or parameters"
            )
        ],
    ),
    (
        "a value that MLflow cannot keep",
        f"parameters: {{lr: 0.1, model: [mlp, {{name: mlp, hidden: [{'1000000, ' * 800}1]}}]}}",
        [
            (
                "2:36: parameters.model[1]: its name in tables, mlp hidden=1000000-1000000-1000000"
                "-10000..., has 6412 characters, and MLflow keeps 6000; write it out under layers, "
                "with a short name"
            )
        ],
    ),
    (
        "too many layers",
        (
            "parameters: {lr: 0.1, model: {name: own, layers: [flatten, "
            f"{'relu, ' * 2000}{{linear: classes}}]}}}}"
        ),
        ["2:50: parameters.model.layers: takes at most 2000 layers, got 2002"],
    ),
    (
        "many at once, in the order of the text",
        (
            "task: regresion\ndata: {name: mnst, limit: 1}\nseeds: x\nparameters:\n"
            "  lr: [0.1, -1]\n  model: mpl"
        ),
        [
            (
                f"2:7: task: must be one of {listed(TASKS)}, got 'regresion'; "
                "did you mean 'regression'?"
            ),
            (
                "3:14: data.name: unknown data set 'mnst'; did you mean 'mnist'?; "
                f"known data sets: {listed(DATASETS)}"
            ),
            "3:27: data.limit: must be an integer of at least 2, got 1",
            (
                "4:8: seeds: must be a number of seeds from 1 to 10000, or a list of seeds from 0 "
                "to 4294967295, got 'x'"
            ),
            f"6:13: parameters.lr[1]: {FINITE_RATE}, got -1",
            (
                "7:10: parameters.model: unknown model 'mpl'; did you mean 'mlp'?; "
                f"{KNOWN_MODELS}"
            ),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "faults"), [r[1:] for r in CLASHES], ids=[r[0] for r in CLASHES])
def test_what_does_not_go_together(spec: str, faults: list[str], tmp_path: Path) -> None:
    separator = [":" if fault[:1].isdigit() else ": " for fault in faults]
    expected = [f"s.yaml{mark}{fault}" for mark, fault in zip(separator, faults, strict=True)]
    assert refused(f"name: t\n{spec}\n", tmp_path) == expected
