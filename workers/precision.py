"""The arithmetic of a network's passes: float32, or bfloat16 where numbers are multiplied.

In `bfloat16` torch's autocast rounds what convolutions and products of matrices take to 8 bits,
and adds up in float32. Weights, gradients of weights, the optimizer, batch norm's statistics,
losses and metrics stay in float32. Source: Micikevicius et al., "Mixed Precision Training", 2018;
bfloat16 has the exponents of float32, so losses need no scaling (Kalamkar et al., "A Study of
BFLOAT16 for Deep Learning Training", 2019).
"""

from collections.abc import Callable

import torch
from torch import Tensor

Forward = Callable[[Tensor], Tensor]
"""Inputs (n, ...) -> a network's raw outputs (n, ...)."""


def forward_in(precision: str, module: Forward, device: torch.device) -> Forward:
    """Give a network's forward pass in a precision of `experiments.records.PRECISIONS`.

    Its outputs are float32 in any of them; the module is as it was, and may be trained,
    evaluated and saved.
    """
    if precision == "float32":
        return module
    assert precision == "bfloat16", precision

    def forward(inputs: Tensor) -> Tensor:
        # Each weight is used once a pass, so there is nothing to gain from a cache of rounded
        # weights, which a CUDA graph must not rely on.
        with torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False):
            outputs = module(inputs)
        return outputs.float()

    return forward


def product_type(operand: Tensor) -> torch.dtype:
    """Give the type in which a product that torch's autocast does not know should be taken.

    It is autocast's where that is on, for float32 numbers; otherwise the operand's own.
    """
    device = operand.device.type
    if operand.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return operand.dtype
    return torch.get_autocast_dtype(device)
