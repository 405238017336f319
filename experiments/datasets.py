"""The data sets that a spec can name: their options, their facts, and how they are split.

What is known without reading images lives here, so that a plan takes no time. Reading,
downloading and unpacking is the workers' business.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final

from experiments.compound_kinds import Nullable, Pair
from experiments.errors import DatasetError
from experiments.fields import NoOptions
from experiments.image_folder import confined, folder_digest, image_size, list_images
from experiments.kinds import INVALID, Faults, Integer, Kind, Schema, Text, nearest
from experiments.source import Node

ImageShape = tuple[int, int, int]
"""(channels, height, width)"""


@dataclass(frozen=True, slots=True)
class Shape(Kind):
    """The shape of an image, `[channels, height, width]`; given as a tuple."""

    maximum: int = 4096

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return f"[channels, height, width], each {Integer(1, self.maximum).what}"

    def read(self, node: Node, path: str, faults: Faults) -> object:
        """Read `(channels, height, width)`."""
        found = Faults(faults.source)
        items = node.items() if node.kind == "list" else ()
        values = tuple(Integer(1, self.maximum).read(item, path, found) for item in items)
        return values if len(values) == 3 and not found else self._refuse(node, path, faults)

    def schema(self) -> Schema:
        """Give an array of three integers."""
        integer = Integer(1, self.maximum).schema()
        return {"type": "array", "items": integer, "minItems": 3, "maxItems": 3}


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
class FakeOptions:
    """The options of `fake`."""

    image_shape: Annotated[ImageShape, Shape(), "shape of an image: [channels, height, width]"]
    classes: Annotated[int, Integer(2, 100_000), "number of classes"]
    examples: Annotated[int, Integer(2, 10_000_000), "training images; as many test images"]


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


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What a plan needs to know of a data set.

    `num_train` is before the validation split. Equal digests mean equal inputs and targets.

    Attributes:
        input_shape: `(C, H, W)` of images, `(F,)` of plain numbers.
        class_names: The classes of examples or of pixels; empty where targets are values.
        target: "class" (one an example), "values" (real numbers), or "mask" (a class a pixel).
        target_names: What the values are; empty unless the target is "values".
        negative_targets: Whether some value may be below 0.
    """

    name: str
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    num_train: int
    num_test: int
    digest: str
    target: str = "class"
    target_names: tuple[str, ...] = ()
    negative_targets: bool = False


@dataclass(frozen=True, slots=True)
class DatasetKind:
    """One entry of the catalogue; `describe` gives the facts for options and data root."""

    doc: str
    describe: Callable[[Any, Path], DatasetFacts]
    options: type[Any] = NoOptions


def facts(name: str, options: Mapping[str, Any], *, root: Path) -> DatasetFacts:
    """Tell what a data set is; reads files only for `image_folder`.

    Args:
        name: A key of `DATASETS`.
        options: The data set's own options, as plain data (lists or tuples).
        root: The data root, below which an image folder must lie.

    Raises:
        DatasetError: No data set goes by that name, or an image folder is not as it should be.
    """
    if name not in DATASETS:
        known = ", ".join(DATASETS)
        raise DatasetError(f"no data set {name!r}{nearest(name, DATASETS)}; known ones: {known}")
    kind = DATASETS[name]
    return kind.describe(read_options(name, options), root)


def read_options(name: str, options: Mapping[str, Any]) -> Any:
    """Build a data set's options record from checked plain data."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    return DATASETS[name].options(**values)


def split_sizes(num_images: int, *, val_fraction: float, limit: int | None) -> tuple[int, int]:
    """Give the sizes of the training and the validation split.

    The limit comes first; validation then takes `val_fraction` of the images, rounded to
    the nearest whole number, halves upwards. Either size may come out as 0.
    """
    total = num_images if limit is None else min(limit, num_images)
    num_val = min(total, math.floor(total * val_fraction + 0.5))
    return total - num_val, num_val


def _fixed(
    name: str, *, shape: ImageShape, classes: str, train: int, test: int, content: str
) -> Callable[[NoOptions, Path], DatasetFacts]:
    """Describe a data set that is the same everywhere; `content` identifies its bytes."""
    digest = hashlib.sha256(f"{name} 1 {content}".encode()).hexdigest()
    fixed = DatasetFacts(name, shape, tuple(classes.split(", ")), train, test, digest)
    return lambda _options, _root: fixed


def _describe_fake(options: FakeOptions, _root: Path) -> DatasetFacts:
    text = json.dumps(dataclasses.asdict(options), sort_keys=True)
    digest = hashlib.sha256(f"fake 1 {text}".encode()).hexdigest()
    names = tuple(map(str, range(options.classes)))
    return DatasetFacts(
        "fake", options.image_shape, names, options.examples, options.examples, digest
    )


def _describe_image_folder(options: ImageFolderOptions, root: Path) -> DatasetFacts:
    folder = confined(options.path, root=root)
    listing = list_images(folder)
    size = options.image_size or image_size(folder / listing.train[0].path)
    digest = folder_digest(folder, listing, image_size=options.image_size)
    return DatasetFacts(
        "image_folder",
        (3, *size),
        listing.class_names,
        len(listing.train),
        len(listing.test),
        digest,
    )


_DIGITS = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
_FASHION = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
_CIFAR = "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"

# What identifies the bytes. digits: SHA-256 of all pixels, then all labels, as bytes. The
# others: MD5 of the publishers' files, in the order training images, training labels, test
# images, test labels (mnist unpacked, fashion_mnist packed), or of CIFAR-10's one archive.
DATASETS: Final[Mapping[str, DatasetKind]] = {
    "digits": DatasetKind(
        "1,797 handwritten digits, 8x8 grey (UCI; bundled with scikit-learn, works offline)",
        _fixed(
            "digits",
            shape=(1, 8, 8),
            classes=_DIGITS,
            train=1437,
            test=360,
            content="87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826",
        ),
    ),
    "mnist": DatasetKind(
        "70,000 handwritten digits, 28x28 grey (LeCun et al. 1998)",
        _fixed(
            "mnist",
            shape=(1, 28, 28),
            classes=_DIGITS,
            train=60_000,
            test=10_000,
            content="6bbc9ace898e44ae57da46a324031adb a25bea736e30d166cdddb491f175f624 "
            "2646ac647ad5339dbf082846283269ea 27ae3e4e09519cfbb04c329615203637",
        ),
    ),
    "fashion_mnist": DatasetKind(
        "70,000 pieces of clothing, 28x28 grey (Xiao et al. 2017)",
        _fixed(
            "fashion_mnist",
            shape=(1, 28, 28),
            classes=_FASHION,
            train=60_000,
            test=10_000,
            content="8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe "
            "bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    "cifar10": DatasetKind(
        "60,000 photographs of ten things, 32x32 colour (Krizhevsky 2009)",
        _fixed(
            "cifar10",
            shape=(3, 32, 32),
            classes=_CIFAR,
            train=50_000,
            test=10_000,
            content="c58f30108f718f92721af3b95e74349a",
        ),
    ),
    "image_folder": DatasetKind(
        "your own images: <path>/train/<class>/*.png|jpg and <path>/test/<class>/*, as RGB",
        _describe_image_folder,
        ImageFolderOptions,
    ),
    "fake": DatasetKind(
        "random images of any shape, to plan and time a network without data",
        _describe_fake,
        FakeOptions,
    ),
}
