"""The layers of a fused network: many members' weights in one module.

Members lie along the batch, member by member: of K members' signals (K n, ...) the rows
k n .. (k + 1) n belong to member k. Parameters and buffers are those of the plain modules,
stacked along a new first dimension under the same names. A member's numbers depend neither
on the others nor on its place.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.architectures.geometry import Shape, Size, Window
from workers.block_modules import CHUNK_NUMBERS, PatchNetwork
from workers.fusion.fused_products import convolve_columns, convolve_seen, linear
from workers.layer_modules import FixedUnits, LocallyConnected, MaxoutUnits, Step, StreamDropout

_MOST_COLUMN_NUMBERS: Final = 2**17
"""The most numbers of a member's columns (512 KiB in float32) for which products of columns
are faster on a CPU core than torch's convolution, called for one member after the other."""


class FusedLayer(nn.Module):
    """The weights of one layer of K members."""

    def __init__(self, plain: nn.Module, num_members: int, device: torch.device) -> None:
        """Stack zeros in the shapes of a plain layer's parameters and buffers."""
        super().__init__()
        self.num_members = num_members
        for name, own in plain.named_parameters(recurse=False):
            self.register_parameter(name, nn.Parameter(_zeros(own, num_members, device)))
        for name, values in plain.named_buffers(recurse=False):
            self.register_buffer(name, _zeros(values, num_members, device))

    @property
    def bias_or_none(self) -> Tensor | None:
        """Give the stacked constants, where the layer has any."""
        return getattr(self, "bias", None)

    def extra_repr(self) -> str:
        """Show the number of members where the module is printed."""
        return f"members={self.num_members}"


class FusedConv2d(FusedLayer):
    """A convolution of each member.

    On the CPU it is a product of matrices where a member's columns are few, and otherwise
    torch's convolution for one member after the other: grouped ones round differently for
    different numbers of groups. On other devices it is one grouped convolution. The rule is
    fixed, not measured on the spot, because the order of summation decides the last bit.
    """

    weight: Tensor

    def __init__(
        self,
        plain: nn.Conv2d,
        num_members: int,
        device: torch.device,
        *,
        layout: torch.memory_format,
    ) -> None:
        """Take over a plain convolution's options; `layout` is that of its weights."""
        super().__init__(plain, num_members, device)
        self.groups, self.layout = plain.groups, layout
        assert not isinstance(plain.padding, str)
        self.window = Window(
            _pair(plain.kernel_size),
            _pair(plain.stride),
            _pair(plain.padding),
            _pair(plain.dilation),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (K n, C, H, W), or columns (K, n, H', W', C kh kw), to (K n, Co, H', W')."""
        if images.ndim == 5:
            return convolve_seen(images, self.weight, self.bias_or_none)
        if images.device.type != "cpu":
            return _grouped(images, self.weight, self.bias_or_none, self._convolve)
        if self.takes_columns(images.shape[1:], len(images) // self.num_members):
            return convolve_columns(images, self.weight, self.bias_or_none, self.window)
        return _one_by_one(images, self.weight, self.bias_or_none, self._convolve, self.layout)

    def takes_columns(self, image: Shape, batch_size: int) -> bool:
        """Say whether a CPU convolves batches of images (C, H, W) as products of columns."""
        most = _MOST_COLUMN_NUMBERS
        return self.groups == 1 and batch_size * self.column_numbers(image) <= most

    def column_numbers(self, image: Shape) -> int:
        """Count the numbers that an image (C, H, W) becomes as columns."""
        _, height, width = image
        places = self.window.output_size((height, width))
        return math.prod(places) * self.weight[0, 0].numel()

    def _convolve(
        self, images: Tensor, weight: Tensor, bias: Tensor | None, members: int
    ) -> Tensor:
        window, groups = self.window, self.groups * members
        return functional.conv2d(
            images, weight, bias, window.stride, window.padding, window.dilation, groups
        )


class FusedConvTranspose2d(FusedLayer):
    """A transposed convolution of each member, one after the other on the CPU."""

    weight: Tensor

    def __init__(
        self,
        plain: nn.ConvTranspose2d,
        num_members: int,
        device: torch.device,
        *,
        layout: torch.memory_format,
    ) -> None:
        """Take over a plain layer's options; `layout` is that of its weights."""
        super().__init__(plain, num_members, device)
        assert plain.groups == 1
        assert not isinstance(plain.padding, str)
        self.stride, self.padding = _pair(plain.stride), _pair(plain.padding)
        self.layout = layout

    def forward(self, images: Tensor) -> Tensor:
        """Map (K n, C, H, W) to (K n, Co, H', W')."""
        if images.device.type != "cpu":
            return _grouped(images, self.weight, self.bias_or_none, self._convolve)
        return _one_by_one(images, self.weight, self.bias_or_none, self._convolve, self.layout)

    def _convolve(
        self, images: Tensor, weight: Tensor, bias: Tensor | None, members: int
    ) -> Tensor:
        return functional.conv_transpose2d(
            images, weight, bias, self.stride, self.padding, groups=members
        )


class FusedLocallyConnected(FusedLayer):
    """A convolution of each member with filters of its own at every place."""

    weight: Tensor

    def __init__(self, plain: LocallyConnected, num_members: int, device: torch.device) -> None:
        """Take over a plain layer's options."""
        super().__init__(plain, num_members, device)
        self.kernel, self.stride, self.grid = plain.kernel, plain.stride, plain.grid

    def forward(self, images: Tensor) -> Tensor:
        """Map (K n, Ci, H, W) to (K n, Co, H', W')."""
        patches = functional.unfold(images, self.kernel, stride=self.stride)
        patches = torch.unflatten(patches, 0, (self.num_members, -1))  # (K, n, inputs, places)
        outputs = torch.einsum("knip,kpoi->knop", patches, self.weight)
        outputs = outputs.reshape(*outputs.shape[:3], *self.grid).contiguous()
        bias = self.bias_or_none
        return (outputs if bias is None else outputs + bias[:, None]).flatten(0, 1)


class FusedLinear(FusedLayer):
    """A fully connected layer of each member."""

    weight: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (K n, in) to (K n, out)."""
        return linear(inputs, self.weight, self.bias_or_none)


class FusedMaxout(FusedLinear):
    """The largest of `pieces` linear functions for each unit of each member."""

    def __init__(self, plain: MaxoutUnits, num_members: int, device: torch.device) -> None:
        """Take over a plain layer's options."""
        super().__init__(plain, num_members, device)
        self.pieces = plain.pieces

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (K n, in) to (K n, out)."""
        functions = super().forward(inputs)  # (K n, out * pieces)
        return functions.view(len(inputs), -1, self.pieces).amax(dim=2)


class FusedUnits(FusedLayer):
    """Rosenblatt's associative units of each member: `sign(v x)`, never learned."""

    weight: Tensor

    def __init__(self, plain: FixedUnits, num_members: int, device: torch.device) -> None:
        """Stack the fixed weights."""
        super().__init__(plain, num_members, device)
        self._step = Step()

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (K n, in) to (K n, out)."""
        signs: Tensor = self._step(linear(inputs, self.weight, None))
        return signs


class FusedBatchNorm(FusedLayer):
    """Batch norm of each member over its own examples, with statistics of its own.

    On the CPU one member after the other; elsewhere the members are channels of one.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        plain: nn.BatchNorm1d | nn.BatchNorm2d,
        num_members: int,
        device: torch.device,
    ) -> None:
        """Take over a plain layer's options."""
        super().__init__(plain, num_members, device)
        assert plain.momentum is not None
        self.momentum, self.eps = plain.momentum, plain.eps

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise (K n, F) or (K n, C, H, W).

        Raises:
            ValueError: In training, with one value of a channel.
        """
        if self.training:
            self.num_batches_tracked += 1
        return self._in_turn(inputs) if inputs.device.type == "cpu" else self._at_once(inputs)

    def _in_turn(self, inputs: Tensor) -> Tensor:
        own = zip(*(stack.unbind() for stack in self._stacks), strict=True)
        parts = zip(inputs.chunk(self.num_members), own, strict=True)
        return torch.cat([self._norm(part, *values) for part, values in parts])

    def _at_once(self, inputs: Tensor) -> Tensor:
        channels = _members_to_channels(inputs, self.num_members)
        # Views, so that the statistics of all are updated in place.
        normal = self._norm(channels, *(stack.view(-1) for stack in self._stacks))
        return _channels_to_members(normal, self.num_members)

    @property
    def _stacks(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.running_mean, self.running_var, self.weight, self.bias

    def _norm(
        self, inputs: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        return functional.batch_norm(
            inputs, mean, variance, weight, bias, self.training, self.momentum, self.eps
        )


class FusedDropout(nn.Module):
    """Dropout of each member with its own probability, from its own generator."""

    def __init__(self, plain: Sequence[StreamDropout]) -> None:
        """Take over the members' probabilities."""
        super().__init__()
        self.probabilities = tuple(layer.p for layer in plain)
        self.generators: tuple[torch.Generator, ...] = ()

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop elements and scale the others by 1 / (1 - p); in evaluation, change nothing.

        Each member draws what `StreamDropout` would draw for its examples, in their order in
        memory; one that drops nothing draws nothing.

        Raises:
            RuntimeError: In training, before `set_dropout_generators`.
        """
        if not self.training or not any(self.probabilities):
            return inputs
        if not self.generators:
            raise RuntimeError(
                "dropout has no generators to draw from: call set_dropout_generators(module, "
                "generators) before training, or module.eval() for predictions"
            )
        masks = []
        members = inputs.detach().chunk(len(self.probabilities))
        for own, p, generator in zip(members, self.probabilities, self.generators, strict=True):
            mask = torch.empty_like(own, dtype=torch.promote_types(own.dtype, torch.float32))
            if p == 0.0:
                masks.append(mask.fill_(1.0))
            else:
                masks.append(mask.bernoulli_(1.0 - p, generator=generator).div_(1.0 - p))
        return (inputs * torch.cat(masks)).to(inputs.dtype)

    def __getstate__(self) -> dict[str, object]:
        """Leave the generators behind: a copy or a saved module gets its own."""
        return self.__dict__ | {"generators": ()}

    def extra_repr(self) -> str:
        """Show the probabilities where the module is printed."""
        return f"p={self.probabilities}"


class FusedPatches(PatchNetwork):
    """A fused network on every patch; in evaluation, of a few images of each member at a time."""

    def __init__(self, layers: nn.Sequential, plain: PatchNetwork, num_members: int) -> None:
        """Cut the patches that a plain layer cuts."""
        super().__init__(layers, plain.size, plain.stride)
        self.num_members = num_members

    def forward(self, images: Tensor) -> Tensor:
        """Map (K n, C, H, W) to the scores of the patches, (K n, K', H', W')."""
        if self.training:
            return self._scores(images)
        sides = zip(images.shape[2:], self.size, self.stride, strict=True)
        numbers = self.num_members * images.shape[1] * self.size[0] * self.size[1]
        for length, side, stride in sides:
            numbers *= (length - side) // stride + 1
        members = torch.unflatten(images, 0, (self.num_members, -1))
        chunks = torch.split(members, max(1, CHUNK_NUMBERS // numbers), dim=1)
        scores = [
            torch.unflatten(self._scores(chunk.flatten(0, 1)), 0, (self.num_members, -1))
            for chunk in chunks
        ]
        return torch.cat(scores, dim=1).flatten(0, 1)


_Convolve = Callable[[Tensor, Tensor, Tensor | None, int], Tensor]
"""(images, weight, bias, number of members in the channels) -> images."""


def _one_by_one(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    convolve: _Convolve,
    layout: torch.memory_format,
) -> Tensor:
    """Convolve one member after the other, each as the plain module does."""
    num = len(weight)
    # As `nn.Module.to` lays weights out: the layout of the results follows from it. (A view of
    # five dimensions would lose it for filters of one channel.)
    filters = weight.flatten(0, 1).to(memory_format=layout).chunk(num)
    constants = (None,) * num if bias is None else bias.unbind()
    members = zip(images.chunk(num), filters, constants, strict=True)
    return torch.cat([convolve(*member, 1) for member in members])


def _grouped(images: Tensor, weight: Tensor, bias: Tensor | None, convolve: _Convolve) -> Tensor:
    """Convolve all members at once, as groups of channels."""
    num = len(weight)
    channels = _members_to_channels(images, num)
    constants = None if bias is None else bias.flatten()
    return _channels_to_members(convolve(channels, weight.flatten(0, 1), constants, num), num)


def _members_to_channels(signal: Tensor, num: int) -> Tensor:
    """Put members next to each other in the channels: (K n, C, ...) -> (n, K C, ...)."""
    return torch.unflatten(signal, 0, (num, -1)).transpose(0, 1).flatten(1, 2)


def _channels_to_members(signal: Tensor, num: int) -> Tensor:
    """Undo `_members_to_channels`."""
    return torch.unflatten(signal, 1, (num, -1)).transpose(0, 1).flatten(0, 1)


def _zeros(like: Tensor, num: int, device: torch.device) -> Tensor:
    """Make zeros (K, ...) of the shape and type of one member's."""
    return torch.zeros(num, *like.shape, dtype=like.dtype, device=device)


def _pair(sizes: tuple[int, ...]) -> Size:
    height, width = sizes
    return height, width
