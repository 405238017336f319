"""Folders of images, decoded by Pillow to RGB and brought to one size."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from experiments.data.image_folder import (
    ImageFile,
    check_size,
    confined,
    image_size,
    list_images,
)
from experiments.data.image_folder_set import ImageFolderOptions
from experiments.errors import DatasetError
from workers.datasets.raw import Progress, RawData, RawSplit

_BLOCK = 256


def read_image_folder(
    options: ImageFolderOptions,
    *,
    root: Path,
    progress: Progress,
    classes: tuple[str, ...] | None = None,
) -> RawData:
    """Read all images of `<root>/<path>/{train,test}/<class>/`.

    Args:
        options: Which folder, and the size of the images.
        root: The data root.
        progress: Is told how far the reading is.
        classes: Spares the reading of images of other classes (None: of none); labels count
            all classes all the same.

    Raises:
        DatasetError: A file cannot be decoded, or (without `image_size`) the sizes differ.
    """
    folder = confined(options.path, root=root)
    listing = list_images(folder)
    names = frozenset(listing.class_names if classes is None else classes)
    size = options.image_size
    wanted = size or image_size(folder / listing.train[0].path)

    def split(name: str, images: Sequence[ImageFile]) -> RawSplit:
        chosen = [image for image in images if listing.class_names[image.label] in names]
        labels = np.array([image.label for image in chosen], dtype=np.int64)
        return RawSplit(_decode(folder, name, chosen, size, wanted, progress), labels)

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
    """Decode one image to (3, H, W) uint8, the way up that its EXIF data says.

    Grey and palettes become RGB, what is transparent lies on white, 16 bits become 8. With
    a `size`, the image is resized (antialiased bilinear) so that it just covers the size,
    then its centre is cut out. Without, it must be of the `wanted` size.

    Raises:
        DatasetError: The file cannot be decoded, or is of another size.
    """
    try:
        with Image.open(path) as file:
            image = _as_rgb(_upright(file))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"image_folder: {path} cannot be decoded: {error}") from error
    if size is not None:
        image = _cover(image, size)
    check_size(path, (image.height, image.width), wanted=wanted)
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF data says, read as `image_size` reads it: before the pixels."""
    return ImageOps.exif_transpose(image) if "exif" in image.info else image


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(page, layer).convert("RGB")


def _cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    scale = max(height / image.height, width / image.width)
    scaled = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BILINEAR)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
