"""What the weights of a module start as, drawn from one generator only."""

import math

import torch
from torch import Tensor, nn

from workers.layer_modules import BilinearTransposed, FixedUnits, LocallyConnected
from workers.torchvision_networks import TorchvisionModule


def initial_state(module: nn.Module, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Give the initial values of a module and of all in it, by name, in the order of its parts.

    Learned weights and constants are uniform in +-1 / sqrt(fan in): He et al. 2015
    (Kaiming) with a = sqrt(5), torch's default. Without a generator they are zero.
    """
    if isinstance(module, TorchvisionModule):
        return module.initial_state(generator)
    state = _own_state(module, generator)
    for name, part in module.named_children():
        values = initial_state(part, generator)
        state |= {f"{name}.{key}": value for key, value in values.items()}
    return state


def _own_state(part: nn.Module, generator: torch.Generator | None) -> dict[str, Tensor]:
    if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
        return type(part)(part.num_features).state_dict()  # zeros and ones; draws nothing
    state = {name: torch.zeros(tensor.shape) for name, tensor in _own_tensors(part).items()}
    if generator is None or not state:
        return state
    if isinstance(part, BilinearTransposed):
        return state | {"weight": _bilinear(part)}
    if isinstance(part, FixedUnits):
        # Only the direction of v counts: normal numbers prefer none.
        return {"weight": state["weight"].normal_(generator=generator)}
    bound = 1.0 / math.sqrt(_fan_in(part))
    for value in state.values():
        value.uniform_(-bound, bound, generator=generator)
    return state


def _own_tensors(part: nn.Module) -> dict[str, Tensor]:
    own = dict(part.named_parameters(recurse=False))
    return own | dict(part.named_buffers(recurse=False))


def _fan_in(part: nn.Module) -> int:
    """Count the numbers that each output adds up.

    Of a transposed convolution this is torch's figure, as if it were a convolution from
    its outputs to its inputs.
    """
    assert isinstance(part.weight, Tensor)
    return part.weight.shape[-1] if isinstance(part, LocallyConnected) else part.weight[0].numel()


def _bilinear(part: nn.ConvTranspose2d) -> Tensor:
    """Give weights (Ci, Co, kh, kw) that interpolate each channel for itself.

    A weight falls linearly with its distance from the filter's centre. Source: Long,
    Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015,
    section 4.1.
    """
    rows, columns = (_triangle(length) for length in part.weight.shape[2:])
    channels = torch.eye(*part.weight.shape[:2])
    return channels[:, :, None, None] * torch.outer(rows, columns)


def _triangle(length: int) -> Tensor:
    factor = (length + 1) // 2
    distances = torch.arange(length) - (length - 1) / 2
    return 1.0 - distances.abs() / factor
