"""Loss and metrics over a whole split, exact: every example counts once."""

from collections.abc import Callable

import torch
from torch import nn

from experiments.planning.cost import evaluation_batch
from workers.batches import blocks
from workers.criterion import Criterion, Score
from workers.datasets.staged import Split, StagedData
from workers.precision import forward_in


def evaluate(
    module: nn.Module,
    split: Split,
    data: StagedData,
    criterion: Criterion,
    *,
    before_batch: Callable[[], None],
    layout: torch.memory_format = torch.contiguous_format,
    precision: str = "float32",
) -> Score:
    """Score a network on a split, without dropout and with batch norm's running statistics.

    Batches have a size that depends on the input's shape only, and sums are kept in
    float64. Leaves the module in evaluation mode. `before_batch` is called before each
    batch; what it raises ends the evaluation. `layout` is the order of images in memory,
    `precision` the arithmetic of the forward pass.
    """
    module.eval()
    batch = evaluation_batch(data.input_shape)
    device = data.mean.device
    forward = forward_in(precision, module, device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    tally = criterion.tally(device)
    with torch.inference_mode():
        order = torch.arange(len(split), device=split.indices.device)
        source = blocks(split, order, data, criterion, multiple=batch, layout=layout)
        for inputs, targets in source:
            for x, y in zip(torch.split(inputs, batch), torch.split(targets, batch), strict=True):
                before_batch()
                outputs = forward(x)
                total += criterion.loss(outputs, y, reduction="none").double().sum()
                tally.add(outputs, y)
    return criterion.score(total.item() / len(split), tally)
