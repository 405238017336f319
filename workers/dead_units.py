"""Which units of a network never answer: rectified ones that are zero for every example.

A unit is a channel of an image, or a number of a vector, behind a `relu`: no gradient reaches the
weights before one that is zero everywhere. Units inside `patches` are not looked at.
"""

import itertools
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from workers.block_modules import PatchNetwork
from workers.fusion.fused_activations import FusedChoice

MOST_EXAMPLES: Final = 512
"""So many examples of a split are looked at, the first: a unit that is zero for all of these
answers to less than one in a hundred, with a confidence of 99 % (0.99^512 = 0.6 %)."""


class UnitWatch:
    """Looks at the rectified units of K members while they are evaluated, and changes nothing.

    A context: in it, the module's forward passes are watched, each announced by `begin_pass`. It
    looks at what rectifiers give, members along the batch (K n, C, ...).
    """

    def __init__(self, module: nn.Module, *, num_members: int = 1) -> None:
        """Find the units of a network, plain or fused."""
        self._rectifiers = [*_rectifiers(module, num_members)]
        self._num_members = num_members
        self._left = MOST_EXAMPLES
        self._seen = 0  # so many examples of a member are looked at in the pass under way
        self._call = 0  # so many rectifiers have been passed in it; a module may be passed twice
        self._largest: list[tuple[slice, Tensor]] = []  # (k, C) by call, of some members
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        """Begin to watch."""
        for rectifier, stretches in self._rectifiers:

            def look(
                _: nn.Module, __: Any, outputs: Tensor, stretches: list[slice] = stretches
            ) -> None:
                for members in stretches:
                    self._look(outputs, members)

            self._handles.append(rectifier.register_forward_hook(look))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Watch no more."""
        while self._handles:
            self._handles.pop().remove()

    def begin_pass(self) -> None:
        """Announce a forward pass of the next examples of each member."""
        self._left -= self._seen
        self._seen = self._call = 0

    def shares(self) -> list[float | None]:
        """Give the share of each member's units that were zero; None for one that has none."""
        dead, units = [0] * self._num_members, [0] * self._num_members
        for members, largest in self._largest:
            counts = (largest == 0).sum(dim=1).tolist()
            for member, count in zip(range(members.start, members.stop), counts, strict=True):
                dead[member] += count
                units[member] += largest.shape[1]
        return [d / n if n else None for d, n in zip(dead, units, strict=True)]

    def _look(self, outputs: Tensor, members: slice) -> None:
        """Keep the largest answer of each unit: none is below 0."""
        if not self._left:
            return
        own = torch.unflatten(outputs, 0, (self._num_members, -1))[members, : self._left]
        self._seen = own.shape[1]
        largest = own.amax(dim=(1, *range(3, own.dim())))  # (k, C)
        if self._call == len(self._largest):
            self._largest.append((members, largest))
        else:
            _, before = self._largest[self._call]
            self._largest[self._call] = members, torch.maximum(before, largest)
        self._call += 1


def _rectifiers(module: nn.Module, num_members: int) -> Iterator[tuple[nn.Module, list[slice]]]:
    """Find what gives rectified numbers, and of which members."""
    if isinstance(module, nn.ReLU):
        yield module, [slice(0, num_members)]
    elif isinstance(module, FusedChoice):
        ends = itertools.accumulate(module.counts)
        stretches = [
            slice(end - count, end)
            for layer, count, end in zip(module.layers, module.counts, ends, strict=True)
            if isinstance([*layer.modules()][-1], nn.ReLU)  # after a pooling, if there is one
        ]
        yield module, stretches
    elif not isinstance(module, PatchNetwork):
        for part in module.children():
            yield from _rectifiers(part, num_members)
