"""What must not be in a spec: each is refused with file, line, column and field, in full.

Single values are in `test_bad_values.py`, what does not go together in `test_clashing_specs.py`.
"""

from pathlib import Path

import pytest

from experiments.data.datasets import DATASETS
from experiments.hyperparameters import HYPERPARAMETERS
from experiments.tasks import TASKS
from tests.refusals import NAME, listed, refused

KEYS = (
    "version, name, description, tags, task, data, objective, search, seeds, early_stop, "
    "resources, execution, checkpoints, defaults, parameters, zip, exclude, include"
)
FOLDER = "must be a path below the data root, such as photos/bikes, without '..'"

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
        "s.yaml:1:1: a spec is a mapping with keys such as name, got 'name'",
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
            f"3:7: task: must be one of {listed(TASKS)}, got 'clasification'; "
            "did you mean 'classification'?"
        ),
    ),
    (
        "unknown data set",
        "data: {name: mnst}",
        (
            "3:14: data.name: unknown data set 'mnst'; did you mean 'mnist'?; "
            f"known data sets: {listed(DATASETS)}"
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
            "retries, max_losses, stall_timeout, max_failed_trials, reuse, priority, strategy, "
            "precision, max_trials"
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
        f"3:7: data: unknown data set 'https://x.org/a.zip'; known data sets: {listed(DATASETS)}",
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
            f"'momentum'?; known: {listed(HYPERPARAMETERS)}"
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


@pytest.mark.parametrize(
    "name",
    ["..", "a..b", "../a", "a/b", "/a", "", " ", "-a", "a b", "a\u202eb", "é", "a" * 201],
)
def test_a_name_that_is_none(name: str, tmp_path: Path) -> None:
    spec = f"name: '{name}'\nparameters: {{model: mlp, lr: 0.1}}\n"
    shown = repr(name) if len(name) < 78 else f"{name!r}"[:77] + "..."
    assert refused(spec, tmp_path) == [f"s.yaml:1:7: name: {NAME}, got {shown}"]
