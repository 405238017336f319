"""Networks without convolutions: linear models, the perceptron, and stacks of units."""

from dataclasses import dataclass
from typing import Annotated, Final

from experiments.architectures.geometry import Shape
from experiments.architectures.layers import MAX_UNITS, BatchNorm, Flatten, Linear
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.templates import Head, HiddenActivation, Template, TrialDropout
from experiments.architectures.unit_layers import AssociativeUnits, Maxout
from experiments.language.compound_kinds import ListOf
from experiments.language.fields import NoOptions
from experiments.language.kinds import Flag, Integer

_Hidden = Annotated[
    tuple[int, ...],
    ListOf(Integer(1, MAX_UNITS), min_length=1, max_length=1000),
    "units of each hidden layer",
]


@dataclass(frozen=True, slots=True)
class PerceptronOptions:
    """Options of `perceptron`."""

    units: Annotated[int, Integer(1, MAX_UNITS), "number of associative units"] = 400


@dataclass(frozen=True, slots=True)
class MlpOptions:
    """Options of `mlp`."""

    hidden: _Hidden = (128,)
    batch_norm: Annotated[bool, Flag(), "whether to normalise before each activation"] = False


@dataclass(frozen=True, slots=True)
class MaxoutOptions:
    """Options of `maxout`."""

    hidden: _Hidden = (128,)
    pieces: Annotated[int, Integer(2, 1000), "linear maps of which a unit gives the largest"] = 2


def linear_model(_options: NoOptions, _input_shape: Shape) -> list[Template]:
    """Give one linear layer on the inputs; what it regresses on is the loss's matter."""
    return [Flatten(), Head()]


def perceptron(options: PerceptronOptions, _input_shape: Shape) -> list[Template]:
    """Put one trained unit on fixed random ones, as the Mark I did on a sensor of 20x20."""
    return [Flatten(), AssociativeUnits(options.units), Head()]


def mlp(options: MlpOptions, _input_shape: Shape) -> list[Template]:
    """Stack fully connected layers."""
    layers: list[Template] = [Flatten()]
    for units in options.hidden:
        layers.append(Linear(units))
        if options.batch_norm:
            layers.append(BatchNorm())
        layers.append(HiddenActivation())
    return [*layers, Head()]


def maxout(options: MaxoutOptions, _input_shape: Shape) -> list[Template]:
    """Stack maxout layers, each followed by dropout, for which the paper made them."""
    layers: list[Template] = [Flatten()]
    for units in options.hidden:
        layers += [Maxout(units, options.pieces), TrialDropout()]
    return [*layers, Head()]


ARCHITECTURES: Final = (
    NamedArchitecture(
        "linear_regression",
        "one linear layer, a number a target",
        "Legendre, Nouvelles méthodes pour la détermination des orbites des comètes, 1805",
        NoOptions,
        linear_model,
        tasks=("regression",),
        uses_activation=False,
    ),
    NamedArchitecture(
        "logistic_regression",
        "one linear layer with one output: yes or no",
        "Cox, The Regression Analysis of Binary Sequences, 1958",
        NoOptions,
        linear_model,
        tasks=("binary",),
        uses_activation=False,
    ),
    NamedArchitecture(
        "softmax_regression",
        "one linear layer: multinomial logistic regression",
        "Cox, The Regression Analysis of Binary Sequences, 1958",
        NoOptions,
        linear_model,
        tasks=("classification",),
        uses_activation=False,
    ),
    NamedArchitecture(
        "perceptron",
        "one trained unit on fixed random associative units",
        "Rosenblatt, The Perceptron: A Probabilistic Model for Information Storage, 1958",
        PerceptronOptions,
        perceptron,
        tasks=("binary",),
        uses_activation=False,
    ),
    NamedArchitecture(
        "mlp",
        "fully connected layers",
        "Rumelhart, Hinton and Williams, Learning Representations by Back-Propagating Errors, 1986",
        MlpOptions,
        mlp,
    ),
    NamedArchitecture(
        "maxout",
        "fully connected layers whose units give the largest of some linear maps",
        "Goodfellow et al., Maxout Networks, 2013",
        MaxoutOptions,
        maxout,
        uses_activation=False,
        uses_dropout=True,
    ),
)
