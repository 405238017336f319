"""The activation functions, by name: what they compute and how they behave."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from experiments.language.kinds import Choice, Faults, Number
from experiments.language.source import Node


@dataclass(frozen=True, slots=True)
class ActivationFunction:
    """What there is to know of an activation function before using it.

    `kinked` says that its slope (of `step`: its value) jumps somewhere, so that a loss may
    jump too. `alpha` is the default of its one option, None where it has none. Where
    `has_gradient` is false, nothing before the function learns by gradient descent.
    """

    doc: str
    formula: str
    kinked: bool
    alpha: float | None = None
    has_gradient: bool = True


ACTIVATIONS: Final[Mapping[str, ActivationFunction]] = {
    "relu": ActivationFunction("the usual choice: cheap, but a unit can die", "max(0, x)", True),
    "leaky_relu": ActivationFunction(
        "relu with a small slope below zero, so that no unit dies",
        "x if x > 0 else alpha x",
        kinked=True,
        alpha=0.01,
    ),
    "tanh": ActivationFunction(
        "the classic of the 1990s: bounded by -1 and 1", "2 sigmoid(2x) - 1", False
    ),
    "sigmoid": ActivationFunction(
        "bounded by 0 and 1; saturates, so deep networks learn slowly", "1 / (1 + exp(-x))", False
    ),
    "linear": ActivationFunction(
        "no activation: the layers collapse to one linear map", "x", kinked=False
    ),
    "gelu": ActivationFunction(
        "relu weighed by the normal distribution; smooth", "x P(N(0, 1) <= x)", kinked=False
    ),
    "silu": ActivationFunction("also called swish; smooth", "x sigmoid(x)", kinked=False),
    "elu": ActivationFunction(
        "relu with an exponential floor at -alpha; smooth at alpha = 1",
        "x if x > 0 else alpha (exp(x) - 1)",
        kinked=False,
        alpha=1.0,
    ),
    "step": ActivationFunction(
        "the perceptron's: its gradient is zero, so nothing before it learns by descent",
        "1 if x >= 0 else -1",
        kinked=True,
        has_gradient=False,
    ),
    "softmax": ActivationFunction(
        "probabilities of the classes (or channels): an output's function, never a hidden one",
        "exp(x_k) / sum_j exp(x_j)",
        kinked=False,
    ),
}

ALPHA: Final = Number(minimum=0, maximum=1e4)
"""The kind of a function's alpha; far beyond any use, numbers overflow in the worker."""

NOT_HIDDEN: Final[Mapping[str, str]] = {
    "softmax": "softmax makes all units of a layer compete, which suits an output and nothing "
    "before it; write it as a layer, or let the loss apply it",
    "maxout": "maxout has weights of its own, so it is a layer and no function; write it out "
    "under layers, in place of a linear one: maxout: {out_features: 64, pieces: 2}",
}
"""Why some names that people know are no hidden activation, and what to do instead."""

HIDDEN_ACTIVATIONS: Final = tuple(name for name in ACTIVATIONS if name not in NOT_HIDDEN)
"""What the hyperparameter `activation` may be."""


@dataclass(frozen=True, slots=True)
class FunctionName(Choice):
    """The name of an activation function; `refused` says why others are none."""

    refused: Mapping[str, str] = field(default_factory=dict)

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read one of the names."""
        if isinstance(node.value, str) and node.value in self.refused:
            return faults.add(node, path, self.refused[node.value])
        return Choice.read(self, node, path, faults)


FUNCTION: Final = FunctionName(tuple(ACTIVATIONS), refused={"maxout": NOT_HIDDEN["maxout"]})
"""The kind of a layer's function: any of `ACTIVATIONS`."""

HIDDEN_FUNCTION: Final = FunctionName(HIDDEN_ACTIVATIONS, refused=NOT_HIDDEN)
"""The kind of the hyperparameter `activation`."""
