"""The losses that are minimised, as torch functions; `experiments.compatibility` explains them."""

from collections.abc import Mapping
from typing import Final, Protocol

from torch import Tensor
from torch.nn import functional


class Loss(Protocol):
    """A loss of class outputs.

    `outputs` is (N, K) float, `labels` (N,) int64. The reduction "none" gives one value
    an example, (N,), so that sums over a split are exact; "mean" is what is minimised.
    """

    def __call__(self, outputs: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
        """Give the loss."""


def cross_entropy(outputs: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
    """Give -log softmax(outputs)[label]: the negative log-likelihood of the true class."""
    return functional.cross_entropy(outputs, labels, reduction=reduction)


def mean_squared_error(outputs: Tensor, labels: Tensor, *, reduction: str = "mean") -> Tensor:
    """Give the squared distance of linear outputs to the one-hot class, averaged over outputs."""
    targets = functional.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    if reduction == "mean":
        return functional.mse_loss(outputs, targets)
    assert reduction == "none", reduction
    return functional.mse_loss(outputs, targets, reduction="none").mean(dim=1)


LOSSES: Final[Mapping[str, Loss]] = {
    "cross_entropy": cross_entropy,
    "mean_squared_error": mean_squared_error,
}
