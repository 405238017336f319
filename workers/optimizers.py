"""SGD with momentum, Adam and AdamW: how a step changes the weights.

They run torch's fused kernels through its functional forms. The classes of `torch.optim`
do the same arithmetic, but load torch's compiler when the first one is made (`torch._dynamo`,
5.5 s) and take three times as long for a step of a small network (93 us against 24 us for
SGD, 212 us against 73 us for Adam; 10,000 weights, one thread).
"""

from collections.abc import Iterable
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from experiments.records import OptimizerConfig

ADAM_BETAS: Final = (0.9, 0.999)
ADAM_EPSILON: Final = 1e-8


class Optimizer(Protocol):
    """Changes weights by their gradients; the learning rate is given with each step."""

    def step(self, *, lr: float) -> None:
        """Update the weights once, in place, and forget their gradients."""


class Sgd:
    """Stochastic gradient descent, with momentum when it is above 0.

    As torch.optim.SGD without dampening: g += decay * w; b = momentum * b + g (the first
    b is g); w -= lr * b.
    """

    def __init__(
        self, parameters: Iterable[Parameter], *, momentum: float, weight_decay: float
    ) -> None:
        self._weights: list[Tensor] = list(parameters)
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._buffers: list[Tensor | None] = [None] * len(self._weights)

    @torch.no_grad()
    def step(self, *, lr: float) -> None:
        """Update the weights once, in place, and forget their gradients."""
        sgd(
            self._weights,
            _take_gradients(self._weights),
            self._buffers,
            fused=True,
            weight_decay=self._weight_decay,
            momentum=self._momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), or AdamW (Loshchilov & Hutter 2019, algorithm 2).

    Decay is added to the gradient (Adam), or `decoupled`: w -= lr * decay * w (AdamW).
    """

    def __init__(
        self, parameters: Iterable[Parameter], *, weight_decay: float, decoupled: bool
    ) -> None:
        self._weights: list[Tensor] = list(parameters)
        self._weight_decay = weight_decay
        self._decoupled = decoupled
        self._means = [torch.zeros_like(weight) for weight in self._weights]
        self._squares = [torch.zeros_like(weight) for weight in self._weights]
        self._counts = [torch.zeros((), device=weight.device) for weight in self._weights]

    @torch.no_grad()
    def step(self, *, lr: float) -> None:
        """Update the weights once, in place, and forget their gradients."""
        adam(
            self._weights,
            _take_gradients(self._weights),
            self._means,
            self._squares,
            [],
            self._counts,
            fused=True,
            decoupled_weight_decay=self._decoupled,
            amsgrad=False,
            beta1=ADAM_BETAS[0],
            beta2=ADAM_BETAS[1],
            lr=lr,
            weight_decay=self._weight_decay,
            eps=ADAM_EPSILON,
            maximize=False,
        )


def build_optimizer(config: OptimizerConfig, parameters: Iterable[Parameter]) -> Optimizer:
    """Make the optimizer that a trial's configuration names."""
    if config.name == "sgd":
        momentum = config.momentum or 0.0
        return Sgd(parameters, momentum=momentum, weight_decay=config.weight_decay)
    assert config.name in {"adam", "adamw"}, config.name
    decoupled = config.name == "adamw"
    return Adam(parameters, weight_decay=config.weight_decay, decoupled=decoupled)


def _take_gradients(weights: Iterable[Tensor]) -> list[Tensor]:
    """Take the gradients away from the weights, so that the next backward pass starts anew."""
    gradients = []
    for weight in weights:
        gradient = weight.grad
        assert gradient is not None, "every weight takes part in every step"
        gradients.append(gradient)
        weight.grad = None
    return gradients
