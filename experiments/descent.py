"""How weights are updated, and how the learning rate moves: what there is to choose from.

The torch forms are in `workers/optimizers.py` and `workers/schedules.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to go downhill.

    In formulas w are the weights, g their gradient (averaged over a batch, and weight_decay w
    added, except for adamw), m and v what is remembered between steps, lr the rate of the
    step (of a schedule: the highest); all other words are hyperparameters.
    """

    doc: str
    formula: str
    source: str


OPTIMIZERS: Final[Mapping[str, Rule]] = {
    "sgd": Rule(
        "stochastic gradient descent, with momentum when it is above 0",
        "m = momentum m + g; w = w - lr m",
        "Robbins and Monro, A Stochastic Approximation Method, 1951; momentum: Polyak, Some "
        "Methods of Speeding Up the Convergence of Iteration Methods, 1964",
    ),
    "nesterov": Rule(
        "stochastic gradient descent that looks one step ahead along its momentum",
        "m = momentum m + g; w = w - lr (g + momentum m)",
        "Sutskever et al., On the Importance of Initialization and Momentum in Deep Learning, "
        "2013, after Nesterov, 1983",
    ),
    "rmsprop": Rule(
        "each weight's gradient is divided by its usual size",
        "v = 0.99 v + 0.01 g^2; m = momentum m + g / (sqrt(v) + 1e-8); w = w - lr m",
        "Tieleman and Hinton, Lecture 6.5: RMSProp, Coursera, 2012",
    ),
    "adam": Rule(
        "rmsprop and momentum, both freed from their start at 0; weight decay is added to the "
        "gradient",
        "m = 0.9 m + 0.1 g; v = 0.999 v + 0.001 g^2; "
        "w = w - lr (m / (1 - 0.9^s)) / (sqrt(v / (1 - 0.999^s)) + 1e-8) in step s",
        "Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, algorithm 1",
    ),
    "adamw": Rule(
        "Adam with decoupled weight decay",
        "as adam, after w = w - lr weight_decay w",
        "Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2",
    ),
}

SCHEDULES: Final[Mapping[str, Rule]] = {
    "constant": Rule(
        "the same rate throughout",
        "lr",
        "Robbins and Monro, A Stochastic Approximation Method, 1951",
    ),
    "step": Rule(
        "times step_factor every step_epochs epochs",
        "lr step_factor^floor(epochs done / step_epochs)",
        "Krizhevsky, Sutskever and Hinton, ImageNet Classification, 2012, section 5",
    ),
    "cosine": Rule(
        "half a cosine down to 0, after the warm-up",
        "lr (1 + cos(pi share done)) / 2",
        "Loshchilov and Hutter, SGDR, 2017, equation 5, without restarts",
    ),
    "one_cycle": Rule(
        "half a cosine up from lr / 25 during 0.3 of the steps, then one down to lr / 250,000; "
        "has its own warm-up",
        "low + (high - low) (1 - cos(pi share of the phase)) / 2",
        "Smith and Topin, Super-Convergence, 2018",
    ),
}
