"""The activations of a fused network: one for each stretch of members, and after a pooling."""

import itertools
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from experiments.architectures.layers import Activation, Layer
from experiments.architectures.window_layers import MaxPool2d

_RISING: Final = frozenset({"relu", "leaky_relu", "tanh", "sigmoid", "elu"})
"""Functions that never fall (`alpha` is not negative), so that the largest of their values is
that of the largest argument."""


class FusedChoice(nn.Module):
    """Layers without weights that differ between members: neighbours share one."""

    def __init__(self, choices: Sequence[tuple[nn.Module, int]]) -> None:
        """Give each layer to the next so many members."""
        super().__init__()
        self.layers = nn.ModuleList(layer for layer, _ in choices)
        self.counts = tuple(count for _, count in choices)

    def forward(self, inputs: Tensor) -> Tensor:
        """Send each member's examples through its own layer."""
        size = len(inputs) // sum(self.counts)
        parts = torch.split(inputs, [count * size for count in self.counts])
        return torch.cat([layer(part) for layer, part in zip(self.layers, parts, strict=True)])


def choice(layers: Sequence[Layer], modules: Sequence[nn.Module]) -> nn.Module:
    """Give the one function of all members, or one for each stretch of equal ones."""
    pairs = zip(layers, modules, strict=True)
    stretches = [list(group) for _, group in itertools.groupby(pairs, key=lambda pair: pair[0])]
    choices = [(stretch[0][1], len(stretch)) for stretch in stretches]
    return choices[0][0] if len(choices) == 1 else FusedChoice(choices)


def pooled_first(
    activations: Sequence[Layer], pools: Sequence[Layer], parts: Sequence[nn.Module]
) -> Sequence[nn.Module]:
    """Let activations that never fall come behind the max pooling that follows them.

    They give the same there, as max f(x) = f(max x), for fewer numbers. Where several numbers of
    a window have the largest value, their slope is 0, unless rounding made them equal. A
    member's order depends on its own function only.

    Args:
        activations: A layer of each member.
        pools: The layer after it, of each.
        parts: The fused forms of both.

    Returns:
        What stands in their two places.
    """
    if not (isinstance(activations[0], Activation) and isinstance(pools[0], MaxPool2d)):
        return parts
    activation, pool = parts
    if not isinstance(activation, FusedChoice):
        return [pool, activation] if _rises(activations[0]) else parts
    starts = itertools.accumulate(activation.counts, initial=0)
    rises = [_rises(activations[start]) for start in [*starts][:-1]]
    if len(set(rises)) == 1:
        return [pool, activation] if rises[0] else parts
    pairs = zip(rises, activation.layers, strict=True)
    both = [nn.Sequential(pool, own) if rise else nn.Sequential(own, pool) for rise, own in pairs]
    return [FusedChoice([*zip(both, activation.counts, strict=True)]), nn.Identity()]


def _rises(layer: Layer) -> bool:
    return isinstance(layer, Activation) and layer.name in _RISING
