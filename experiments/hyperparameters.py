"""The hyperparameters a spec may set or vary: what each may be, and when it applies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from experiments.architectures import zoo
from experiments.architectures.activations import HIDDEN_FUNCTION
from experiments.architectures.transfer import InitKind
from experiments.compatibility import (
    LOSS_ALIASES,
    LOSSES,
    OUTPUT_ACTIVATIONS,
    default_output_activation,
)
from experiments.data.augmentation import AUGMENTATIONS
from experiments.descent import OPTIMIZERS, SCHEDULES
from experiments.language.fields import REQUIRED
from experiments.language.kinds import Choice, Faults, Integer, Kind, Number, Schema, nearest
from experiments.language.printable import number_text
from experiments.language.source import Node
from experiments.tasks import TASKS

Point = Mapping[str, Any]
"""A value for each hyperparameter; `model` is a `zoo.ModelChoice`, `init` an `InitChoice`."""


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


_SHORT_FORMS: Final = {
    "bce": "binary_cross_entropy",
    "ce": "cross_entropy",
    "kl": "kullback_leibler_divergence",
    "l1": "mean_absolute_error",
    "l2": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
    "nll": "cross_entropy",
}
"""What people call losses that is too far from their names to be found by likeness."""


@dataclass(frozen=True, slots=True)
class Loss(Choice):
    """A loss; the names that others give it are read as ours."""

    names: tuple[str | int, ...] = tuple(LOSSES)

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read a loss by any of its names."""
        known = LOSS_ALIASES.get(node.value) if isinstance(node.value, str) else None
        return known or Choice.read(self, node, path, faults)

    def schema(self) -> Schema:
        """Give all names."""
        return {"enum": [*self.names, *LOSS_ALIASES]}

    def _meant(self, value: str) -> str:
        known = _SHORT_FORMS.get(value.lower())
        return f"; did you mean {known!r}?" if known else nearest(value, (*LOSSES, *LOSS_ALIASES))


@dataclass(frozen=True, slots=True)
class Follows:
    """A default that the task and other hyperparameters decide; `text` says how, to people.

    `keys` are the hyperparameters that it follows from; they stand before it in the table.
    """

    text: str
    value: Callable[[str, Point], Any]
    keys: tuple[str, ...] = ()


class _LeftOpen:
    def __repr__(self) -> str:
        return "LEFT_OPEN"


LEFT_OPEN: Final = _LeftOpen()
"""The default of what the data decides: it is no part of a variant unless it is given."""

_ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One thing that may differ between variants.

    `default` is a value, `Follows`, `LEFT_OPEN`, or REQUIRED where every variant must be
    given one. `applies` says whether a point has any use for it, `where` says the same to
    people.
    """

    kind: Kind
    doc: str
    default: Any
    where: str = _ALWAYS
    applies: Callable[[Point], bool] = field(default=lambda _: True)


def _only(key: str, *values: str) -> dict[str, Any]:
    """Say that a hyperparameter applies for some values of another one."""
    return {"where": f"{key} {', '.join(values)}", "applies": lambda point: point[key] in values}


_MOVING: Final = tuple(name for name, known in AUGMENTATIONS.items() if known.moves)

HYPERPARAMETERS: Final[Mapping[str, Hyperparameter]] = {
    "model": Hyperparameter(Model(), "the network", REQUIRED),
    "init": Hyperparameter(
        InitKind(), "where the first layers and their weights come from, if not by chance", None
    ),
    "activation": Hyperparameter(
        HIDDEN_FUNCTION,
        "what hidden layers apply to their sums",
        "relu",
        where="models with hidden layers",
        applies=lambda point: bool(point["model"].uses_activation),
    ),
    "loss": Hyperparameter(
        Loss(),
        "what is minimised",
        Follows("by task", lambda task, _: TASKS[task].loss),
    ),
    "output_activation": Hyperparameter(
        Choice(tuple(OUTPUT_ACTIVATIONS)),
        "what the loss applies to the network's outputs first",
        Follows(
            "by loss and task",
            lambda task, point: default_output_activation(point["loss"], task),
            keys=("loss",),
        ),
    ),
    "optimizer": Hyperparameter(Choice(tuple(OPTIMIZERS)), "how weights are updated", "sgd"),
    "lr": Hyperparameter(Number(above=0, maximum=1e4), "learning rate at its highest", REQUIRED),
    "momentum": Hyperparameter(
        Number(minimum=0, below=1),
        "share of the last update kept in the next",
        Follows(
            "0.9 for nesterov, or else 0",
            lambda _, point: 0.9 if point["optimizer"] == "nesterov" else 0.0,
            keys=("optimizer",),
        ),
        **_only("optimizer", "sgd", "nesterov", "rmsprop"),
    ),
    "weight_decay": Hyperparameter(
        Number(minimum=0, maximum=1e4), "L2 penalty on every weight", 0.0
    ),
    "schedule": Hyperparameter(Choice(tuple(SCHEDULES)), "how the rate moves", "constant"),
    "warmup_epochs": Hyperparameter(
        Number(minimum=0, maximum=100_000),
        "epochs of linear rise to lr, may be a fraction",
        0.0,
        **_only("schedule", "constant", "step", "cosine"),
    ),
    "step_epochs": Hyperparameter(
        Integer(1, 100_000),
        "epochs between two drops of the rate",
        REQUIRED,
        **_only("schedule", "step"),
    ),
    "step_factor": Hyperparameter(
        Number(above=0, maximum=1),
        "factor of each drop of the rate",
        0.1,
        **_only("schedule", "step"),
    ),
    "epochs": Hyperparameter(Integer(1, 100_000), "passes over the training split", 10),
    "batch_size": Hyperparameter(Integer(1, 1_000_000), "examples of one step", 64),
    "dropout": Hyperparameter(
        Number(minimum=0, below=1),
        "share of units left out of a step",
        0.0,
        where="models with dropout layers",
        applies=lambda point: bool(point["model"].uses_dropout),
    ),
    "augmentation": Hyperparameter(
        Choice(tuple(AUGMENTATIONS)), "how training images are changed by chance", "none"
    ),
    "augmentation_pixels": Hyperparameter(
        Integer(1, 4096),
        "the farthest that images move, in each direction; an eighth of the shorter side "
        "unless given",
        LEFT_OPEN,
        **_only("augmentation", *_MOVING),
    ),
}

_BARE: Final = ("model", "activation", "loss", "optimizer", "schedule", "augmentation")
"""Those whose values say by themselves what they are of."""


def matches(key: str, wanted: Any, value: Any) -> bool:
    """Say whether a value is the one meant in `when` or `exclude`.

    A model is matched by a `ModelPattern`, everything else by equality.
    """
    return bool(wanted.matches(value) if key == "model" else value == wanted)


def scalar(key: str, value: Any) -> str | int | float | bool:
    """Give a value as it stands in tables and in MLflow."""
    if value is None:  # weights by chance
        return "none"
    result: str | int | float | bool = value.label if key in {"model", "init"} else value
    return result


def describe(key: str, value: Any) -> str:
    """Give a value as it stands in a variant's label: most names bare, all else with its key."""
    shown = scalar(key, value)
    if not isinstance(shown, str):
        return f"{key}={number_text(shown)}"
    return shown if key in _BARE and shown != "none" else f"{key}={shown}"
