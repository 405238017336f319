"""The pointwise activation functions, by name: what they compute and how they behave."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ActivationFunction:
    """What there is to know of an activation function before using it.

    `kinked` says that its slope jumps somewhere, so that a loss may jump too.
    `alpha` is the default of its one option, None where it has none.
    """

    doc: str
    formula: str
    kinked: bool
    alpha: float | None = None


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
}

LATER_ACTIVATIONS: Final = ("softmax", "maxout", "step")
"""Activations that the language names and this version cannot run yet."""
