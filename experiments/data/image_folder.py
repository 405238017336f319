"""Folders of images, one folder a class: what lies in them, and the digest of that.

    <folder>/train/<class>/*.png|jpg|jpeg
    <folder>/test/<class>/*.png|jpg|jpeg

Files of other kinds are no images and are passed over. Links are refused: they could lead
out of the data root.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from experiments.errors import DatasetError
from experiments.language.printable import printable

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
_ORIENTATION: Final = 0x0112  # EXIF 2.32, section 4.6.4
_QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
_LAYOUT: Final = "an image folder holds train/<class>/*.png|jpg and test/<class>/*.png|jpg"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image: its path relative to the folder, with `/`, and the number of its class."""

    path: str
    label: int


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The images of a folder by split.

    Each split is in the order of the SHA-256 of its paths: fixed, but mixed, so that
    the first n images hold some of every class.
    """

    class_names: tuple[str, ...]
    train: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...]


def confined(path: str, *, root: Path) -> Path:
    """Give the folder that a spec names, below the data root.

    Raises:
        DatasetError: It is no folder, or it lies outside the root.
    """
    try:
        base = root.resolve()
        folder = (base / path).resolve()
        is_folder = folder.is_dir()
    except (OSError, RuntimeError) as error:  # the latter for links in a circle
        raise DatasetError(f"image_folder: path {path!r} cannot be read: {error}") from error
    if not folder.is_relative_to(base):
        raise DatasetError(f"image_folder: path {path!r} leads out of the data root {base}")
    if not is_folder:
        raise DatasetError(f"image_folder: no folder {folder} (path {path!r} below the data root)")
    return folder


def list_images(folder: Path) -> FolderListing:
    """List the images of both splits and check that their classes agree.

    Raises:
        DatasetError: A split is missing, has no images or cannot be read, a name in it is not
            UTF-8, or the classes differ.
    """
    try:
        splits = {split: _scan_split(folder, split) for split in ("train", "test")}
    except OSError as error:
        place = error.filename or folder
        raise DatasetError(f"image_folder: {place} cannot be read: {error.strerror}") from error
    names = sorted(splits["train"])
    if set(names) != set(splits["test"]):
        raise DatasetError(
            f"image_folder: {folder}: train and test must have the same class folders, got "
            f"only in train: {_named(set(names) - set(splits['test']))}; "
            f"only in test: {_named(set(splits['test']) - set(names))}"
        )
    return FolderListing(
        tuple(names), *(_mixed(splits[split], names) for split in ("train", "test"))
    )


def check_headers(folder: Path, listing: FolderListing) -> None:
    """Hold that the headers of all images of a folder can be read.

    Raises:
        DatasetError: A file is no image that can be read.
    """
    for image in (*listing.train, *listing.test):
        image_size(folder / image.path)


def common_size(folder: Path, listing: FolderListing) -> tuple[int, int]:
    """Give the (height, width) of all images of a folder, read from their headers.

    Raises:
        DatasetError: A file is no image that can be read, or two are of different sizes.
    """
    first, *others = (*listing.train, *listing.test)
    wanted = image_size(folder / first.path)
    for image in others:
        check_size(folder / image.path, image_size(folder / image.path), wanted=wanted)
    return wanted


def check_size(path: Path, size: tuple[int, int], *, wanted: tuple[int, int]) -> None:
    """Refuse an image that is not of the size that all images of its folder must have.

    Raises:
        DatasetError: It is of another size.
    """
    if size != wanted:
        raise DatasetError(
            f"image_folder: {path} is {size[0]}x{size[1]}, but the first training image "
            f"is {wanted[0]}x{wanted[1]}; give image_size to bring all images to one size"
        )


def is_turned(image: "Image.Image") -> bool:
    """Say whether an image's EXIF data has it shown turned by a quarter.

    Looks only at what stands before the pixels, so an open file is not read any further.
    """
    return "exif" in image.info and image.getexif().get(_ORIENTATION, 1) in _QUARTER_TURNS


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's (height, width), as it is shown, from its header.

    Raises:
        DatasetError: The file is no image that can be read.
    """
    from PIL import Image  # here, because plans of other data sets have no use for it

    try:
        with Image.open(path) as image:
            size = (image.height, image.width)
            return size[::-1] if is_turned(image) else size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"image_folder: {path} cannot be read as an image: {error}") from error


def folder_digest(
    folder: Path, listing: FolderListing, *, image_size: tuple[int, int] | None
) -> str:
    """Hash all paths and contents, and the size the images are brought to (None: their own).

    Raises:
        DatasetError: A file cannot be read.
    """
    digest = hashlib.sha256(f"image_folder 2 {image_size}\n".encode())
    for image in sorted((*listing.train, *listing.test), key=lambda image: image.path):
        try:
            content = (folder / image.path).read_bytes()
        except OSError as error:
            raise DatasetError(f"image_folder: {folder / image.path}: {error}") from error
        digest.update(f"{hashlib.sha256(content).hexdigest()} {image.path}\n".encode())
    return digest.hexdigest()


def _scan_split(folder: Path, split: str) -> Mapping[str, list[str]]:
    """Give the relative paths of a split's images by class."""
    if not (folder / split).is_dir():
        raise DatasetError(f"image_folder: {folder} has no folder {split!r}; {_LAYOUT}")
    classes = {}
    for entry in _entries(folder / split):
        if entry.is_dir():
            found = [f for f in _entries(Path(entry.path)) if f.is_file()]
            images = [f.name for f in found if f.name.lower().endswith(IMAGE_SUFFIXES)]
            if not images:
                raise DatasetError(f"image_folder: {entry.path} has no images; {_LAYOUT}")
            classes[entry.name] = [_path_of(split, entry.name, name) for name in images]
    if not classes:
        raise DatasetError(f"image_folder: {folder / split} has no class folders; {_LAYOUT}")
    return classes


def _path_of(split: str, class_name: str, name: str) -> str:
    """Give an image's path; it must be text, for the digest and for the order hash it."""
    path = f"{split}/{class_name}/{name}"
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"image_folder: the name {printable(path)} is not UTF-8; rename the file or folder"
        ) from error
    return path


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                raise DatasetError(
                    f"image_folder: {entry.path} is a link; links are not followed, copy the file"
                )
            yield entry


def _mixed(classes: Mapping[str, list[str]], names: list[str]) -> tuple[ImageFile, ...]:
    images = [ImageFile(p, label) for label, name in enumerate(names) for p in classes[name]]
    return tuple(sorted(images, key=lambda image: hashlib.sha256(image.path.encode()).digest()))


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
