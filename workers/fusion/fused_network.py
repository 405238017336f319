"""Architectures of one shape -> one module that holds all their weights.

It is made from the plain modules of `workers.modules`: layers without weights are taken as
they are, those with weights get their fused form, and names stay what they are, so that a
member's state is that of its plain module.
"""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import shape_text
from experiments.architectures.layers import Activation, Dropout, Layer
from experiments.planning.pack_shapes import UNSHARED, network_shape
from experiments.planning.strategies import Layout
from workers.block_modules import PatchNetwork, ResidualBlock, TappedNetwork
from workers.devices import memory_layout
from workers.fusion.fused_activations import choice, pooled_first
from workers.fusion.fused_layers import (
    FusedBatchNorm,
    FusedConv2d,
    FusedConvTranspose2d,
    FusedDropout,
    FusedLinear,
    FusedLocallyConnected,
    FusedMaxout,
    FusedPatches,
    FusedUnits,
)
from workers.layer_modules import FixedUnits, LocallyConnected, MaxoutUnits, StreamDropout
from workers.modules import module_without_storage


def can_fuse(architecture: Architecture) -> bool:
    """Say whether networks of this shape can be fused; torchvision's cannot."""
    return network_shape(architecture.layers) != UNSHARED


def fuse(
    architectures: Sequence[Architecture], *, device: torch.device, layout: Layout | None = None
) -> nn.Module:
    """Make one module of K networks of one shape, with weights of zero, to be loaded.

    The networks may differ in hidden functions and in the probabilities of dropout. It takes
    signals (K n, ...), those of member k at k n .. (k + 1) n. Members with equal functions
    should be neighbours: each stretch of them is a call of its own. `layout` is that of images,
    None for the rule for the device.

    Raises:
        ShapeError: A layer does not fit.
        ValueError: The networks differ in more, or cannot be fused.
    """
    if not architectures:
        raise ValueError("a fused network needs at least one member, got none")
    _check(architectures)
    modules = {each: module_without_storage(each) for each in dict.fromkeys(architectures)}
    order = memory_layout(modules[architectures[0]], device, wanted=layout)
    return _Fusion(len(architectures), device, order).network(
        [each.layers for each in architectures], [modules[each] for each in architectures]
    )


def load_member(module: nn.Module, index: int, state: Mapping[str, Tensor]) -> None:
    """Give a member the state of its plain module.

    Raises:
        ValueError: A name is missing or unknown, or a shape is another.
    """
    stacks = module.state_dict()
    for name in [*stacks, *state]:
        if name not in state or name not in stacks:
            lacks = "the state" if name not in state else "the network"
            raise ValueError(f"cannot load member {index}: {lacks} has no {name!r}")
        wanted, given = stacks[name].shape[1:], state[name].shape
        if wanted != given:
            raise ValueError(
                f"cannot load member {index}: {name} must have the shape {tuple(wanted)}, "
                f"got {tuple(given)}"
            )
    with torch.no_grad():
        for name, stack in stacks.items():
            stack[index].copy_(state[name])


def member_state(module: nn.Module, index: int) -> dict[str, Tensor]:
    """Copy a member's state, with the names, shapes and order of its plain module."""
    return {
        name: stack[index].clone(memory_format=torch.contiguous_format)
        for name, stack in module.state_dict().items()
    }


def set_dropout_generators(module: nn.Module, generators: Sequence[torch.Generator]) -> None:
    """Let all dropout draw from these, one a member, on the device of the inputs."""
    for part in module.modules():
        if isinstance(part, FusedDropout):
            part.generators = tuple(generators)


def _check(architectures: Sequence[Architecture]) -> None:
    """Hold that networks can be fused; ValueError says what stands against it."""
    first = architectures[0]
    shape = network_shape(first.layers)
    if shape == UNSHARED:
        raise ValueError(
            f"{first.name} cannot be fused: torchvision builds it; train its trials one by one"
        )
    for index, other in enumerate(architectures):
        if other.input_shape != first.input_shape:
            raise ValueError(
                f"members 0 and {index} have different inputs: "
                f"{shape_text(first.input_shape)} and {shape_text(other.input_shape)}"
            )
        if network_shape(other.layers) != shape:
            path, one, two = _difference(first.layers, other.layers)
            raise ValueError(f"members 0 and {index} differ in layer {path}: {one} and {two}")


def _difference(
    ones: Sequence[Layer], others: Sequence[Layer], *, prefix: str = ""
) -> tuple[str, str, str]:
    """Find the first layer in which networks of different shapes differ: its path, both texts."""
    for index, (one, other) in enumerate(itertools.zip_longest(ones, others)):
        path = f"{prefix}{index}"
        if one is None or other is None:
            return path, _text(one), _text(other)
        if network_shape([one]) == network_shape([other]):
            continue
        if isinstance(one, Residual) and isinstance(other, Residual):
            for (name, inner), (_, theirs) in zip(one.branches, other.branches, strict=True):
                if network_shape(inner) != network_shape(theirs):
                    return _difference(inner, theirs, prefix=f"{path}.{name}.")
        if isinstance(one, Patches) and isinstance(other, Patches) and one.text == other.text:
            return _difference(one.layers, other.layers, prefix=f"{path}.layers.")
        return path, _text(one), _text(other)
    raise AssertionError("the networks have one shape")


def _text(layer: Layer | None) -> str:
    return "none" if layer is None else f"{layer.text} ({layer.to_data()})"


class _Fusion:
    """Makes fused modules for so many members."""

    def __init__(self, num_members: int, device: torch.device, layout: torch.memory_format) -> None:
        self._num_members, self._device, self._layout = num_members, device, layout

    def network(
        self, layers: Sequence[Sequence[Layer]], modules: Sequence[nn.Module]
    ) -> nn.Sequential:
        """Fuse the members' chains of layers."""
        rows = [*zip(*layers, strict=True)]  # each layer of all members
        plain = zip(*(module.children() for module in modules), strict=True)
        parts = [self._fused(*pair) for pair in zip(rows, plain, strict=True)]
        for place, (here, after) in enumerate(itertools.pairwise(rows)):
            both = slice(place, place + 2)
            parts[both] = pooled_first(here, after, parts[both])
        if isinstance(modules[0], TappedNetwork):
            return TappedNetwork(parts, layers[0])
        return nn.Sequential(*parts)

    def _fused(self, layers: Sequence[Layer], modules: Sequence[nn.Module]) -> nn.Module:
        """Fuse the members' forms of one layer."""
        first = modules[0]
        match layers[0]:
            case Residual():
                return ResidualBlock(
                    *(
                        self.network(
                            [_branch(layer, name) for layer in layers],
                            [module.get_submodule(name) for module in modules],
                        )
                        for name, _ in layers[0].branches
                    )
                )
            case Patches():
                assert isinstance(first, PatchNetwork)
                inner = self.network(
                    [_inner(layer) for layer in layers],
                    [module.get_submodule("layers") for module in modules],
                )
                return FusedPatches(inner, first, self._num_members)
            case Dropout():
                return FusedDropout([m for m in modules if isinstance(m, StreamDropout)])
            case Activation():
                return choice(layers, modules)
        return self._stacked(first)

    def _stacked(self, plain: nn.Module) -> nn.Module:
        """Give the fused form of a layer that all members have; one without weights is its own."""
        num, device, layout = self._num_members, self._device, self._layout
        match plain:
            case nn.Conv2d():
                return FusedConv2d(plain, num, device, layout=layout)
            case nn.ConvTranspose2d():
                return FusedConvTranspose2d(plain, num, device, layout=layout)
            case LocallyConnected():
                return FusedLocallyConnected(plain, num, device)
            case MaxoutUnits():
                return FusedMaxout(plain, num, device)
            case nn.Linear():
                return FusedLinear(plain, num, device)
            case FixedUnits():
                return FusedUnits(plain, num, device)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                return FusedBatchNorm(plain, num, device)
        if plain.state_dict():
            raise TypeError(f"no fused form of {plain}, which has weights")
        return plain


def _branch(layer: Layer, name: str) -> Sequence[Layer]:
    assert isinstance(layer, Residual)
    return dict(layer.branches)[name]


def _inner(layer: Layer) -> Sequence[Layer]:
    assert isinstance(layer, Patches)
    return layer.layers
