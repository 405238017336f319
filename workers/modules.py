"""Layer records -> `torch.nn.Module`, with weights from one generator only.

A module's names are the paths of `Architecture.trace` (`4.body.1`), so a checkpoint reads
like the plan's table.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import nn

from experiments.architectures import layers as layer_records
from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import Shape
from experiments.architectures.joins import Add, Concat, From, Tap
from experiments.architectures.layers import Activation, BatchNorm, Dropout, Flatten, Layer, Linear
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.architectures.unit_layers import AssociativeUnits, Maxout
from experiments.architectures.upsampling_layers import ConvTranspose2d, Upsample
from experiments.architectures.window_layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    LocallyConnected2d,
    MaxPool2d,
)
from workers.block_modules import (
    Concatenation,
    PatchNetwork,
    ResidualBlock,
    Sum,
    TappedNetwork,
)
from workers.initial_values import initial_state
from workers.layer_modules import (
    BilinearTransposed,
    BilinearUpsample,
    FixedUnits,
    LocallyConnected,
    MaxoutUnits,
    Reshape,
    Step,
    StreamDropout,
)
from workers.torchvision_networks import TorchvisionModule


def build_module(architecture: Architecture, *, generator: torch.Generator | None) -> nn.Module:
    """Make the torch module of an architecture, on the CPU, in float32.

    The weights have torch's default distributions, drawn from `generator` in the order of
    the layers. Without a generator they are zero, to be loaded.

    Raises:
        ShapeError: A layer does not fit.
    """
    module = module_without_storage(architecture)
    # Not `to_empty`: it imports sympy the first time, which takes two seconds.
    module.load_state_dict(initial_state(module, generator), assign=True)
    return module


def module_without_storage(architecture: Architecture) -> nn.Sequential:
    """Make the torch module of an architecture on the meta device: shapes, no numbers.

    Without taps it is a plain `nn.Sequential`, and nothing stands between its layers.

    Raises:
        ShapeError: A layer does not fit.
    """
    shapes = {row.path: row.input_shape for row in architecture.trace()}
    with torch.device("meta"):
        modules = _modules(architecture.layers, shapes, prefix="")
        if any(isinstance(layer, Tap) for layer in architecture.layers):
            return TappedNetwork(modules, architecture.layers)
        return nn.Sequential(*modules)


def set_dropout_generator(module: nn.Module, generator: torch.Generator) -> None:
    """Let all dropout of a network draw from `generator`, on the device of its inputs."""
    for part in module.modules():
        if isinstance(part, StreamDropout):
            part.generator = generator


def _modules(
    layers: Sequence[Layer], shapes: Mapping[str, Shape], *, prefix: str
) -> list[nn.Module]:
    """Make the modules of layers, the paths of whose input shapes start with `prefix`."""

    def block(inner: Sequence[Layer], place: str) -> nn.Sequential:
        return nn.Sequential(*_modules(inner, shapes, prefix=place))

    modules: list[nn.Module] = []
    for index, layer in enumerate(layers):
        path = f"{prefix}{index}"
        match layer:
            case Residual():
                branches = (block(part, f"{path}.{name}.") for name, part in layer.branches)
                modules.append(ResidualBlock(*branches))
            case Patches():
                inner = block(layer.layers, f"{path}.layers.")
                modules.append(PatchNetwork(inner, layer.size, layer.stride))
            case _:
                modules.append(_module(layer, shapes[path]))
    return modules


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
def _(layer: LocallyConnected2d, input_shape: Shape) -> nn.Module:
    output_shape = layer.output_shape(input_shape)
    return LocallyConnected(
        input_shape, output_shape, layer.kernel_size, layer.stride, bias=layer.bias
    )


@_module.register
def _(layer: ConvTranspose2d, input_shape: Shape) -> nn.Module:
    transposed = BilinearTransposed if layer.init == "bilinear" else nn.ConvTranspose2d
    return transposed(
        input_shape[0],
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        bias=layer.bias,
    )


@_module.register
def _(layer: Upsample, _input_shape: Shape) -> nn.Module:
    if layer.mode == "bilinear":
        return BilinearUpsample(layer.scale)
    return nn.Upsample(scale_factor=layer.scale, mode=layer.mode)


@_module.register
def _(layer: Linear, input_shape: Shape) -> nn.Module:
    return nn.Linear(input_shape[0], layer.out_features, bias=layer.bias)


@_module.register
def _(layer: Maxout, input_shape: Shape) -> nn.Module:
    return MaxoutUnits(input_shape[0], layer.out_features, layer.pieces, bias=layer.bias)


@_module.register
def _(layer: AssociativeUnits, input_shape: Shape) -> nn.Module:
    return FixedUnits(input_shape[0], layer.out_features)


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
def _(layer: layer_records.Reshape, _input_shape: Shape) -> nn.Module:
    return Reshape(layer.shape)


@_module.register(Tap)
@_module.register(From)
def _(_layer: Layer, _input_shape: Shape) -> nn.Module:
    return nn.Identity()  # `TappedNetwork` gives them what they pass on


@_module.register
def _(_layer: Add, _input_shape: Shape) -> nn.Module:
    return Sum()


@_module.register
def _(_layer: Concat, _input_shape: Shape) -> nn.Module:
    return Concatenation()


@_module.register
def _(layer: TorchvisionNetwork, _input_shape: Shape) -> nn.Module:
    return TorchvisionModule(layer)


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
    "step": Step,
    "softmax": functools.partial(nn.Softmax, dim=1),
}
