"""What must not be in a spec: each is refused with file, line, column and field, in full.

Nothing here is looked up in the code under test but lists of known names.
"""

from pathlib import Path

import pytest

from experiments.compatibility import LOSSES
from experiments.datasets import DATASETS
from experiments.descent import OPTIMIZERS
from experiments.errors import SpecError
from experiments.hyperparameters import HYPERPARAMETERS
from experiments.layer_language import layer_names
from experiments.plan import make_plan
from experiments.records import Resources
from experiments.spec import read_spec
from experiments.tasks import TASKS
from experiments.zoo import models

MACHINE = Resources(cpus=2, gpus=0.0)
KEYS = (
    "version, name, description, tags, task, data, objective, search, seeds, early_stop, "
    "resources, execution, checkpoints, defaults, parameters, zip, exclude, include"
)
FINITE = "must be a finite number > 0 and <= 10000"
NAME = "must be a name of 1 to 200 characters: letters, digits, and . _ + - after the first"
FOLDER = "must be a path below the data root, such as photos/bikes, without '..'"
HIDDEN = "relu, leaky_relu, tanh, sigmoid, linear, gelu, silu, elu, step"


def known(table: object) -> str:
    return ", ".join(table)  # type: ignore[arg-type]


def refused(spec: str | bytes, folder: Path) -> list[str]:
    """Plan a spec as the command line does, from a file; give all its faults."""
    path = folder / "s.yaml"
    path.write_bytes(spec if isinstance(spec, bytes) else spec.encode())
    with pytest.raises(SpecError) as caught:
        make_plan(read_spec(path), data_root=folder / "data", capacity=MACHINE)
    assert caught.value.exit_code == 3
    assert [found.name for found in folder.iterdir()] == ["s.yaml"]  # nothing was written
    return str(caught.value).replace(str(path), "s.yaml").splitlines()


TEXTS: list[tuple[str, str | bytes, str]] = [
    ("empty file", "", "s.yaml:1:1: the spec is empty"),
    ("blank file", " \n# nothing\n", "s.yaml:1:1: the spec is empty"),
    (
        "list at the root",
        "- name: t\n",
        "s.yaml:1:1: a spec is a mapping with keys such as name, got a list",
    ),
    (
        "text at the root",
        "name\n",
        "s.yaml:1:1: a spec is a mapping with keys such as name, got a scalar",
    ),
    (
        "tab",
        "name: t\nparameters:\n\tmodel: mlp\n",
        "s.yaml:3:1: not YAML: a tab cannot indent YAML; use spaces",
    ),
    ("not UTF-8", "name: größe\n".encode("latin-1"), "s.yaml:1:9: not UTF-8: byte 0xf6"),
    ("NUL", "name: t\nseeds: [\0]\n", "s.yaml:2:9: not YAML: the character U+0000 is not allowed"),
    ("escape", "name: \x1b[2J\n", "s.yaml:1:7: not YAML: the character U+001B is not allowed"),
    (
        "over 1 MiB",
        "#" * (1024 * 1024 + 1),
        "s.yaml:1:1: a spec is at most 1048576 bytes, got 1048577",
    ),
    (
        "too many values",
        f"a: [{'1,' * 50_000}]\n",
        "s.yaml:1:99999: a[49997]: a spec holds at most 50000 keys and values",
    ),
    ("too deep", "a: " + "[" * 60 + "]" * 60, "s.yaml:1:54: a" + "[0]" * 50 +
     ": nested deeper than 50 levels"),
    (
        "alias",
        "name: t\ndefaults: &d {lr: 1}\nparameters: *d\n",
        (
            "s.yaml:2:11: defaults: anchors are not allowed, got &d; write the value out\n"
            "s.yaml:3:13: parameters: aliases are not allowed, got *d; write the value out"
        ),
    ),
    (
        "tag",
        "name: !!python/object:os.system t\n",
        "s.yaml:1:7: name: tags are not allowed, got !!python/object:os.system",
    ),
    (
        "duplicate key",
        "name: t\nparameters:\n  lr: 0.1\n  model: mlp\n  lr: 0.2\n",
        "s.yaml:5:3: parameters.lr: duplicate key: first given at 3:3",
    ),
    (
        "two documents",
        "name: t\n---\nname: u\n",
        "s.yaml:2:1: one document a spec: a second one starts here",
    ),
    ("key that is a list", "[a]: 1\n", "s.yaml:1:1: keys are text, got a list"),
    (
        "overlong key",
        f"name: t\n{'k' * 201}: 1\n",
        "s.yaml:2:1: a key has at most 200 characters, got 201",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "message"), [row[1:] for row in TEXTS], ids=[r[0] for r in TEXTS])
def test_a_text_that_is_no_spec(spec: str | bytes, message: str, tmp_path: Path) -> None:
    assert refused(spec, tmp_path) == message.split("\n")


# Each line stands as the third one, below a name and parameters that are fine.
LINES: list[tuple[str, str, str]] = [
    (
        "unknown key",
        "defualts: {lr: 1}",
        f"3:1: defualts: unknown key 'defualts'; did you mean 'defaults'?; known keys: {KEYS}",
    ),
    ("unknown version", "version: 2", "3:10: version: must be an integer from 1 to 1, got 2"),
    (
        "unknown task",
        "task: clasification",
        (
            f"3:7: task: must be one of {known(TASKS)}, got 'clasification'; "
            "did you mean 'classification'?"
        ),
    ),
    (
        "unknown data set",
        "data: {name: mnst}",
        (
            "3:14: data.name: unknown data set 'mnst'; did you mean 'mnist'?; "
            f"known data sets: {known(DATASETS)}"
        ),
    ),
    (
        "unknown option of a data set",
        "data: {name: digits, sizes: 20}",
        (
            "3:22: data: unknown key 'sizes'; did you mean 'resize'?; known keys: name, classes, "
            "resize, crop, noise, label_noise, normalise, val_fraction, split_seed, limit"
        ),
    ),
    (
        "unknown class",
        "data: {name: cifar10, classes: [cat, dgo]}",
        (
            "3:38: data.classes[1]: cifar10 has no class 'dgo'; did you mean 'dog'?; its classes: "
            "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"
        ),
    ),
    (
        "doubled class",
        "data: {name: cifar10, classes: [cat, cat]}",
        "3:38: data.classes[1]: the class 'cat' stands here twice",
    ),
    (
        "unknown metric",
        "objective: {metric: val/acuracy}",
        (
            "3:21: objective.metric: must be one of val/accuracy, val/error, val/precision, "
            "val/recall, val/f1, val/loss, got 'val/acuracy'; did you mean 'val/accuracy'?"
        ),
    ),
    (
        "wrong goal",
        "objective: {metric: val/loss, goal: maximize}",
        (
            "3:37: objective.goal: val/loss is better when it goes the other way: "
            "must be minimize, got 'maximize'"
        ),
    ),
    (
        "seed out of range",
        "seeds: [0, 4294967296]",
        "3:12: seeds[1]: must be an integer from 0 to 4294967295, got 4294967296",
    ),
    ("doubled seed", "seeds: [3, 3]", "3:12: seeds[1]: the seed 3 is given twice"),
    (
        "no seed",
        "seeds: 0",
        (
            "3:8: seeds: must be a number of seeds from 1 to 10000, or a list of seeds from 0 to "
            "4294967295, got 0"
        ),
    ),
    (
        "more CPUs than there are",
        "resources: {cpus: 3}",
        "3:12: resources.cpus: a worker cannot have 3 cpus: this machine has 2",
    ),
    (
        "a GPU where there is none",
        "resources: {gpus: 0.5}",
        "3:12: resources.gpus: a worker cannot have 0.5 gpus: this machine has 0",
    ),
    (
        "more CPUs than anybody has",
        "resources: {cpus: 5000}",
        "3:19: resources.cpus: must be an integer from 1 to 1024, got 5000",
    ),
    (
        "parts of several GPUs",
        "resources: {gpus: 1.5}",
        (
            "3:19: resources.gpus: a share of a GPU is below 1; more than one are whole GPUs, "
            "got 1.5"
        ),
    ),
    (
        "nested unknown key",
        "execution: {timeuot: 5m}",
        (
            "3:13: execution: unknown key 'timeuot'; did you mean 'timeout'?; known keys: timeout, "
            "retries, max_failed_trials, priority, precision, max_trials"
        ),
    ),
    (
        "no unit of time",
        "execution: {timeout: 20}",
        (
            "3:22: execution.timeout: must be a positive duration such as 90s, 20m, 1.5h or 2d, "
            "got 20"
        ),
    ),
    ("path upwards", "data: {name: image_folder, path: ../x}",
     f"3:34: data.path: {FOLDER}, got '../x'"),
    ("path from the root", "data: {name: image_folder, path: /etc}",
     f"3:34: data.path: {FOLDER}, got '/etc'"),
    ("path upwards in the middle", "data: {name: image_folder, path: a/../../x}",
     f"3:34: data.path: {FOLDER}, got 'a/../../x'"),
    ("path of another system", "data: {name: image_folder, path: 'C:\\x'}",
     f"3:34: data.path: {FOLDER}, got 'C:\\\\x'"),
    ("address as path", "data: {name: image_folder, path: 'https://x.org/a'}",
     f"3:34: data.path: {FOLDER}, got 'https://x.org/a'"),
    (
        "address as data set",
        "data: https://x.org/a.zip",
        f"3:7: data: unknown data set 'https://x.org/a.zip'; known data sets: {known(DATASETS)}",
    ),
    (
        "steering character in a text",
        'description: "right \\u202e left"',
        "3:14: description: holds the character U+202E, which is not allowed",
    ),
    (
        "control character in a tag",
        'tags: {team: "a\\e[2J"}',
        (
            "3:14: tags.team: must be a text of at most 1000 characters, none of them for "
            "control, or an integer, or a finite number, or true or false, got 'a\\x1b[2J'"
        ),
    ),
    ("tag that is no name", "tags: {a b: c}", f"3:8: tags.a b: {NAME}, got 'a b'"),
    (
        "mapping where a list belongs",
        "exclude: {lr: 0.1}",
        "3:10: exclude: must be a list of mappings, got {'lr': 0.1}",
    ),
    (
        "unknown hyperparameter in a list",
        "exclude: [{lr: 0.2}, {momentun: 0.9}]",
        (
            "3:23: exclude[1].momentun: unknown hyperparameter 'momentun'; did you mean "
            f"'momentum'?; known: {known(HYPERPARAMETERS)}"
        ),
    ),
    (
        "unknown model in a condition",
        "exclude: [{model: {name: vgg61}}]",
        "3:26: exclude[0].model: vgg has the depths 11, 13, 16, 19, got 61",
    ),
    (
        "unequal lists",
        "zip: [{momentum: [0.5, 0.9], epochs: [1, 2, 3]}]",
        (
            "3:7: zip[0]: lists that vary together are equally long: momentum has 2, "
            "epochs has 3"
        ),
    ),
    (
        "bad value in a zip",
        "zip: [{momentum: [0.5, 1.0], epochs: [1, 2]}]",
        "3:24: zip[0].momentum[1]: must be a finite number >= 0 and < 1, got 1.0",
    ),
    (
        "varied twice",
        "zip: [{lr: [0.1]}]",
        "3:8: zip[0]: 'lr' varies already in parameters.lr",
    ),
    (
        "bad value in an included point",
        "include: [{epochs: 3}, {epochs: 0}]",
        "3:33: include[1].epochs: must be an integer from 1 to 100000, got 0",
    ),
    (
        "a label twice",
        "include: [{epochs: 3, label: a}, {epochs: 4, label: a}]",
        "3:53: include[1].label: the label 'a' is taken by include[0]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), [row[1:] for row in LINES], ids=[r[0] for r in LINES])
def test_a_line_that_cannot_be(line: str, message: str, tmp_path: Path) -> None:
    spec = f"name: t\nparameters: {{model: mlp, lr: 0.1}}\n{line}\n"
    assert refused(spec, tmp_path) == [f"s.yaml:{message}"]


# Each stands as `parameters: {lr: 0.1, model: mlp, ...}`, in the place of what it names.
VALUES: list[tuple[str, str, str]] = [
    ("not a number", "lr: .nan", f"2:18: parameters.lr: {FINITE}, got .nan"),
    ("infinite", "lr: [0.1, .inf]", f"2:24: parameters.lr[1]: {FINITE}, got .inf"),
    ("zero rate", "lr: 0", f"2:18: parameters.lr: {FINITE}, got 0"),
    ("text for a number", "lr: fast", f"2:18: parameters.lr: {FINITE}, got 'fast'"),
    ("one e3 as text", "lr: '1e-3'", f"2:18: parameters.lr: {FINITE}, got '1e-3'"),
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
            f"known models: {known(models())}; torchvision/<name>; or write it out under layers"
        ),
    ),
    (
        "address as model",
        "model: https://x.org/m.pt",
        (
            f"2:21: parameters.model: unknown model 'https://x.org/m.pt'; "
            f"known models: {known(models())}; torchvision/<name>; or write it out under layers"
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
            f"known layers: {known(layer_names())}"
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
            f"2:20: parameters.loss: must be one of {known(LOSSES)}, got 'cross_entropi'; "
            "did you mean 'cross_entropy'?"
        ),
    ),
    (
        "unknown activation",
        "activation: RELU",
        f"2:26: parameters.activation: must be one of {HIDDEN}, got 'RELU'",
    ),
    (
        "unknown optimizer",
        "optimizer: [sgd, adamm]",
        (
            f"2:31: parameters.optimizer[1]: must be one of {known(OPTIMIZERS)}, got 'adamm'; "
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


@pytest.mark.parametrize(
    "name",
    ["..", "a..b", "../a", "a/b", "/a", "", " ", "-a", "a b", "a\u202eb", "é", "a" * 201],
)
def test_a_name_that_is_none(name: str, tmp_path: Path) -> None:
    spec = f"name: '{name}'\nparameters: {{model: mlp, lr: 0.1}}\n"
    shown = repr(name) if len(name) < 78 else f"{name!r}"[:77] + "..."
    assert refused(spec, tmp_path) == [f"s.yaml:1:7: name: {NAME}, got {shown}"]


# Each is fine line by line; what it asks for does not go together.
CLASHES: list[tuple[str, str, list[str]]] = [
    (
        "class counts",
        "parameters: {lr: 0.1, model: {name: own, layers: [flatten, {linear: 3}]}}",
        [
            (
                "2:30: parameters.model: on digits: own ends in 3 where the task needs 10; "
                "end it with flatten and linear: classes"
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
        ["2:28: data.crop: must fit into images of 8x8, got 9x9"],
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
                "-1000..., has 6413 characters, and MLflow keeps 6000; write it out under layers, "
                "with a short name"
            )
        ],
    ),
    (
        "many at once, in the order of the text",
        (
            "task: regresion\ndata: {name: mnst, limit: 1}\nseeds: x\nparameters:\n"
            "  lr: [0.1, -1]\n  model: mpl"
        ),
        [
            (
                f"2:7: task: must be one of {known(TASKS)}, got 'regresion'; "
                "did you mean 'regression'?"
            ),
            (
                "3:14: data.name: unknown data set 'mnst'; did you mean 'mnist'?; "
                f"known data sets: {known(DATASETS)}"
            ),
            "3:27: data.limit: must be an integer of at least 2, got 1",
            (
                "4:8: seeds: must be a number of seeds from 1 to 10000, or a list of seeds from 0 "
                "to 4294967295, got 'x'"
            ),
            f"6:13: parameters.lr[1]: {FINITE}, got -1",
            (
                "7:10: parameters.model: unknown model 'mpl'; did you mean 'mlp'?; "
                f"known models: {known(models())}; torchvision/<name>; or write it out under layers"
            ),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "faults"), [r[1:] for r in CLASHES], ids=[r[0] for r in CLASHES])
def test_what_does_not_go_together(spec: str, faults: list[str], tmp_path: Path) -> None:
    separator = [":" if fault[:1].isdigit() else ": " for fault in faults]
    expected = [f"s.yaml{mark}{fault}" for mark, fault in zip(separator, faults, strict=True)]
    assert refused(f"name: t\n{spec}\n", tmp_path) == expected
