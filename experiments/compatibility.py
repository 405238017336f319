"""What goes with what: data sets with tasks, and losses with tasks, outputs and targets.

One table for the plan's refusals, the catalogue and the documentation. The losses as torch
functions are in `workers/losses.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from experiments.architectures.geometry import Shape
from experiments.architectures.layers import Activation
from experiments.data.dataset_facts import DatasetFacts
from experiments.tasks import TASKS

LINEAR: Final = "linear"
SIGMOID: Final = "sigmoid"
SOFTMAX: Final = "softmax"

OUTPUT_ACTIVATIONS: Final[Mapping[str, str]] = {
    LINEAR: "the outputs as they are",
    SIGMOID: "each output brought to 0..1 by itself; where a loss wants the probabilities of "
    "classes, they are divided by their sum",
    SOFTMAX: "the outputs as probabilities that add up to 1: exp(z_k) / sum_j exp(z_j)",
}
"""What is applied to a network's outputs before they are compared. Part of the loss."""

NON_NEGATIVE_TARGETS: Final = "targets of 0 or more"
SIGNED_OUTPUTS: Final = "outputs on both sides of 0"


@dataclass(frozen=True, slots=True)
class LossRule:
    """What a loss is, and what it goes with.

    The network gives raw outputs z; the loss makes y of them by the output activation.

    Attributes:
        doc: One line for people.
        formula: The loss of one example; t are the targets (for classes: 1 for the true one,
            0 for the others; -1 and +1 where `needs` asks for signs), c is the true class.
        compares: What it compares, to follow the loss's name.
        outputs: The output activations that are allowed for each task, the default first.
        source: Where it comes from.
        aliases: Other names that a spec may use.
        needs: `NON_NEGATIVE_TARGETS`, `SIGNED_OUTPUTS`, or nothing.
    """

    doc: str
    formula: str
    compares: str
    outputs: Mapping[str, tuple[str, ...]]
    source: str
    aliases: tuple[str, ...] = ()
    needs: str = ""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Name the tasks that it goes with."""
        return tuple(self.outputs)


_PROBABILITIES: Final = {
    "classification": (SOFTMAX, SIGMOID),
    "segmentation": (SOFTMAX, SIGMOID),
}
_NUMBERS: Final = {
    "regression": (LINEAR,),
    "classification": (LINEAR, SIGMOID, SOFTMAX),
    "binary": (LINEAR, SIGMOID),
    "reconstruction": (LINEAR, SIGMOID),
    "segmentation": (LINEAR, SIGMOID, SOFTMAX),
}
_MARGINS: Final = {"binary": (LINEAR,), "classification": (LINEAR,)}

LOSSES: Final[Mapping[str, LossRule]] = {
    "cross_entropy": LossRule(
        "how surprised the network is by the true class",
        "-log y_c",
        "compares the probabilities of several classes with the true one",
        _PROBABILITIES,
        "Good, Rational Decisions, 1952; Bridle, Probabilistic Interpretation of Feedforward "
        "Classification Network Outputs, 1990",
        aliases=("categorical_cross_entropy",),
    ),
    "binary_cross_entropy": LossRule(
        "how surprised the network is by a yes or a no",
        "-(t log y + (1 - t) log(1 - y)), averaged over the outputs",
        "compares outputs between 0 and 1, each by itself, with 0 and 1",
        {"binary": (SIGMOID,), "reconstruction": (SIGMOID,)},
        "Cox, The Regression Analysis of Binary Sequences, 1958",
        aliases=("logistic",),
    ),
    "mean_squared_error": LossRule(
        "squared distance to the targets",
        "mean_k (y_k - t_k)^2",
        "compares numbers",
        _NUMBERS,
        "Gauss, Theoria Motus, 1809",
        aliases=("euclidean",),
    ),
    "mean_absolute_error": LossRule(
        "distance to the targets; outliers weigh less than squared",
        "mean_k |y_k - t_k|",
        "compares numbers",
        _NUMBERS,
        "Laplace, Sur quelques points du systeme du monde, 1793",
    ),
    "mean_squared_logarithmic_error": LossRule(
        "squared distance of the logarithms: relative errors count; outputs below 0 count as 0 "
        "and learn nothing",
        "mean_k (log(1 + max(0, y_k)) - log(1 + t_k))^2",
        "compares the logarithms of numbers",
        _NUMBERS,
        "Keras, losses: mean squared logarithmic error",
        needs=NON_NEGATIVE_TARGETS,
    ),
    "kullback_leibler_divergence": LossRule(
        "information lost by taking the network's probabilities for the true ones; equals "
        "cross_entropy where one class is true",
        "sum_k t_k log(t_k / y_k), with 0 log 0 = 0",
        "compares the probabilities of several classes with the true ones",
        _PROBABILITIES,
        "Kullback and Leibler, On Information and Sufficiency, 1951",
    ),
    "hinge": LossRule(
        "what is missing to a margin of 1 between right and wrong",
        "max(0, 1 - t y); of N outputs sum_(k != c) max(0, 1 - y_c + y_k) / N",
        "compares outputs of any size with a margin",
        _MARGINS,
        "Cortes and Vapnik, Support-Vector Networks, 1995; of several classes: Weston and "
        "Watkins, Support Vector Machines for Multi-Class Pattern Recognition, 1999",
        needs=SIGNED_OUTPUTS,
    ),
    "squared_hinge": LossRule(
        "the hinge, squared: far from the margin it pulls harder",
        "max(0, 1 - t y)^2; of N outputs sum_(k != c) max(0, 1 - y_c + y_k)^2 / N",
        "compares outputs of any size with a margin",
        _MARGINS,
        "Cortes and Vapnik, Support-Vector Networks, 1995, section 3 (F(u) = u^2)",
        needs=SIGNED_OUTPUTS,
    ),
    "perceptron": LossRule(
        "how far a wrong answer is on the wrong side; with sgd and batch_size 1 a step is "
        "Rosenblatt's rule: add lr t x where the answer is wrong (or 0)",
        "max(0, -t y)",
        "compares the sign of one output with -1 and +1",
        {"binary": (LINEAR,)},
        "Rosenblatt, The Perceptron, 1958; as a loss: Bottou, Online Learning and Stochastic "
        "Approximations, 1998, table 1",
        needs=SIGNED_OUTPUTS,
    ),
}

LOSS_ALIASES: Final[Mapping[str, str]] = {
    alias: name for name, rule in LOSSES.items() for alias in rule.aliases
}

_OUTPUTS_OF_TASK: Final = {
    "classification": "has one output for each class",
    "binary": "has one output",
    "regression": "has real numbers as targets",
    "reconstruction": "has the image itself as target",
    "segmentation": "has a class for each pixel",
}
_TARGETS: Final = {
    "class": "a class for each example",
    "values": "real numbers as targets",
    "mask": "a class for each pixel",
}
_NEVER_NEGATIVE: Final = ("relu", SIGMOID, SOFTMAX)


def output_shape(task: str, data: DatasetFacts) -> Shape:
    """Give the shape of a network's outputs for one example of data that the task can be done on.

    Classification `(N,)`, binary `(1,)`, regression `(T,)`, segmentation `(K, H, W)`,
    reconstruction the input's `(C, H, W)`.
    """
    match task:
        case "classification":
            return (len(data.class_names),)
        case "binary":
            return (1,)
        case "regression":
            return (len(data.target_names),)
        case "segmentation":
            return (len(data.class_names), *data.input_shape[1:])
    assert task == "reconstruction", task
    return data.input_shape


def task_fault(task: str, data: DatasetFacts) -> str | None:
    """Say why a task cannot be done on a data set, and what can; None where it can."""
    fault = _data_fault(task, data)
    possible = [name for name in TASKS if _data_fault(name, data) is None]
    return fault and f"{fault}; tasks for this data: {', '.join(possible)}"


def _data_fault(task: str, data: DatasetFacts) -> str | None:
    wanted = TASKS[task].target
    if task == "reconstruction":
        return None if data.is_images else f"{task} needs images, and {data.name} has plain numbers"
    if wanted != data.target:
        return f"{task} needs {_TARGETS[wanted]}, and {data.name} has {_TARGETS[data.target]}"
    if task == "binary" and len(data.class_names) != 2:
        first, last = data.class_names[0], data.class_names[-1]
        return (
            f"binary needs two classes, and {data.name} has {len(data.class_names)}; name two of "
            f"them, such as data.classes: [{first}, {last}] (the second one is the yes)"
        )
    return None


def losses_for(task: str) -> tuple[str, ...]:
    """Name the losses that go with a task, its default first."""
    default = TASKS[task].loss
    others = (name for name, rule in LOSSES.items() if task in rule.outputs and name != default)
    return (default, *others)


def default_output_activation(loss: str, task: str) -> str:
    """Name what is applied to the outputs unless a spec says otherwise."""
    outputs = LOSSES[loss].outputs
    return outputs.get(task, next(iter(outputs.values())))[0]


def loss_fault(
    loss: str, *, task: str, output_activation: str, data: DatasetFacts, last: Activation | None
) -> str | None:
    """Say why a loss does not go with the rest of a trial, and the mend; None where it does.

    Args:
        loss: A key of `LOSSES`.
        task: A key of `TASKS`.
        output_activation: A key of `OUTPUT_ACTIVATIONS`.
        data: The data set.
        last: The function whose values are the network's outputs, if there is one.
    """
    rule = LOSSES[loss]
    if task not in rule.outputs:
        return (
            f"{loss} {rule.compares}, and the task {task} {_OUTPUTS_OF_TASK[task]}; "
            f"losses for it: {', '.join(losses_for(task))}"
        )
    allowed = rule.outputs[task]
    if output_activation not in allowed:
        return (
            f"{loss} {rule.compares}, so for the task {task} the output_activation must be "
            f"{' or '.join(allowed)}, got {output_activation}"
        )
    if rule.needs == NON_NEGATIVE_TARGETS and data.negative_targets:
        return (
            f"{loss} takes the logarithm of 1 + target, so it needs {rule.needs}, and "
            f"{data.name} has targets below 0; use mean_squared_error or mean_absolute_error"
        )
    return None if last is None else _end_fault(loss, task, output_activation, last.name)


def _end_fault(loss: str, task: str, output_activation: str, name: str) -> str | None:
    """Find that the function at the network's end spoils what the loss makes of the outputs."""
    if name == "step":
        return (
            "the network ends in step, which has no gradient, so nothing would be learned; leave "
            "it out (answers are taken from the outputs' signs anyway)"
        )
    if name in (SIGMOID, SOFTMAX) and output_activation != LINEAR:
        return (
            f"the network ends in {name}, and {loss} applies {output_activation} to its outputs "
            f"again; leave the layer out (output_activation says what is applied)"
        )
    if LOSSES[loss].needs == SIGNED_OUTPUTS and task == "binary" and name in _NEVER_NEGATIVE:
        return (
            f"{loss} needs {SIGNED_OUTPUTS}, and the network ends in {name}, which is never "
            "below 0; leave the layer out"
        )
    return None
