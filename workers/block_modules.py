"""The torch modules made of modules: residual blocks, patches, joins, and what has taps."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from experiments.architectures.geometry import Size
from experiments.architectures.joins import From, Tap, taps_read
from experiments.architectures.layers import Layer

CHUNK_NUMBERS: Final = 2**24
"""The most numbers of patches (64 MiB in float32) that are looked at together in evaluation."""


class ResidualBlock(nn.Module):
    """Adds what `body` computes to what `shortcut` passes on."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Sequential) -> None:
        """Join two branches; an empty shortcut passes the input on."""
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to what both branches make of it, added."""
        result: Tensor = self.body(images) + self.shortcut(images)
        return result


class PatchNetwork(nn.Module):
    """Runs `layers` on every patch of an image as if it were an example of its own."""

    def __init__(self, layers: nn.Sequential, size: Size, stride: Size) -> None:
        """Cut patches of `size` pixels, `stride` apart."""
        super().__init__()
        self.layers = layers
        self.size, self.stride = size, stride

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to the scores of the patches, (N, K, H', W').

        In training, all patches of the batch are one batch of the inner network, whose
        batch norm sees them all. In evaluation a few images at a time are enough.
        """
        if self.training:
            return self._scores(images)
        sides = zip(images.shape[2:], self.size, self.stride, strict=True)
        numbers = images.shape[1] * self.size[0] * self.size[1]
        for length, side, stride in sides:
            numbers *= (length - side) // stride + 1
        chunks = torch.split(images, max(1, CHUNK_NUMBERS // numbers))
        return torch.cat([self._scores(chunk) for chunk in chunks])

    def _scores(self, images: Tensor) -> Tensor:
        (height, width), (down, right) = self.size, self.stride
        # (N, C, H', W', h, w): a view, whose copy as (N H' W', C, h, w) is made once.
        patches = images.unfold(2, height, down).unfold(3, width, right).permute(0, 2, 3, 1, 4, 5)
        scores: Tensor = self.layers(patches.flatten(0, 2))  # (N H' W', K) or (N H' W', K, 1, 1)
        return scores.reshape(*patches.shape[:3], -1).permute(0, 3, 1, 2)


class Sum(nn.Module):
    """Adds signals of one shape."""

    def forward(self, *signals: Tensor) -> Tensor:
        """Add up all of them, in their order."""
        first, *others = signals
        for other in others:
            first = first + other
        return first


class Concatenation(nn.Module):
    """Stacks the channels of signals."""

    def forward(self, *signals: Tensor) -> Tensor:
        """Map some (N, C_i, H, W) to (N, sum of C_i, H, W)."""
        return torch.cat(signals, dim=1)


class TappedNetwork(nn.Sequential):
    """A chain of layers, some of which read what stood at a tap before them."""

    def __init__(self, modules: Sequence[nn.Module], layers: Sequence[Layer]) -> None:
        """Note for each module, by its layer, what it reads and the name of what it gives."""
        super().__init__(*modules)
        self._wires = tuple(
            (
                isinstance(layer, From),
                taps_read(layer),
                layer.name if isinstance(layer, Tap) else "",
            )
            for layer in layers
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Send a batch through the layers."""
        signal = inputs
        taps: dict[str, Tensor] = {}
        for module, (goes_back, reads, name) in zip(self, self._wires, strict=True):
            here = () if goes_back else (signal,)
            signal = module(*here, *(taps[tap] for tap in reads))
            if name:
                taps[name] = signal
        return signal
