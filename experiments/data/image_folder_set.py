"""The data set `image_folder`: its options, and its facts from what lies in the folder."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

from experiments.data.dataset_facts import DatasetFacts, DatasetKind
from experiments.data.image_folder import (
    ImageFile,
    check_headers,
    common_size,
    confined,
    folder_digest,
    list_images,
)
from experiments.language.compound_kinds import Nullable, Pair
from experiments.language.kinds import INVALID, Faults, Kind, Schema, Text
from experiments.language.source import Node


@dataclass(frozen=True, slots=True)
class FolderPath(Kind):
    """A folder below the data root, with `/` between names."""

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "a path below the data root, such as photos/bikes, without '..'"

    def read(self, node: Node, path: str, faults: Faults) -> object:
        """Read a relative path that stays below its root."""
        value = Text(max_length=1000).read(node, path, faults)
        if value is INVALID:
            return INVALID
        parts = PurePosixPath(value).parts
        outside = not parts or parts[0] in {"/", "//"} or ".." in parts
        if outside or "\\" in value or ":" in value:
            return self._refuse(node, path, faults)
        return value

    def schema(self) -> Schema:
        """Give `{"type": "string"}`."""
        return {"type": "string", "minLength": 1, "maxLength": 1000}


@dataclass(frozen=True, slots=True)
class ImageFolderOptions:
    """The options of `image_folder`."""

    path: Annotated[str, FolderPath(), "folder below the data root, with train/ and test/"]
    image_size: Annotated[
        tuple[int, int] | None,
        Nullable(Pair(maximum=4096)),
        "size all images are brought to (shorter side resized, centre cropped); "
        "null: the first image's size, which all must have",
    ] = None


def _describe(options: ImageFolderOptions, root: Path) -> DatasetFacts:
    folder = confined(options.path, root=root)
    listing = list_images(folder)
    size = options.image_size
    if size is None:
        size = common_size(folder, listing)
    else:
        check_headers(folder, listing)
    num_classes = len(listing.class_names)
    return DatasetFacts(
        "image_folder",
        (3, *size),
        listing.class_names,
        len(listing.train),
        len(listing.test),
        folder_digest(folder, listing, image_size=options.image_size),
        train_counts=_counts(listing.train, num_classes),
        test_counts=_counts(listing.test, num_classes),
    )


def _counts(images: Iterable[ImageFile], num_classes: int) -> tuple[int, ...]:
    found = Counter(image.label for image in images)
    return tuple(found[label] for label in range(num_classes))


IMAGE_FOLDER: Final = DatasetKind(
    "your own images: <path>/train/<class>/*.png|jpg and <path>/test/<class>/*, as RGB",
    _describe,
    ImageFolderOptions,
    reads_files=True,
)
