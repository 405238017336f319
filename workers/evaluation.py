"""Loss and accuracy over a whole split, exact: every image counts once."""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from workers.batches import blocks
from workers.datasets.staged import Split, StagedData
from workers.devices import memory_layout
from workers.losses import Loss

_BATCH_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class Score:
    """Means over all images of a split; `accuracy` is the share of right answers, 0 to 1."""

    loss: float
    accuracy: float


def evaluate(module: nn.Module, split: Split, data: StagedData, *, loss: Loss) -> Score:
    """Score a network on a split, without dropout and with batch norm's running statistics.

    Batches have a size that depends on the image's shape only, and sums are kept in
    float64. Leaves the module in evaluation mode.
    """
    module.eval()
    batch = _batch_size(data.input_shape)
    device = split.indices.device
    layout = memory_layout(module, device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    with torch.inference_mode():
        order = torch.arange(len(split), device=device)
        for images, labels in blocks(split, order, data, multiple=batch, layout=layout):
            for x, y in zip(torch.split(images, batch), torch.split(labels, batch), strict=True):
                outputs = module(x)  # (n, K)
                total += loss(outputs, y, reduction="none").double().sum()
                correct += count_correct(outputs, y)
    return Score(total.item() / len(split), correct.item() / len(split))


def count_correct(outputs: Tensor, labels: Tensor) -> Tensor:
    """Count the rows whose largest output is the label's: (N, K) and (N,) to a scalar."""
    return (outputs.argmax(dim=1) == labels).sum()


def _batch_size(input_shape: tuple[int, ...]) -> int:
    """Give 16 to 1,024 images, about a megabyte of them."""
    return max(16, min(1024, _BATCH_BYTES // (4 * math.prod(input_shape))))
