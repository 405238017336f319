"""The data sets that are the same everywhere: what is in them, and what identifies their bytes."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from experiments.architectures.image_shape import ImageShape
from experiments.data.dataset_facts import DatasetFacts, DatasetKind
from experiments.language.fields import NoOptions


def _published(
    name: str,
    *,
    shape: ImageShape,
    classes: str,
    train: tuple[int, ...],
    test: tuple[int, ...],
    content: str,
    full_scale: int = 255,
) -> Callable[[NoOptions, Path], DatasetFacts]:
    """Describe a set by the counts of its classes; `content` identifies its bytes."""
    fixed = DatasetFacts(
        name,
        shape,
        tuple(classes.split(", ")),
        sum(train),
        sum(test),
        hashlib.sha256(f"{name} 1 {content}".encode()).hexdigest(),
        train_counts=train,
        test_counts=test,
        full_scale=full_scale,
    )
    return lambda _options, _root: fixed


_DIGITS: Final = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
_FASHION: Final = (
    "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
)
_CIFAR: Final = "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"

DIGITS_SHA256: Final = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
"""Of all pixels of `digits`, then all labels, as bytes."""
MNIST_MD5: Final = (
    "6bbc9ace898e44ae57da46a324031adb",
    "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea",
    "27ae3e4e09519cfbb04c329615203637",
)
"""Of MNIST's unpacked files: training images, training labels, test images, test labels."""

# What identifies the bytes of the others: MD5 of fashion_mnist's packed files, in the same
# order, and of CIFAR-10's one archive.
PUBLISHED_SETS: Final[Mapping[str, DatasetKind]] = {
    "digits": DatasetKind(
        "1,797 handwritten digits, 8x8 grey (UCI; bundled with scikit-learn, works offline)",
        _published(
            "digits",
            shape=(1, 8, 8),
            classes=_DIGITS,
            train=(142, 146, 141, 147, 145, 146, 145, 143, 138, 144),
            test=(36,) * 10,
            content=DIGITS_SHA256,
            full_scale=16,
        ),
    ),
    "mnist": DatasetKind(
        "70,000 handwritten digits, 28x28 grey (LeCun et al. 1998)",
        _published(
            "mnist",
            shape=(1, 28, 28),
            classes=_DIGITS,
            train=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
            test=(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
            content=" ".join(MNIST_MD5),
        ),
    ),
    "fashion_mnist": DatasetKind(
        "70,000 pieces of clothing, 28x28 grey (Xiao et al. 2017)",
        _published(
            "fashion_mnist",
            shape=(1, 28, 28),
            classes=_FASHION,
            train=(6000,) * 10,
            test=(1000,) * 10,
            content="8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe "
            "bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    "cifar10": DatasetKind(
        "60,000 photographs of ten things, 32x32 colour (Krizhevsky 2009)",
        _published(
            "cifar10",
            shape=(3, 32, 32),
            classes=_CIFAR,
            train=(5000,) * 10,
            test=(1000,) * 10,
            content="c58f30108f718f92721af3b95e74349a",
        ),
    ),
}
