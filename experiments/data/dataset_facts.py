"""What a plan needs to know of a data set, and an entry of the catalogue of sets."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from experiments.language.fields import NoOptions

CLASS: Final = "class"
VALUES: Final = "values"
MASK: Final = "mask"

MAX_SEED: Final = 2**32 - 1
"""The largest seed, of a trial, a split, or a generated set."""


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What is known of a data set without reading its images.

    `num_train` is before the validation split. Equal digests mean equal inputs and targets.

    Attributes:
        input_shape: `(C, H, W)` of images, `(F,)` of plain numbers.
        class_names: The classes of examples or of pixels; empty where targets are values.
        target: "class" (one an example), "values" (real numbers), or "mask" (a class a pixel).
        target_names: What the values are; empty unless the target is "values".
        negative_targets: Whether some value may be below 0.
        train_counts: How many training examples each class has; empty where that is not known
            beforehand. `test_counts` likewise.
        full_scale: The value of a white pixel (255 for most).
    """

    name: str
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    num_train: int
    num_test: int
    digest: str
    target: str = CLASS
    target_names: tuple[str, ...] = ()
    negative_targets: bool = False
    train_counts: tuple[int, ...] = ()
    test_counts: tuple[int, ...] = ()
    full_scale: int = 255

    @property
    def is_images(self) -> bool:
        """Say whether inputs are images rather than plain numbers."""
        return len(self.input_shape) == 3


@dataclass(frozen=True, slots=True)
class DatasetKind:
    """One entry of the catalogue.

    Attributes:
        doc: One line for people.
        describe: Gives the facts for options and data root.
        options: The record of the set's own options.
        reads_files: Whether `describe` looks below the data root.
    """

    doc: str
    describe: Callable[[Any, Path], DatasetFacts]
    options: type[Any] = NoOptions
    reads_files: bool = False


def options_digest(name: str, options: Any, *, version: int = 1) -> str:
    """Name the content of a set that its options decide; `version` is that of the recipe."""
    text = json.dumps(dataclasses.asdict(options), sort_keys=True)
    return hashlib.sha256(f"{name} {version} {text}".encode()).hexdigest()
