"""What can be seen inside a trained network: its first layer's filters, and its feature maps."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments.architectures.architecture import Architecture
from workers.layer_modules import StreamDropout
from workers.portrait_records import Filters, LayerMaps
from workers.torchvision_networks import TorchvisionModule

_GREY, _COLOUR = 1, 3
_PASSES_ON = (nn.Identity, nn.Flatten, StreamDropout)


def displayed(images: NDArray[np.generic], *, full_scale: float) -> NDArray[np.uint8]:
    """Make images (N, C, H, W) of 0..full_scale into (N, H, W, C) of 0..255.

    C becomes 1, as their mean, where it is neither 1 nor 3. Values out of range are cut off, and
    what is no number is black.
    """
    scaled = images.astype(np.float64) * (255.0 / full_scale)
    if scaled.shape[1] not in (_GREY, _COLOUR):
        scaled = scaled.mean(axis=1, keepdims=True)
    shown = np.nan_to_num(np.rint(scaled)).clip(0, 255)
    pixels: NDArray[np.uint8] = shown.astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)


def first_filters(network: nn.Module, architecture: Architecture, *, most: int) -> Filters | None:
    """Give the first layer's weights as images; None where they don't lie on the image.

    That is a convolution's filters, or of a linear layer (maxout, associative units) all that a
    unit weighs the pixels with. A batch norm before them changes nothing of their shape.
    """
    path, weight = next(_weights(network), ("", torch.empty(0)))
    channels, *size = architecture.input_shape
    if not size or weight.ndim not in (2, 4):
        return None
    if weight.ndim == 2:
        if weight.shape[1] != channels * size[0] * size[1]:
            return None
        weight = weight.view(-1, channels, *size)
    elif weight.shape[1] != channels and weight.shape[1] not in (_GREY, _COLOUR):
        return None
    chosen = weight[:most].detach().double()
    largest = chosen.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)
    pixels = displayed((128 + 127 * chosen / largest).numpy(), full_scale=255)
    return Filters(_layer_name(architecture, path), len(weight), pixels)


def layers_to_show(network: nn.Module) -> list[str]:
    """Give the paths of the layers whose feature maps say something, in their order.

    They are the outermost ones, and of torchvision's networks the outermost parts, without
    those that pass on what they are given: taps, dropout, flatten.
    """
    paths: list[str] = []
    for path, module in network.named_children():
        if isinstance(module, TorchvisionModule):
            paths += [f"{path}.network.{inner}" for inner, _ in module.network.named_children()]
        elif not isinstance(module, _PASSES_ON):
            paths.append(path)
    return paths


def layer_maps(
    network: nn.Module,
    standardised: Tensor,
    architecture: Architecture,
    *,
    paths: Sequence[str],
    most_channels: int,
    most_units: int,
) -> tuple[LayerMaps, ...]:
    """Give what some layers make of one image (1, C, H, W), in evaluation mode."""
    found: dict[str, LayerMaps] = {}

    def keeper(path: str) -> Callable[[nn.Module, object, Tensor], None]:
        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            name = _layer_name(architecture, path)
            found[path] = _maps(name, output[0], channels=most_channels, units=most_units)

        return keep

    hooks = [network.get_submodule(path).register_forward_hook(keeper(path)) for path in paths]
    try:
        with torch.inference_mode():
            network(standardised)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(found[path] for path in paths if path in found)


def _maps(name: str, output: Tensor, *, channels: int, units: int) -> LayerMaps:
    """Scale what a layer puts out for one image, (C, H, W) or (F,), to 0..255 as a whole."""
    chosen = output[:channels] if output.ndim == 3 else output.flatten()[None, None, :units]
    values = chosen.double().numpy()
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = np.nan_to_num(values, nan=low).clip(low, high) - low
    pixels = np.rint(255 * scaled / (high - low or 1.0)).astype(np.uint8)
    return LayerMaps(name, tuple(output.shape), pixels, low, high)


def _weights(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Give the weights of layers in their order, and their paths; a batch norm's are left out."""
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for path, _ in network.named_modules():
        weight = state.get(f"{path}.weight")
        if weight is not None and weight.ndim > 1:
            yield path, weight


def _layer_name(architecture: Architecture, path: str) -> str:
    """Name a layer as the plan's table does: its path and what it is."""
    texts = {row.path: row.text for row in architecture.trace()}
    return f"{path} {texts[path]}" if path in texts else path
