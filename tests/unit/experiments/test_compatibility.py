from dataclasses import replace

import pytest

from experiments.architectures.geometry import Shape
from experiments.architectures.layers import Activation
from experiments.compatibility import (
    LOSS_ALIASES,
    LOSSES,
    OUTPUT_ACTIVATIONS,
    default_output_activation,
    loss_fault,
    losses_for,
    output_shape,
    task_fault,
)
from experiments.data.dataset_facts import DatasetFacts
from experiments.tasks import TASKS

TEN = tuple(map(str, range(10)))
DIGITS = DatasetFacts("digits", (1, 8, 8), TEN, 100, 20, "0")
PAIR = replace(DIGITS, name="pair", class_names=("cat", "dog"))
SUNSHINE = DatasetFacts("sunshine", (1,), (), 100, 20, "0", "values", ("temperature",))
FROST = replace(SUNSHINE, name="frost", negative_targets=True)
SCENES = DatasetFacts("scenes", (1, 64, 48), ("background", *TEN), 100, 20, "0", "mask")
TOO_HOT = DatasetFacts("too_hot", (1,), ("fine", "too hot"), 100, 20, "0")
DATA = {
    "classification": DIGITS,
    "binary": PAIR,
    "regression": SUNSHINE,
    "reconstruction": DIGITS,
    "segmentation": SCENES,
}


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        ("classification", (10,)),
        ("binary", (1,)),
        ("regression", (1,)),
        ("reconstruction", (1, 8, 8)),
        ("segmentation", (11, 64, 48)),
    ],
)
def test_a_task_decides_the_shape_of_the_outputs(task: str, shape: Shape) -> None:
    assert task_fault(task, DATA[task]) is None
    assert output_shape(task, DATA[task]) == shape


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        (
            "binary",
            DIGITS,
            (
                "binary needs two classes, and digits has 10; name two of them, such as "
                "data.classes: [0, 9] (the second one is the yes); tasks for this data: "
                "classification, reconstruction"
            ),
        ),
        (
            "classification",
            SUNSHINE,
            (
                "classification needs a class for each example, and sunshine has real numbers as "
                "targets; tasks for this data: regression"
            ),
        ),
        (
            "regression",
            TOO_HOT,
            (
                "regression needs real numbers as targets, and too_hot has a class for each "
                "example; tasks for this data: classification, binary"
            ),
        ),
        (
            "segmentation",
            DIGITS,
            (
                "segmentation needs a class for each pixel, and digits has a class for each "
                "example; tasks for this data: classification, reconstruction"
            ),
        ),
        (
            "reconstruction",
            TOO_HOT,
            (
                "reconstruction needs images, and too_hot has plain numbers; tasks for this data: "
                "classification, binary"
            ),
        ),
    ],
)
def test_a_task_that_the_data_has_no_targets_for_is_refused(
    task: str, data: DatasetFacts, message: str
) -> None:
    assert task_fault(task, data) == message


def fault(
    loss: str,
    task: str,
    output: str | None = None,
    *,
    data: DatasetFacts | None = None,
    last: Activation | None = None,
) -> str | None:
    output = output or default_output_activation(loss, task)
    data = data or DATA[task]
    return loss_fault(loss, task=task, output_activation=output, data=data, last=last)


@pytest.mark.parametrize("task", TASKS)
def test_every_loss_goes_with_its_tasks_and_outputs_and_with_no_others(task: str) -> None:
    for loss, rule in LOSSES.items():
        good = [output for output in OUTPUT_ACTIVATIONS if fault(loss, task, output) is None]
        assert set(good) == set(rule.outputs.get(task, ()))
    assert losses_for(task)[0] == TASKS[task].loss
    assert set(losses_for(task)) == {name for name in LOSSES if task in LOSSES[name].tasks}


def test_a_loss_of_classes_on_one_output_is_refused() -> None:
    assert fault("cross_entropy", "binary") == (
        "cross_entropy compares the probabilities of several classes with the true one, and the "
        "task binary has one output; losses for it: binary_cross_entropy, mean_squared_error, "
        "mean_absolute_error, mean_squared_logarithmic_error, hinge, squared_hinge, perceptron"
    )


def test_an_output_that_the_loss_cannot_read_is_refused() -> None:
    assert fault("cross_entropy", "classification", "linear") == (
        "cross_entropy compares the probabilities of several classes with the true one, so for "
        "the task classification the output_activation must be softmax or sigmoid, got linear"
    )


def test_the_logarithmic_loss_takes_no_targets_below_0() -> None:
    loss = "mean_squared_logarithmic_error"
    assert fault(loss, "regression", data=SUNSHINE) is None
    assert fault(loss, "regression", data=FROST) == (
        "mean_squared_logarithmic_error takes the logarithm of 1 + target, so it needs targets "
        "of 0 or more, and frost has targets below 0; use mean_squared_error or "
        "mean_absolute_error"
    )


@pytest.mark.parametrize(
    ("loss", "task", "last", "message"),
    [
        (
            "cross_entropy",
            "classification",
            "softmax",
            (
                "the network ends in softmax, and cross_entropy applies softmax to its outputs "
                "again; leave the layer out (output_activation says what is applied)"
            ),
        ),
        (
            "binary_cross_entropy",
            "binary",
            "sigmoid",
            (
                "the network ends in sigmoid, and binary_cross_entropy applies sigmoid to its "
                "outputs again; leave the layer out (output_activation says what is applied)"
            ),
        ),
        (
            "hinge",
            "binary",
            "sigmoid",
            (
                "hinge needs outputs on both sides of 0, and the network ends in sigmoid, which is "
                "never below 0; leave the layer out"
            ),
        ),
        (
            "perceptron",
            "binary",
            "step",
            (
                "the network ends in step, which has no gradient, so nothing would be learned; "
                "leave it out (answers are taken from the outputs' signs anyway)"
            ),
        ),
    ],
)
def test_an_activation_at_the_end_that_spoils_the_loss_is_refused(
    loss: str, task: str, last: str, message: str
) -> None:
    assert fault(loss, task, last=Activation(last)) == message


@pytest.mark.parametrize(
    ("loss", "task", "last"),
    [
        ("mean_squared_error", "classification", Activation("softmax")),
        ("mean_squared_error", "reconstruction", Activation("sigmoid")),
        ("hinge", "classification", Activation("softmax")),
        ("hinge", "binary", Activation("tanh")),
    ],
)
def test_other_functions_at_the_end_are_fine(loss: str, task: str, last: Activation) -> None:
    assert fault(loss, task, last=last) is None


def test_aliases_are_no_names_of_other_losses() -> None:
    assert set(LOSS_ALIASES.values()) <= set(LOSSES)
    assert not set(LOSS_ALIASES) & set(LOSSES)
