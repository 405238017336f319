"""The tasks: what a network is to do, on which targets, and what it is measured by.

One table for the plan, the engine, the objective and the catalogue. What a loss expects of
outputs is in `compatibility.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MAXIMIZE: Final = "maximize"
MINIMIZE: Final = "minimize"


@dataclass(frozen=True, slots=True)
class Metric:
    """A number measured over a whole split.

    `goal` says which way is better; no value lies below `least` or above `most`.
    """

    doc: str
    formula: str
    goal: str
    least: float = 0.0
    most: float = 1.0


METRICS: Final[Mapping[str, Metric]] = {
    "loss": Metric(
        "what is minimised, averaged over the examples", "mean_i L_i", MINIMIZE, most=math.inf
    ),
    "accuracy": Metric("share of right answers", "correct / all", MAXIMIZE),
    "error": Metric("share of wrong answers", "1 - accuracy", MINIMIZE),
    "precision": Metric(
        "share of a class's answers that are right; the mean over the classes (binary: of the "
        "second class), 0 for a class never answered",
        "tp / (tp + fp)",
        MAXIMIZE,
    ),
    "recall": Metric(
        "share of a class's examples that are found; the mean over the classes that occur "
        "(binary: of the second class)",
        "tp / (tp + fn)",
        MAXIMIZE,
    ),
    "f1": Metric(
        "harmonic mean of precision and recall; the mean over the classes that occur (binary: "
        "of the second class)",
        "2 tp / (2 tp + fp + fn)",
        MAXIMIZE,
    ),
    "rmse": Metric(
        "root of the mean squared error", "sqrt(mean (y - t)^2)", MINIMIZE, most=math.inf
    ),
    "mae": Metric("mean absolute error", "mean |y - t|", MINIMIZE, most=math.inf),
    "r2": Metric(
        "share of the targets' variance that is explained; the mean over the targets, leaving "
        "out those that never change (0 where none does)",
        "1 - sum (y - t)^2 / sum (t - mean t)^2",
        MAXIMIZE,
        least=-math.inf,
    ),
    "psnr": Metric(
        "peak signal-to-noise ratio in decibels, of the mean squared error over the split's "
        "pixels (peak 1); at most 100",
        "-10 log10(mse)",
        MAXIMIZE,
        least=-math.inf,
        most=100.0,
    ),
    "pixel_accuracy": Metric("share of pixels with the right class", "correct / all", MAXIMIZE),
    "mean_iou": Metric(
        "intersection over union of a class's pixels, over the whole split; the mean over the "
        "classes that occur or are answered",
        "tp / (tp + fp + fn)",
        MAXIMIZE,
    ),
}


@dataclass(frozen=True, slots=True)
class Task:
    """What a network is to do.

    Attributes:
        doc: One line for people.
        target: What a data set must offer: "class" (a class an example), "values" (real
            numbers an example), "mask" (a class a pixel), or "image" (the input itself).
        metrics: What is measured on the validation and the test split beside the loss, the
            headline first; names of `METRICS`.
        train_metrics: Those that are also followed on the training split.
        loss: The loss that a spec gets without asking.
    """

    doc: str
    target: str
    metrics: tuple[str, ...]
    train_metrics: tuple[str, ...]
    loss: str

    @property
    def headline(self) -> str:
        """Name the metric that variants are judged by unless a spec says otherwise."""
        return self.metrics[0]

    @property
    def objectives(self) -> tuple[str, ...]:
        """Name what an objective may be: the validation split's metrics and its loss."""
        return tuple(f"val/{name}" for name in (*self.metrics, "loss"))


_OF_CLASSES: Final = ("accuracy", "error", "precision", "recall", "f1")

TASKS: Final[Mapping[str, Task]] = {
    "classification": Task(
        "one of several classes for each example",
        target="class",
        metrics=_OF_CLASSES,
        train_metrics=("accuracy",),
        loss="cross_entropy",
    ),
    "binary": Task(
        "yes or no: one output, for the second of two classes",
        target="class",
        metrics=_OF_CLASSES,
        train_metrics=("accuracy",),
        loss="binary_cross_entropy",
    ),
    "regression": Task(
        "real numbers for each example, learned in their own units (not standardised)",
        target="values",
        metrics=("rmse", "mae", "r2"),
        train_metrics=("rmse",),
        loss="mean_squared_error",
    ),
    "reconstruction": Task(
        "the input image itself, through a bottleneck",
        target="image",
        metrics=("psnr", "rmse", "mae"),
        train_metrics=("rmse",),
        loss="mean_squared_error",
    ),
    "segmentation": Task(
        "a class for each pixel",
        target="mask",
        metrics=("mean_iou", "pixel_accuracy", "error"),
        train_metrics=("pixel_accuracy",),
        loss="cross_entropy",
    ),
}

OBJECTIVES: Final = tuple(
    dict.fromkeys(objective for task in TASKS.values() for objective in task.objectives)
)
"""What some task's objective may be."""


def natural_goal(metric: str) -> str:
    """Say which way a metric such as `val/accuracy` is better."""
    return METRICS[metric.rpartition("/")[2]].goal
