"""The products that most of a fused network's time goes into: linear maps and convolutions.

Members lie along the batch, and each has weights of its own. A product of stacks of matrices
gives a member the same bits wherever it stands in the stack, and whatever the others are.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from experiments.architectures.geometry import Window
from workers.precision import product_type

_CHUNK_NUMBERS: Final = 2**20
"""The most numbers of columns that stand in memory at a time: 4 MiB in float32, which caches
hold and which the allocator does not fetch anew from the system at every step."""

_KEPT_NUMBERS: Final = 2**22
"""The most numbers of columns that a layer keeps for the gradients: 16 MiB in float32."""

_SHORT_RUN: Final = 16
"""Fewer neighbours than these (a line of a cache) are slow to copy one run after the other."""


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map each member's rows by its own matrix: (K n, in) -> (K n, out).

    Args:
        inputs: (K n, in).
        weight: (K, out, in).
        bias: (K, out), or None.
    """
    members = inputs.reshape(len(weight), -1, inputs.shape[1])
    outputs: Tensor = _Linear.apply(*_for_product(members, weight, bias))
    return outputs.flatten(0, 1)


def column_numbers(images: Tensor, weight: Tensor, window: Window) -> int:
    """Count the numbers that a member's images become for `convolve_columns`."""
    places = window.output_size((images.shape[2], images.shape[3]))
    return len(images) // len(weight) * math.prod(places) * weight[0, 0].numel()


def convolve_columns(images: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """Convolve each member's images with its own filters, as a product of matrices.

    What a filter sees at a place becomes a row of a matrix ("im2col"). Source: Chellapilla,
    Puri and Simard, "High Performance Convolutional Neural Networks for Document Processing",
    2006, section 3.

    Args:
        images: (K n, C, H, W), fastest with the channels last in memory.
        weight: (K, Co, C, kh, kw).
        bias: (K, Co), or None.
        window: How the filters slide.

    Returns:
        (K n, Co, H', W'), the channels last in memory.
    """
    outputs: Tensor = _ColumnConvolution.apply(*_for_product(images, weight, bias), window)
    return outputs


def columns_of(images: Tensor, window: Window) -> Tensor:
    """Write what a filter sees at every place: (N, C, H, W) -> (N, H', W', C kh kw)."""
    height, width = window.output_size((images.shape[2], images.shape[3]))
    seen = functional.unfold(
        images, window.kernel, window.dilation, window.padding, window.stride
    )  # (N, C kh kw, H' W')
    return torch.unflatten(seen.mT.contiguous(), 1, (height, width))


def convolve_seen(columns: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve images that are written as `columns_of` does; they get no gradients.

    Args:
        columns: (K, n, H', W', C kh kw); members may share the memory of theirs.
        weight: (K, Co, C, kh, kw).
        bias: (K, Co), or None.

    Returns:
        (K n, Co, H', W'), the channels last in memory.
    """
    matrices = weight.flatten(2).mT.contiguous()
    outputs: Tensor = _SeenConvolution.apply(*_for_product(columns.flatten(1, 3), matrices, bias))
    return outputs.view(-1, *columns.shape[2:4], weight.shape[1]).permute(0, 3, 1, 2)


def _for_product(
    inputs: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Bring operands to the type in which autocast, where it is on, wants a product."""
    dtype = product_type(inputs)
    return inputs.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


class _Linear(torch.autograd.Function):
    """(K, n, in) -> (K, n, out); the gradients have the parameters' order in memory."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        if bias is None:
            return torch.bmm(inputs, weight.mT)
        return torch.baddbmm(bias[:, None], inputs, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        (gradient,) = gradients
        needs_inputs, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight) if needs_inputs else None,
            torch.bmm(gradient.mT, inputs) if needs_weight else None,
            gradient.sum(dim=1) if needs_bias else None,
        )


class _SeenConvolution(torch.autograd.Function):
    """(K, rows, kernel) of columns and (K, kernel, Co) -> (K, rows, Co); columns are constants."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, matrices: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(columns)
        if bias is None:
            return torch.bmm(columns, matrices)
        return torch.baddbmm(bias[:, None], columns, matrices)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (columns,) = ctx.saved_tensors
        (gradient,) = gradients
        _, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            None,
            torch.bmm(columns.mT, gradient) if needs_weight else None,
            gradient.sum(dim=1) if needs_bias else None,
        )


class _ColumnConvolution(torch.autograd.Function):
    """A few members at a time; columns that are many are made again for the gradients."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, window: Window
    ) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.window = window
        num, channels = weight.shape[:2]
        size = window.output_size((images.shape[2], images.shape[3]))
        matrices = _as_matrices(weight)  # (K, kh kw C, Co)
        rows = len(images) // num * math.prod(size)
        outputs = images.new_empty(num, rows, channels)
        is_kept = ctx.needs_input_grad[1] and (
            num * column_numbers(images, weight, window) <= _KEPT_NUMBERS
        )
        ctx.columns = list[Tensor]()
        for part, members in _chunks(images, weight, window):
            columns = _columns(members, window)
            if is_kept:
                ctx.columns.append(columns)
            if bias is None:
                torch.bmm(columns, matrices[part], out=outputs[part])
            else:
                torch.baddbmm(bias[part, None], columns, matrices[part], out=outputs[part])
        return outputs.view(len(images), *size, channels).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        window: Window = ctx.window
        needs_images, needs_weight, needs_bias, _ = ctx.needs_input_grad
        num, channels = weight.shape[:2]
        gradient = gradients[0].permute(0, 2, 3, 1).reshape(num, -1, channels)  # (K, rows, Co)
        matrices = _as_matrices(weight)
        of_matrices = torch.empty_like(matrices) if needs_weight else None
        of_images = images.new_empty(images.permute(0, 2, 3, 1).shape) if needs_images else None
        for index, (part, members) in enumerate(_chunks(images, weight, window)):
            if of_matrices is not None:
                columns = ctx.columns[index] if ctx.columns else _columns(members, window)
                torch.bmm(columns.mT, gradient[part], out=of_matrices[part])
            if of_images is not None:
                columns = torch.bmm(gradient[part], matrices[part].mT)
                own = torch.unflatten(of_images, 0, (num, -1))[part].flatten(0, 1)
                _add_up_columns(columns, window, out=own)
        return (
            None if of_images is None else of_images.permute(0, 3, 1, 2),
            None if of_matrices is None else _as_filters(of_matrices, weight),
            gradient.sum(dim=1) if needs_bias else None,
            None,
        )


def _as_matrices(weight: Tensor) -> Tensor:
    """Write filters (K, Co, C, kh, kw) as (K, kh kw C, Co)."""
    return weight.permute(0, 3, 4, 2, 1).flatten(1, 3).contiguous()


def _as_filters(matrices: Tensor, like: Tensor) -> Tensor:
    """Undo `_as_matrices`."""
    num, channels, depth, height, width = like.shape
    return matrices.view(num, height, width, depth, channels).permute(0, 4, 3, 1, 2)


def _chunks(images: Tensor, weight: Tensor, window: Window) -> Iterator[tuple[slice, Tensor]]:
    """Yield some members, by their places, with their images (k, n, C, H, W)."""
    members = torch.unflatten(images, 0, (len(weight), -1))
    together = max(1, _CHUNK_NUMBERS // max(1, column_numbers(images, weight, window)))
    for start in range(0, len(members), together):
        part = slice(start, start + together)
        yield part, members[part]


def _columns(members: Tensor, window: Window) -> Tensor:
    """Write what a filter sees as a row for every place.

    (k, n, C, H, W) -> (k, n H' W', kh kw C). Where the rows would be copied in short runs,
    the matrix is written column by column.
    """
    num, size, depth, *sides = members.shape
    height, width = window.output_size((sides[0], sides[1]))
    (down, right), (row_gap, column_gap) = window.stride, window.dilation
    pixels = members.permute(0, 1, 3, 4, 2)  # (k, n, H, W, C)
    if any(window.padding):
        above, left = window.padding
        pixels = functional.pad(pixels, (0, 0, left, left, above, above))
    member, image, row, column, channel = pixels.stride()
    kernel_h, kernel_w = window.kernel
    seen = pixels.as_strided(
        (num, size, height, width, kernel_h, kernel_w, depth),
        (member, image, row * down, column * right, row * row_gap, column * column_gap, channel),
        pixels.storage_offset(),
    )
    if kernel_w * depth < _SHORT_RUN:
        # (k, kh kw C, n H' W') in memory
        return seen.permute(0, 4, 5, 6, 1, 2, 3).flatten(4).flatten(1, 3).mT
    return seen.flatten(4).flatten(1, 3)


def _add_up_columns(columns: Tensor, window: Window, *, out: Tensor) -> None:
    """Add what the rows say of each pixel: (k, n H' W', kh kw C) -> (k n, H, W, C)."""
    size, height, width, depth = out.shape
    (above, left), (kernel_h, kernel_w) = window.padding, window.kernel
    (down, right), (row_gap, column_gap) = window.stride, window.dilation
    rows, places = window.output_size((height, width))
    seen = columns.view(size, rows, places, kernel_h, kernel_w, depth)
    # Sums of bfloat16 are kept in float32, as torch's own kernels keep them.
    dtype = torch.promote_types(columns.dtype, torch.float32)
    padded = columns.new_zeros(size, height + 2 * above, width + 2 * left, depth, dtype=dtype)
    for i in range(kernel_h):
        for j in range(kernel_w):
            top, start = i * row_gap, j * column_gap
            met = padded[
                :,
                top : top + (rows - 1) * down + 1 : down,
                start : start + (places - 1) * right + 1 : right,
            ]
            met += seen[:, :, :, i, j]
    out.copy_(padded[:, above : above + height, left : left + width])
