"""Folders of images, decoded by Pillow to RGB and brought to one size."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.datasets import ImageFolderOptions
from experiments.errors import DatasetError
from experiments.image_folder import ImageFile, confined, image_size, list_images
from workers.datasets.raw import Progress, RawData, RawSplit

_BLOCK = 256


def read_image_folder(options: ImageFolderOptions, *, root: Path, progress: Progress) -> RawData:
    """Read all images of `<root>/<path>/{train,test}/<class>/`.

    Raises:
        DatasetError: A file cannot be decoded, or (without `image_size`) the sizes differ.
    """
    folder = confined(options.path, root=root)
    listing = list_images(folder)
    size = options.image_size
    wanted = size or image_size(folder / listing.train[0].path)

    def split(name: str, images: Sequence[ImageFile]) -> RawSplit:
        labels = np.array([image.label for image in images], dtype=np.int64)
        return RawSplit(_decode(folder, name, images, size, wanted, progress), labels)

    return RawData(train=split("train", listing.train), test=split("test", listing.test))


def _decode(
    folder: Path,
    split: str,
    images: Sequence[ImageFile],
    size: tuple[int, int] | None,
    wanted: tuple[int, int],
    progress: Progress,
) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(images), _BLOCK):
        block = [
            decode_image(folder / image.path, size=size, wanted=wanted)
            for image in images[start : start + _BLOCK]
        ]
        yield np.stack(block)
        progress(f"image_folder: {split}: {start + len(block):,} of {len(images):,} images read")


def decode_image(
    path: Path, *, size: tuple[int, int] | None, wanted: tuple[int, int]
) -> NDArray[np.uint8]:
    """Decode one image to (3, H, W) uint8.

    With a `size`, the image is resized (antialiased bilinear) so that it just covers the
    size, then its centre is cut out. Without, it must be of the `wanted` size.

    Raises:
        DatasetError: The file cannot be decoded, or is of another size.
    """
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"image_folder: {path} cannot be decoded: {error}") from error
    if size is not None:
        image = _cover(image, size)
    if (image.height, image.width) != wanted:
        raise DatasetError(
            f"image_folder: {path} is {image.height}x{image.width}, but the first training image "
            f"is {wanted[0]}x{wanted[1]}; give image_size to bring all images to one size"
        )
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)


def _cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    scale = max(height / image.height, width / image.width)
    scaled = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
