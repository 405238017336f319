"""The losses that are minimised, as torch functions; `experiments.compatibility` explains them."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from experiments.compatibility import LINEAR, SIGMOID, SOFTMAX


class Loss(Protocol):
    """A loss of a network's raw outputs; it applies the output activation itself.

    `outputs` is (N, K), (N, K, H, W) or (N, C, H, W) float. `targets` is of the same shape
    and type, or holds the true classes: (N,) or (N, H, W) int64. The reduction "none" gives
    one value an example, (N,), so that sums over a split are exact; "mean" is what is
    minimised: the mean over the examples, and over the outputs and pixels of each.
    """

    def __call__(self, outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        """Give the loss."""


def build_loss(name: str, *, output_activation: str) -> Loss:
    """Make the loss that a trial's configuration names."""
    return LOSSES[name](output_activation)


def activate(outputs: Tensor, output_activation: str) -> Tensor:
    """Apply an output activation to raw outputs (N, ...); classes lie along dimension 1."""
    if output_activation == SIGMOID:
        return outputs.sigmoid()
    return outputs.softmax(dim=1) if output_activation == SOFTMAX else outputs


def _of_probabilities(output_activation: str) -> Loss:
    """Make -log y_c, which is KL(t || y) too, as t log t is 0 where one class is true.

    Normalised sigmoids are a softmax of log sigmoid(z): exp(log s_k) / sum_j exp(log s_j).
    """

    def loss(outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        if output_activation == SIGMOID:
            outputs = functional.logsigmoid(outputs)
        if outputs.ndim == 2:
            return functional.cross_entropy(outputs, targets, reduction=reduction)
        # A GPU adds the pixels' mean of cross_entropy itself up in no fixed order.
        return _reduced(functional.cross_entropy(outputs, targets, reduction="none"), reduction)

    return loss


def _binary_cross_entropy(output_activation: str) -> Loss:
    assert output_activation == SIGMOID, output_activation

    def loss(outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        values = functional.binary_cross_entropy_with_logits(outputs, targets, reduction=reduction)
        return _by_example(values)

    return loss


def _of_numbers(distance: Callable[..., Tensor]) -> Callable[[str], Loss]:
    """Make a loss of a distance of numbers: of classes, 1 for the true one and 0 for others."""

    def build(output_activation: str) -> Loss:
        def loss(outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
            if not targets.is_floating_point():
                targets = functional.one_hot(targets, outputs.shape[1]).movedim(-1, 1)
                targets = targets.to(outputs.dtype)
            values = distance(activate(outputs, output_activation), targets, reduction=reduction)
            return _by_example(values)

        return loss

    return build


def _logarithmic(outputs: Tensor, targets: Tensor, *, reduction: str) -> Tensor:
    found, wanted = outputs.clamp(min=0).log1p(), targets.log1p()
    return functional.mse_loss(found, wanted, reduction=reduction)


def _hinge(power: int) -> Callable[[str], Loss]:
    """Make the hinge of one output against -1 and +1, or of several against the true one."""

    def build(output_activation: str) -> Loss:
        assert output_activation == LINEAR, output_activation

        def loss(outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
            if not targets.is_floating_point():
                return functional.multi_margin_loss(outputs, targets, p=power, reduction=reduction)
            return _reduced((1 - targets * outputs).clamp(min=0).pow(power), reduction)

        return loss

    return build


def _perceptron(output_activation: str) -> Loss:
    """Make Rosenblatt's criterion; its slope at 0 is -t, so that a start at 0 is left."""
    assert output_activation == LINEAR, output_activation

    def loss(outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        margins = targets * outputs
        return _reduced(torch.where(margins <= 0, -margins, 0.0), reduction)

    return loss


def _reduced(values: Tensor, reduction: str) -> Tensor:
    return values.mean() if reduction == "mean" else _by_example(values)


def _by_example(values: Tensor) -> Tensor:
    """Average over the outputs and pixels of each example; a mean or a column stays as it is."""
    return values.flatten(1).mean(dim=1) if values.ndim > 1 else values


LOSSES: Final[Mapping[str, Callable[[str], Loss]]] = {
    "cross_entropy": _of_probabilities,
    "binary_cross_entropy": _binary_cross_entropy,
    "mean_squared_error": _of_numbers(functional.mse_loss),
    "mean_absolute_error": _of_numbers(functional.l1_loss),
    "mean_squared_logarithmic_error": _of_numbers(_logarithmic),
    "kullback_leibler_divergence": _of_probabilities,
    "hinge": _hinge(1),
    "squared_hinge": _hinge(2),
    "perceptron": _perceptron,
}
"""How each loss is made for an output activation."""
