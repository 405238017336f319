"""Layer records -> `torch.nn.Module`, with weights from one generator only.

A module's names are the paths of `Architecture.trace` (`4.body.1`), so a checkpoint reads
like the plan's table.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import nn

from experiments.architecture import Architecture
from experiments.geometry import Shape
from experiments.layers import Activation, BatchNorm, Dropout, Flatten, Layer, Linear, Residual
from experiments.window_layers import AdaptiveAvgPool2d, AvgPool2d, Conv2d, MaxPool2d


class ResidualBlock(nn.Module):
    """Adds what `body` computes to what `shortcut` passes on."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential) -> None:
        """Join two branches; an empty shortcut passes the input on."""
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to what both branches make of it, added."""
        result: torch.Tensor = self.body(images) + self.shortcut(images)
        return result


class StreamDropout(nn.Module):
    """Dropout that draws from a generator of its own, never from torch's global one."""

    def __init__(self, p: float) -> None:
        """Drop elements with probability `p` while training."""
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Drop elements and scale the others by 1 / (1 - p); in evaluation, change nothing.

        Raises:
            RuntimeError: In training, before `set_dropout_generator`.
        """
        if not self.training or self.p == 0.0:
            return inputs
        if self.generator is None:
            raise RuntimeError(
                "dropout has no generator to draw from: call set_dropout_generator(module, "
                "generator) before training, or module.eval() for predictions"
            )
        kept = torch.empty_like(inputs).bernoulli_(1.0 - self.p, generator=self.generator)
        return inputs * kept.div_(1.0 - self.p)

    def extra_repr(self) -> str:
        """Show the probability where the module is printed."""
        return f"p={self.p:g}"

    def __getstate__(self) -> dict[str, object]:
        """Leave the generator behind: a copy or a saved module gets its own."""
        return self.__dict__ | {"generator": None}


def build_module(architecture: Architecture, *, generator: torch.Generator | None) -> nn.Module:
    """Make the torch module of an architecture, on the CPU, in float32.

    The weights have torch's default distributions, drawn from `generator` in the order of
    the layers. Without a generator they are zero, to be loaded.

    Raises:
        ShapeError: A layer does not fit.
    """
    module = module_without_storage(architecture)
    state = {
        f"{path}.{name}": tensor
        for path, part in module.named_modules()
        for name, tensor in _initial_state(part, generator).items()
    }
    # Not `to_empty`: it imports sympy the first time, which takes two seconds.
    module.load_state_dict(state, assign=True)
    return module


def module_without_storage(architecture: Architecture) -> nn.Sequential:
    """Make the torch module of an architecture on the meta device: shapes, no numbers.

    Raises:
        ShapeError: A layer does not fit.
    """
    with torch.device("meta"):
        return _sequential(architecture.layers, architecture.input_shape)


def set_dropout_generator(module: nn.Module, generator: torch.Generator) -> None:
    """Let all dropout of a network draw from `generator`, on the device of its inputs."""
    for part in module.modules():
        if isinstance(part, StreamDropout):
            part.generator = generator


def _initial_state(part: nn.Module, generator: torch.Generator | None) -> dict[str, torch.Tensor]:
    """Give the initial values of a module's own parameters and buffers, by name."""
    if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
        return type(part)(part.num_features).state_dict()  # zeros and ones; draws nothing
    if not isinstance(part, nn.Conv2d | nn.Linear):
        return {}
    # He et al. 2015 (Kaiming) with a = sqrt(5), torch's default: +-1 / sqrt(fan in).
    bound = 1.0 / math.sqrt(part.weight[0].numel())
    state = {name: torch.zeros(tensor.shape) for name, tensor in part.named_parameters()}
    if generator is not None:
        for tensor in state.values():
            tensor.uniform_(-bound, bound, generator=generator)
    return state


def _sequential(layers: Sequence[Layer], input_shape: Shape) -> nn.Sequential:
    modules, shape = [], input_shape
    for layer in layers:
        modules.append(_module(layer, shape))
        shape = layer.output_shape(shape)
    return nn.Sequential(*modules)


@functools.singledispatch
def _module(layer: Layer, input_shape: Shape) -> nn.Module:
    """Make the module of one layer for an input shape (without the batch)."""
    raise TypeError(f"no torch module for the layer {layer.kind} on {input_shape}")


@_module.register
def _(layer: Conv2d, input_shape: Shape) -> nn.Module:
    return nn.Conv2d(
        input_shape[0],
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.border,
        dilation=layer.dilation,
        groups=layer.groups,
        bias=layer.bias,
    )


@_module.register
def _(layer: Linear, input_shape: Shape) -> nn.Module:
    return nn.Linear(input_shape[0], layer.out_features, bias=layer.bias)


@_module.register
def _(layer: MaxPool2d, _input_shape: Shape) -> nn.Module:
    return nn.MaxPool2d(layer.kernel_size, stride=layer.step, padding=layer.padding)


@_module.register
def _(layer: AvgPool2d, _input_shape: Shape) -> nn.Module:
    return nn.AvgPool2d(layer.kernel_size, stride=layer.step, padding=layer.padding)


@_module.register
def _(layer: AdaptiveAvgPool2d, _input_shape: Shape) -> nn.Module:
    return nn.AdaptiveAvgPool2d(layer.output_size)


@_module.register
def _(_layer: BatchNorm, input_shape: Shape) -> nn.Module:
    norm = nn.BatchNorm2d if len(input_shape) == 3 else nn.BatchNorm1d
    return norm(input_shape[0])


@_module.register
def _(layer: Dropout, _input_shape: Shape) -> nn.Module:
    return StreamDropout(layer.p)


@_module.register
def _(_layer: Flatten, _input_shape: Shape) -> nn.Module:
    return nn.Flatten()


@_module.register
def _(layer: Residual, input_shape: Shape) -> nn.Module:
    return ResidualBlock(
        _sequential(layer.body, input_shape), _sequential(layer.shortcut, input_shape)
    )


@_module.register
def _(layer: Activation, _input_shape: Shape) -> nn.Module:
    options = () if layer.alpha is None else (layer.alpha,)
    return _ACTIVATIONS[layer.name](*options)


_ACTIVATIONS: Final[Mapping[str, Callable[..., nn.Module]]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
