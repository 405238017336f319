"""The torch modules of layers that torch does not have.

Nothing in them waits for the device, and all of them give the same numbers every time.
Modules made of modules are in `block_modules.py`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.architectures.geometry import Shape, Size


class StreamDropout(nn.Module):
    """Dropout that draws from a generator of its own, never from torch's global one."""

    def __init__(self, p: float) -> None:
        """Drop elements with probability `p` while training."""
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, inputs: Tensor) -> Tensor:
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
        # In bfloat16 1 / (1 - p) would be off by up to 0.2 %, the same for all elements.
        kept = torch.empty_like(inputs, dtype=torch.promote_types(inputs.dtype, torch.float32))
        kept.bernoulli_(1.0 - self.p, generator=self.generator)
        return (inputs * kept.div_(1.0 - self.p)).to(inputs.dtype)

    def extra_repr(self) -> str:
        """Show the probability where the module is printed."""
        return f"p={self.p:g}"

    def __getstate__(self) -> dict[str, object]:
        """Leave the generator behind: a copy or a saved module gets its own."""
        return self.__dict__ | {"generator": None}


class Step(nn.Module):
    """1 where the input is 0 or more, otherwise -1; passes a gradient of zero."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Map each element."""
        return _step(inputs)


class FixedUnits(nn.Module):
    """Rosenblatt's associative units: `sign(v x)`, with v drawn once and never learned."""

    def __init__(self, in_features: int, out_features: int) -> None:
        """Keep v (out, in) with the network's state, though it is no parameter."""
        super().__init__()
        self.weight: Tensor
        self.register_buffer("weight", torch.empty(out_features, in_features))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, in) to (N, out)."""
        return _step(functional.linear(inputs, self.weight))


class MaxoutUnits(nn.Linear):
    """The largest of `pieces` linear functions for each unit; a unit's rows stand together."""

    def __init__(self, in_features: int, out_features: int, pieces: int, *, bias: bool) -> None:
        """Keep all linear functions in one matrix, (out * pieces, in)."""
        super().__init__(in_features, out_features * pieces, bias=bias)
        self.pieces = pieces

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, in) to (N, out)."""
        functions = super().forward(inputs)  # (N, out * pieces)
        return functions.view(len(inputs), -1, self.pieces).amax(dim=2)


class LocallyConnected(nn.Module):
    """A convolution with filters of its own at every place."""

    def __init__(
        self, input_shape: Shape, output_shape: Shape, kernel: Size, stride: Size, *, bias: bool
    ) -> None:
        """Keep the weights as (places, Co, Ci kh kw), the constants as (Co, H', W')."""
        super().__init__()
        channels, *grid = output_shape
        inputs = input_shape[0] * kernel[0] * kernel[1]
        self.kernel, self.stride, self.grid = kernel, stride, grid
        self.weight = nn.Parameter(torch.empty(grid[0] * grid[1], channels, inputs))
        self.bias = nn.Parameter(torch.empty(output_shape)) if bias else None

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, Ci, H, W) to (N, Co, H', W')."""
        patches = functional.unfold(images, self.kernel, stride=self.stride)  # (N, K, places)
        outputs = torch.einsum("nkp,pok->nop", patches, self.weight)
        # Contiguous: for a batch of one, whose strides are like those of channels that come
        # last, torch's batch norm gives a wrong gradient.
        outputs = outputs.reshape(len(images), -1, *self.grid).contiguous()
        return outputs if self.bias is None else outputs + self.bias


class BilinearTransposed(nn.ConvTranspose2d):
    """A transposed convolution whose weights start as bilinear interpolation."""


class BilinearUpsample(nn.Module):
    """Bilinear interpolation as a matrix for each direction.

    The numbers are those of `functional.interpolate`. A product of matrices repeats on
    every device, which the gradient of `interpolate` does not on a GPU, and it is up to
    seven times as fast on a CPU core.
    """

    def __init__(self, scale: Size) -> None:
        """Grow height and width by these factors."""
        super().__init__()
        self.scale = scale

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H sh, W sw)."""
        rows = _interpolation(images.shape[2], self.scale[0], images)  # (H, H sh)
        columns = _interpolation(images.shape[3], self.scale[1], images)
        return rows.mT @ images @ columns

    def extra_repr(self) -> str:
        """Show the factors where the module is printed."""
        return f"scale={self.scale}"


class Reshape(nn.Module):
    """The same numbers in another shape."""

    def __init__(self, shape: Shape) -> None:
        """Give every example this shape."""
        super().__init__()
        self.shape = shape

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, ...) to (N, C, H, W)."""
        return inputs.reshape(len(inputs), *self.shape)

    def extra_repr(self) -> str:
        """Show the shape where the module is printed."""
        return f"shape={self.shape}"


def _step(inputs: Tensor) -> Tensor:
    """Give the sign, with that of 0 as 1; torch's derivative of a sign is zero.

    NaN stays NaN: its sign would hide that the training has diverged.
    """
    return torch.where(inputs.isnan(), inputs, torch.sign(torch.sign(inputs) + 0.5))


def _interpolation(length: int, factor: int, like: Tensor) -> Tensor:
    """Give the matrix (L, L factor) that interpolates a row of numbers linearly."""
    rows = torch.eye(length, dtype=like.dtype, device=like.device)[None]
    matrix: Tensor = functional.interpolate(rows, scale_factor=float(factor), mode="linear")[0]
    return matrix
