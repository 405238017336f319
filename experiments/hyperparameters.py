"""The hyperparameters a spec may set or vary: what each may be, and when it applies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from experiments import zoo
from experiments.activations import ACTIVATIONS, LATER_ACTIVATIONS
from experiments.compatibility import LATER_LOSSES, LOSSES
from experiments.fields import REQUIRED
from experiments.kinds import Choice, Faults, Integer, Kind, Number, Schema
from experiments.printable import number_text
from experiments.source import Node

Point = Mapping[str, Any]
"""A value for each hyperparameter; `model` is a `zoo.ModelChoice`."""


class Model(Kind):
    """A network: by name, by name and options, or written out."""

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "a named architecture or {name, layers}"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a `ModelChoice`."""
        return zoo.read_model(node, path, faults)

    def schema(self) -> Schema:
        """Give the schema of names, options and layers."""
        return zoo.model_schema()


_ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One thing that may differ between variants.

    `default` is REQUIRED where every variant must be given a value. `applies` says whether
    a point has any use for it, `where` says the same to people.
    """

    kind: Kind
    doc: str
    default: Any
    where: str = _ALWAYS
    applies: Callable[[Point], bool] = field(default=lambda _: True)


OPTIMIZERS: Final[Mapping[str, str]] = {
    "sgd": "stochastic gradient descent, with momentum when it is above 0",
    "adam": "Adam (Kingma & Ba 2015); weight decay is added to the gradient",
    "adamw": "Adam with decoupled weight decay (Loshchilov & Hutter 2019)",
}
SCHEDULES: Final[Mapping[str, str]] = {
    "constant": "the same rate throughout",
    "step": "times step_factor every step_epochs epochs",
    "cosine": "half a cosine down to 0 (Loshchilov & Hutter 2017, without restarts)",
}

HYPERPARAMETERS: Final[Mapping[str, Hyperparameter]] = {
    "model": Hyperparameter(Model(), "the network", REQUIRED),
    "activation": Hyperparameter(
        Choice(tuple(ACTIVATIONS), later=LATER_ACTIVATIONS),
        "what hidden layers apply to their sums",
        "relu",
        where="models with hidden layers",
        applies=lambda point: bool(point["model"].uses_activation),
    ),
    "loss": Hyperparameter(
        Choice(tuple(LOSSES), later=LATER_LOSSES), "what is minimised", "cross_entropy"
    ),
    "optimizer": Hyperparameter(
        Choice(tuple(OPTIMIZERS), later=("rmsprop", "nesterov")), "how weights are updated", "sgd"
    ),
    "lr": Hyperparameter(Number(above=0, maximum=1e4), "learning rate at its highest", REQUIRED),
    "momentum": Hyperparameter(
        Number(minimum=0, below=1),
        "share of the last update kept in the next",
        0.0,
        where="optimizer sgd",
        applies=lambda point: point["optimizer"] == "sgd",
    ),
    "weight_decay": Hyperparameter(
        Number(minimum=0, maximum=1e4), "L2 penalty on every weight", 0.0
    ),
    "schedule": Hyperparameter(
        Choice(tuple(SCHEDULES), later=("one_cycle",)), "how the rate moves", "constant"
    ),
    "warmup_epochs": Hyperparameter(
        Number(minimum=0, maximum=100_000), "epochs of linear rise to lr, may be a fraction", 0.0
    ),
    "step_epochs": Hyperparameter(
        Integer(1, 100_000),
        "epochs between two drops of the rate",
        REQUIRED,
        where="schedule step",
        applies=lambda point: point["schedule"] == "step",
    ),
    "step_factor": Hyperparameter(
        Number(above=0, maximum=1),
        "factor of each drop of the rate",
        0.1,
        where="schedule step",
        applies=lambda point: point["schedule"] == "step",
    ),
    "epochs": Hyperparameter(Integer(1, 100_000), "passes over the training split", 10),
    "batch_size": Hyperparameter(Integer(1, 1_000_000), "images of one step", 64),
    "dropout": Hyperparameter(
        Number(minimum=0, below=1),
        "share of units left out of a step",
        0.0,
        where="models with dropout layers",
        applies=lambda point: bool(point["model"].uses_dropout),
    ),
}


def matches(key: str, wanted: Any, value: Any) -> bool:
    """Say whether a value is the one meant in `when` or `exclude`.

    A model is matched by a `ModelPattern`, everything else by equality.
    """
    return bool(wanted.matches(value) if key == "model" else value == wanted)


def scalar(key: str, value: Any) -> str | int | float | bool:
    """Give a value as it stands in tables and in MLflow."""
    result: str | int | float | bool = value.label if key == "model" else value
    return result


def describe(key: str, value: Any) -> str:
    """Give a value as it stands in a variant's label: names bare, numbers with their key."""
    shown = scalar(key, value)
    return shown if isinstance(shown, str) else f"{key}={number_text(shown)}"
