"""Training images changed by chance: mirrored, moved, cropped; masks change alike.

All images of a block at once, in whole tensors. Every image takes the same number of draws,
in the order of the images, so with a generator of the CPU the size of a block plays no part.
"""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from experiments.data.augmentation import AUGMENTATIONS, smallest_window
from experiments.records import AugmentationConfig
from workers.devices import send

_DRAWS = 5
"""Uniform numbers an image takes, whatever is done with it."""


def augment(
    inputs: Tensor, targets: Tensor, config: AugmentationConfig, *, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change images as `config` names it (see `experiments.data.augmentation.AUGMENTATIONS`).

    Args:
        inputs: (n, C, H, W) uint8, as the data set stores them; left as they are.
        targets: (n,) classes or (n, T) values, given back; or masks (n, H, W) uint8, which
            move with their images (class 0, the background, comes in where an image left).
        config: What is done, and how far images move.
        generator: Where all chance comes from; its device may be another than the inputs'.

    Returns:
        inputs and targets of the same shapes and types.
    """
    if config.name == "none":
        return inputs, targets
    return augment_by(draw(len(inputs), generator), inputs, targets, config)


def draw(count: int, generator: torch.Generator) -> Tensor:
    """Draw what decides the change of so many images: (count, 5) uniform numbers below 1."""
    return torch.rand(count, _DRAWS, generator=generator, device=generator.device)


def augment_by(
    draws: Tensor, inputs: Tensor, targets: Tensor, config: AugmentationConfig
) -> tuple[Tensor, Tensor]:
    """Change images as `augment` does, by what `draw` gave for them, anywhere."""
    masks = targets[:, None] if targets.ndim == 3 else None
    inputs, masks = _changed(inputs, masks, config, send(draws, inputs.device))
    return inputs, targets if masks is None else masks[:, 0]


def _changed(
    images: Tensor, masks: Tensor | None, config: AugmentationConfig, draws: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Do all steps of an augmentation to images and masks (n, 1, H, W), by draws (n, 5)."""
    steps = AUGMENTATIONS[config.name].steps
    if "shift" in steps:
        assert config.pixels is not None, config
        offsets = _whole(draws[:, :2], 2 * config.pixels + 1)
        images = _shift(images, offsets, config.pixels)
        masks = None if masks is None else _shift(masks, offsets, config.pixels)
    if "crop" in steps:
        rows, columns = _windows(images.shape[2:], draws)
        images = _stretch(images, rows, columns)
        masks = None if masks is None else _pick(masks, rows, columns)
    if "flip" in steps:
        mirrored = draws[:, 4, None, None, None] < 0.5
        images = torch.where(mirrored, images.flip(-1), images)
        masks = None if masks is None else torch.where(mirrored, masks.flip(-1), masks)
    return images, masks


def _whole(draws: Tensor, count: Tensor | int) -> Tensor:
    """Map uniform draws, below 1, to whole numbers 0..count-1, int64."""
    return (draws.double() * count).long()


def _shift(images: Tensor, offsets: Tensor, farthest: int) -> Tensor:
    """Move images by (offset - farthest) down and right, offsets (n, 2); zeros come in."""
    _, _, height, width = images.shape
    framed = pad(images, [farthest] * 4)
    windows = framed.unfold(2, height, 1).unfold(3, width, 1)  # (n, C, offsets, offsets, H, W)
    numbers = torch.arange(len(images), device=images.device)
    return windows[numbers, :, 2 * farthest - offsets[:, 0], 2 * farthest - offsets[:, 1]]


def _windows(size: torch.Size, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a window an image, and give its points in the image: rows (n, H), columns (n, W).

    A point is the place, in pixels from the image's edge, of an output pixel's centre.
    """
    points = []
    for axis, side in enumerate(size):
        least = smallest_window(side)
        extent = least + _whole(draws[:, axis], side - least + 1)
        start = _whole(draws[:, 2 + axis], side - extent + 1)
        centres = (torch.arange(side, device=draws.device) + 0.5) / side
        points.append(start[:, None] + centres * extent[:, None])
    return points[0], points[1]


def _stretch(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read images (n, C, H, W) uint8 at points, between pixels bilinearly."""
    height, width = images.shape[2:]
    across = (2 / width * columns - 1)[:, None, :].expand(-1, height, -1)
    down = (2 / height * rows - 1)[:, :, None].expand(-1, -1, width)
    grid = torch.stack([across, down], dim=-1)  # (n, H, W, 2), each from -1 to 1
    values = grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return values.round_().to(torch.uint8)


def _pick(masks: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read masks (n, 1, H, W) at points, each the pixel that it lies in."""
    across, down = columns.long()[:, None, None, :], rows.long()[:, None, :, None]
    return masks.gather(2, down.expand_as(masks)).gather(3, across.expand_as(masks))
