"""Metrics over a whole split, exact: counts and float64 sums kept on the device.

What each metric means is in `experiments.tasks.METRICS`.
"""

import copy
import math
from typing import Final, Protocol, Self

import torch
from torch import Tensor

from experiments.events import MAX_CONFUSION_CLASSES
from workers.losses import activate

Confusion = tuple[tuple[int, ...], ...]
"""How often each class was answered for each: a row a true class, a column an answer."""

_BEST_PSNR: Final = 100.0  # decibels; that of images without error would be infinite


class Tally(Protocol):
    """Takes raw outputs and targets, batch by batch, and gives the metrics of all of them."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count a batch; shapes are as in `workers.losses.Loss`. Waits for no device."""

    def metrics(self) -> dict[str, float]:
        """Give the metrics by name."""

    @property
    def confusion(self) -> Confusion | None:
        """Give the confusion matrix; None where there are no classes, or too many."""


class ClassTally:
    """Counts answers of classes: of examples (N, K), of pixels (N, K, H, W)."""

    def __init__(self, num_classes: int, *, device: torch.device) -> None:
        """Start to count, on a device; a matrix for so many classes, or else three lists."""
        self._num_classes = num_classes
        self._is_matrix = num_classes <= MAX_CONFUSION_CLASSES
        rows = num_classes if self._is_matrix else 3
        # A row a network, see `of_members`.
        self._counts = torch.zeros(1, rows * num_classes, dtype=torch.int64, device=device)

    def of_members(self, num: int) -> Self:
        """Start to count for so many networks at once, whose batches lie one after the other."""
        together = copy.copy(self)
        together._counts = self._counts.new_zeros(num, self._counts.shape[1])
        return together

    def members(self) -> list[Self]:
        """Give the tally of each network by itself; waits for the device once."""
        parts = []
        for counts in torch.split(self._counts.cpu(), 1):
            part = copy.copy(self)
            part._counts = counts
            parts.append(part)
        return parts

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count a batch; the largest output is the answer."""
        self._add(outputs.argmax(dim=1).flatten(), targets.flatten())

    def _add(self, answers: Tensor, targets: Tensor) -> None:
        """Count answers and true classes, (n,) int64 each."""
        answers, targets = (each.view(len(self._counts), -1) for each in (answers, targets))
        ones, size = torch.ones_like(targets), self._num_classes
        if self._is_matrix:
            self._counts.scatter_add_(1, targets * size + answers, ones)
            return
        self._counts.scatter_add_(1, targets, (answers == targets).to(torch.int64))
        self._counts.scatter_add_(1, answers + size, ones)
        self._counts.scatter_add_(1, targets + 2 * size, ones)

    def metrics(self) -> dict[str, float]:
        """Give all metrics of classes; `error` and `accuracy` are of examples or pixels."""
        right, answered, there = self._totals()
        accuracy = (right.sum() / there.sum()).item()
        return {
            "accuracy": accuracy,
            "error": 1.0 - accuracy,
            **self._of_classes(right, answered, there),
            "pixel_accuracy": accuracy,
            "mean_iou": _mean(right, answered + there - right),
        }

    def _of_classes(self, right: Tensor, answered: Tensor, there: Tensor) -> dict[str, float]:
        return {
            "precision": (right / answered.clamp(min=1.0)).mean().item(),
            "recall": _mean(right, there),
            "f1": (2 * right / (answered + there).clamp(min=1.0))[there > 0].mean().item(),
        }

    def _totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Count right answers, answers and examples of each class, (K,) float64 each."""
        counts = self._counts.cpu().double().view(-1, self._num_classes)
        if self._is_matrix:
            return counts.diagonal(), counts.sum(dim=0), counts.sum(dim=1)
        return counts[0], counts[1], counts[2]

    @property
    def confusion(self) -> Confusion | None:
        """Give the confusion matrix, unless there are too many classes."""
        if not self._is_matrix:
            return None
        rows: list[list[int]] = self._counts.view(-1, self._num_classes).tolist()
        return tuple(map(tuple, rows))


class BinaryTally(ClassTally):
    """Counts answers of yes and no: outputs (N, 1); targets above 0 are a yes."""

    def __init__(self, *, threshold: float, device: torch.device) -> None:
        """Start to count, on a device; outputs above the threshold are a yes."""
        super().__init__(2, device=device)
        self._threshold = threshold

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count a batch."""
        answers = (outputs > self._threshold).to(torch.int64)
        self._add(answers.flatten(), (targets > 0).to(torch.int64).flatten())

    def _of_classes(self, right: Tensor, answered: Tensor, there: Tensor) -> dict[str, float]:
        """Give the metrics of the second class, the yes."""
        true, said, wanted = right[1].item(), answered[1].item(), there[1].item()
        return {
            "precision": true / max(said, 1.0),
            "recall": true / max(wanted, 1.0),
            "f1": 2 * true / max(said + wanted, 1.0),
        }


class ImageTally:
    """Sums up the errors of images (N, C, H, W), after the output activation."""

    confusion: Confusion | None = None

    def __init__(self, *, output_activation: str, device: torch.device) -> None:
        """Start to sum up, on a device."""
        self._output_activation = output_activation
        self._squares = torch.zeros((), dtype=torch.float64, device=device)
        self._distances = torch.zeros((), dtype=torch.float64, device=device)
        self._num_values = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch."""
        self._add_errors(outputs, targets)

    def _add_errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Add the errors of a batch and give them, float64: the squares of float32 overflow."""
        errors = activate(outputs, self._output_activation).double() - targets
        self._squares += errors.square().sum()
        self._distances += errors.abs().sum()
        self._num_values += errors.numel()
        return errors

    def metrics(self) -> dict[str, float]:
        """Give the metrics of images."""
        mean_square = self._squares.item() / self._num_values
        psnr = _BEST_PSNR if mean_square == 0 else -10 * math.log10(mean_square)
        return {
            "psnr": min(psnr, _BEST_PSNR),
            "rmse": math.sqrt(mean_square),
            "mae": self._distances.item() / self._num_values,
        }


class ValueTally(ImageTally):
    """Sums up the errors of real numbers (N, T), and how far the targets vary."""

    def __init__(self, num_targets: int, *, output_activation: str, device: torch.device) -> None:
        """Start to sum up, on a device."""
        super().__init__(output_activation=output_activation, device=device)
        # Of each target: squared errors, targets, squared targets. Targets are taken relative
        # to the first one: their variance is exact then, however far from 0 they lie.
        self._sums = torch.zeros(3, num_targets, dtype=torch.float64, device=device)
        self._origin: Tensor | None = None
        self._num_examples = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch."""
        errors = self._add_errors(outputs, targets)
        wide = targets.double()
        self._origin = wide[0] if self._origin is None else self._origin
        moved = wide - self._origin
        terms = (errors.square(), moved, moved.square())
        self._sums += torch.stack([term.sum(dim=0) for term in terms])
        self._num_examples += len(targets)

    def metrics(self) -> dict[str, float]:
        """Give the metrics of numbers."""
        squares, first, second = self._sums.cpu()
        variation = second - first.square() / self._num_examples
        varies = variation > 0
        explained = 1 - squares[varies] / variation[varies]
        r2 = explained.mean().item() if varies.any() else 0.0
        return super().metrics() | {"r2": r2}


def _mean(parts: Tensor, wholes: Tensor) -> float:
    """Average parts / wholes over the classes that have a whole."""
    known = wholes > 0
    return (parts[known] / wholes[known]).mean().item()
