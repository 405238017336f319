import pytest
import torch
from torch import Tensor

from experiments.data.augmentation import AUGMENTATIONS, default_pixels
from experiments.records import AugmentationConfig
from workers.augmentation import augment

NAMES = tuple(AUGMENTATIONS)


def config(name: str, shape: tuple[int, ...], pixels: int | None = None) -> AugmentationConfig:
    moves = AUGMENTATIONS[name].moves
    return AugmentationConfig(name, (pixels or default_pixels(shape)) if moves else None)


def noise(num_images: int = 64, size: tuple[int, int] = (8, 12)) -> Tensor:
    """Give random images (n, 2, H, W) without black pixels."""
    generator = torch.Generator().manual_seed(7)
    shape = (num_images, 2, *size)
    return torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8)


def run(images: Tensor, name: str, targets: Tensor | None = None, *, seed: int = 0) -> list[Tensor]:
    targets = torch.arange(len(images)) if targets is None else targets
    generator = torch.Generator().manual_seed(seed)
    how = config(name, tuple(images.shape[1:]))
    return list(augment(images, targets, how, generator=generator))


@pytest.mark.parametrize("name", NAMES)
def test_shape_type_labels_and_the_originals_stay(name: str) -> None:
    images = noise()
    before = images.clone()
    found, labels = run(images, name)
    assert (found.shape, found.dtype) == (images.shape, torch.uint8)
    assert torch.equal(labels, torch.arange(len(images)))
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_a_block_plays_no_part(name: str) -> None:
    images, targets = noise(), torch.arange(64)
    how = config(name, (2, 8, 12))
    generator = torch.Generator().manual_seed(3)
    parts = [
        augment(images[start:end], targets[start:end], how, generator=generator)[0]
        for start, end in ((0, 1), (1, 20), (20, 64))
    ]
    assert torch.equal(torch.cat(parts), run(images, name, seed=3)[0])


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"none"}))
def test_chance_comes_from_the_generator_alone(name: str) -> None:
    images = noise()
    torch.manual_seed(1)
    first = run(images, name, seed=0)[0]
    torch.manual_seed(2)
    assert torch.equal(run(images, name, seed=0)[0], first)
    assert not torch.equal(run(images, name, seed=1)[0], first)


def test_about_half_of_the_images_are_mirrored_and_the_others_stay() -> None:
    images = noise(400)
    found, _ = run(images, "flip")
    mirrored = (found == images.flip(-1)).flatten(1).all(dim=1)
    same = (found == images).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 160 < mirrored.sum() < 240


def test_every_shift_occurs_and_black_comes_in() -> None:
    images = noise(2000, (5, 6))
    how = AugmentationConfig("shift", 2)
    found, _ = augment(images, torch.zeros(2000), how, generator=torch.Generator().manual_seed(0))
    seen = set()
    for image, original in zip(found, images, strict=True):
        matches = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(image, moved(original, down, right))
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 25


def moved(image: Tensor, down: int, right: int) -> Tensor:
    """Move an image the slow way."""
    _, height, width = image.shape
    result = torch.zeros_like(image)
    for row in range(max(0, down), min(height, height + down)):
        for column in range(max(0, right), min(width, width + right)):
            result[:, row, column] = image[:, row - down, column - right]
    return result


def test_a_window_is_stretched_evenly() -> None:
    # On a slope, bilinear reading is exact: what comes back is a slope of 3/4 to 1 of it.
    slope = (8 * torch.arange(32)).to(torch.uint8).expand(200, 1, 32, 32)
    found, _ = run(slope, "crop")
    steps = found[:, 0, 0, 1:31].double().diff(dim=1).mean(dim=1) / 8
    assert steps.min() >= 0.74
    assert steps.max() <= 1.01
    assert (found == found[:, :, :1]).all()  # no change down the columns
    assert len(set(steps.round(decimals=2).tolist())) > 5


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"none"}))
def test_masks_move_with_their_images(name: str) -> None:
    # Each image is its mask in black and white. The pixel that a point lies in has at least
    # a quarter of its weight, so greys outside the middle half say what the mask must be.
    squares = torch.randint(0, 2, (50, 4, 4), generator=torch.Generator().manual_seed(0))
    masks = squares.repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    images, found = run(255 * masks[:, None], name, masks)
    assert (found.shape, found.dtype) == (masks.shape, torch.uint8)
    sure = (images[:, 0] < 63) | (images[:, 0] > 192)
    assert sure.float().mean() > 0.9
    assert torch.equal((images[:, 0] > 127)[sure], found.bool()[sure])


def test_values_of_an_example_are_no_masks() -> None:
    values = torch.randn(64, 3)
    assert run(noise(), "shift_flip", values)[1] is values
