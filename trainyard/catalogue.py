"""What a spec can name, as rows: read off the tables that the plan and the engine go by.

Each row has `name` and `doc`, and then what there is to know; a value is a text or a list of
texts, empty where there is nothing to say. The verbs print them, `handbook.py` writes them up.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from experiments.data.dataset_facts import DatasetKind

Row = dict[str, Any]

_TARGETS: Final = {
    "class": "a class for each example",
    "values": "real numbers for each example",
    "mask": "a class for each pixel",
    "image": "the input itself",
}


def task_rows() -> list[Row]:
    """Give the tasks, each with its losses, metrics and models."""
    from experiments.architectures.zoo import models
    from experiments.compatibility import losses_for
    from experiments.tasks import TASKS

    return [
        {
            "name": name,
            "doc": task.doc,
            "target": _TARGETS[task.target],
            "metrics": [*task.metrics, "loss"],
            "losses": list(losses_for(name)),
            "models": [model for model, known in models().items() if name in known.tasks],
        }
        for name, task in TASKS.items()
    ]


def metric_rows() -> list[Row]:
    """Give the metrics with their formulas."""
    from experiments.tasks import METRICS

    return [
        {"name": name, "doc": metric.doc, "formula": metric.formula, "goal": metric.goal}
        for name, metric in METRICS.items()
    ]


def model_rows() -> list[Row]:
    """Give the named architectures; torchvision's are in `torchvision_names`."""
    from experiments.architectures.zoo import models
    from experiments.language.fields import fields_of

    return [
        {
            "name": name,
            "doc": known.doc,
            "tasks": list(known.tasks),
            "options": list(fields_of(known.options)),
            "short_names": list(known.short_names),
            "source": known.paper,
        }
        for name, known in models().items()
    ]


def torchvision_names() -> list[str]:
    """Give the names of torchvision's classification networks, as a spec writes them."""
    from experiments.architectures.torchvision_networks import PREFIX, WEIGHTS

    return [f"{PREFIX}{name}" for name in WEIGHTS]


def plugin_faults() -> list[str]:
    """Say which architectures of installed packages cannot be used, and why."""
    from experiments.architectures import named_architectures

    return list(named_architectures.plugin_faults())


def dataset_rows() -> list[Row]:
    """Give the data sets with the kind of their targets."""
    from experiments.data.datasets import DATASETS
    from experiments.language.fields import fields_of

    return [
        {
            "name": name,
            "doc": known.doc,
            "target": _TARGETS[_target(known)],
            "options": list(fields_of(known.options)),
        }
        for name, known in DATASETS.items()
    ]


def change_rows() -> list[Row]:
    """Give the keys of `data:` that change a data set."""
    from experiments.data.data_changes import DataChanges

    return _option_rows(DataChanges)


def loss_rows() -> list[Row]:
    """Give the losses with the tasks and output activations that each goes with."""
    from experiments.compatibility import LOSSES

    return [
        {
            "name": name,
            "doc": rule.doc,
            "formula": rule.formula,
            "goes_with": [f"{task}: {' or '.join(o)}" for task, o in rule.outputs.items()],
            "needs": rule.needs,
            "also_called": list(rule.aliases),
            "source": rule.source,
        }
        for name, rule in LOSSES.items()
    ]


def output_activation_rows() -> list[Row]:
    """Give what a loss may apply to a network's outputs."""
    from experiments.compatibility import OUTPUT_ACTIVATIONS

    return [{"name": name, "doc": doc} for name, doc in OUTPUT_ACTIVATIONS.items()]


def activation_rows() -> list[Row]:
    """Give the activation functions, with what their slopes are like."""
    from experiments.architectures.activations import ACTIVATIONS, HIDDEN_ACTIVATIONS

    return [
        {
            "name": name,
            "doc": function.doc,
            "formula": function.formula,
            "alpha": "" if function.alpha is None else f"{function.alpha:g} unless given",
            "slope": _slope(function.kinked, function.has_gradient),
            "use": "activation, or a layer" if name in HIDDEN_ACTIVATIONS else "a layer",
        }
        for name, function in ACTIVATIONS.items()
    ]


def optimizer_rows() -> list[Row]:
    """Give the optimizers and the hyperparameters that only some of them take."""
    from experiments.descent import OPTIMIZERS

    return _rule_rows(OPTIMIZERS, "optimizer")


def schedule_rows() -> list[Row]:
    """Give the schedules of the learning rate."""
    from experiments.descent import SCHEDULES

    return _rule_rows(SCHEDULES, "schedule")


def augmentation_rows() -> list[Row]:
    """Give the ways in which training images may be changed by chance."""
    from experiments.data.augmentation import AUGMENTATIONS

    return [{"name": name, "doc": known.doc} for name, known in AUGMENTATIONS.items()]


def _target(known: "DatasetKind") -> str:
    """Say what a data set asks for; those that need options to say more hold classes."""
    from experiments.data.dataset_facts import CLASS
    from experiments.language.fields import fields_of

    if known.reads_files or any(field.required for field in fields_of(known.options).values()):
        return CLASS
    return known.describe(known.options(), Path()).target


def _slope(kinked: bool, has_gradient: bool) -> str:
    if not has_gradient:
        return "none: nothing before it learns by gradient descent"
    return "jumps (a kink), so a loss curve may jump too" if kinked else "smooth"


def _rule_rows(rules: Mapping[str, Any], key: str) -> list[Row]:
    from experiments.hyperparameters import HYPERPARAMETERS

    def takes(name: str) -> list[str]:
        return [
            other
            for other, known in HYPERPARAMETERS.items()
            if known.where.startswith(f"{key} ")
            and name in known.where.removeprefix(f"{key} ").split(", ")
        ]

    return [
        {
            "name": name,
            "doc": rule.doc,
            "formula": rule.formula,
            "takes": takes(name),
            "source": rule.source,
        }
        for name, rule in rules.items()
    ]


def _option_rows(record: type[Any]) -> list[Row]:
    from experiments.language.fields import fields_of

    return [
        {"name": name, "doc": field.doc, "values": field.kind.what}
        for name, field in fields_of(record).items()
    ]
