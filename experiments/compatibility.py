"""Which loss goes with which task and output: the one table that plan and catalogue read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

TASKS: Final = ("classification",)
LATER_TASKS: Final = ("binary", "regression", "reconstruction", "segmentation")


@dataclass(frozen=True, slots=True)
class LossRule:
    """What a loss is, and what it goes with.

    `output` is the activation that the loss expects of the network's output: "softmax" is
    part of the loss (the network gives logits), "linear" means the outputs as they are.
    """

    doc: str
    formula: str
    tasks: tuple[str, ...]
    output: str


LOSSES: Final[Mapping[str, LossRule]] = {
    "cross_entropy": LossRule(
        doc="negative log-likelihood of the true class under a softmax of the outputs",
        formula="-log(exp(z_y) / sum_k exp(z_k))",
        tasks=("classification",),
        output="softmax",
    ),
    "mean_squared_error": LossRule(
        doc="squared distance to the one-hot class, averaged over the outputs",
        formula="mean_k (z_k - t_k)^2",
        tasks=("classification",),
        output="linear",
    ),
}

LATER_LOSSES: Final = (
    "mean_absolute_error",
    "mean_squared_logarithmic_error",
    "binary_cross_entropy",
    "kullback_leibler_divergence",
    "hinge",
    "squared_hinge",
)


def head_size(task: str, num_classes: int) -> int:
    """Give the number of outputs that a task needs for so many classes."""
    assert task in TASKS, task
    return num_classes
