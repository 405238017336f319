"""What a spec may make of a data set: fewer classes, another size, noise, other units."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Final

from experiments.data.dataset_facts import CLASS, MASK, DatasetFacts
from experiments.errors import DatasetError
from experiments.language.compound_kinds import Nullable, Pair
from experiments.language.kinds import (
    INVALID,
    Choice,
    Faults,
    Kind,
    Number,
    Schema,
    Text,
    nearest,
    show,
)
from experiments.language.source import Node

TRAINING: Final = "training"
IMAGENET: Final = "imagenet"


@dataclass(frozen=True, slots=True)
class ClassNames(Kind):
    """At least two names of classes, none twice, given as a tuple; a number is a name too."""

    @property
    def what(self) -> str:
        """Name the allowed values."""
        return "a list of at least two classes, such as [cat, dog]"

    def read(self, node: Node, path: str, faults: Faults) -> Any:
        """Read the names; each wrong one is a fault of its own."""
        if node.kind != "list" or len(node.items()) < 2:
            return self._refuse(node, path, faults)
        names: list[Any] = []
        for number, item in enumerate(node.items()):
            place = f"{path}[{number}]"
            name = _name_of(item, place, faults)
            if name is not INVALID and name in names:
                name = faults.add(item, place, f"the class {name!r} stands here twice")
            names.append(name)
        return INVALID if INVALID in names else tuple(names)

    def schema(self) -> Schema:
        """Give an array of two or more names."""
        item = {"type": ["string", "integer"]}
        return {"type": "array", "items": item, "minItems": 2, "uniqueItems": True}


def _name_of(node: Node, path: str, faults: Faults) -> Any:
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return str(node.value)
    if not isinstance(node.value, str):
        return faults.add(node, path, f"must be a class's name, got {show(node)}")
    return Text().read(node, path, faults)


@dataclass(frozen=True, slots=True)
class DataChanges:
    """What is made of a data set, in this order; the defaults leave it as it is.

    The first four change what is stored, so they enter the digest. `label_noise` touches the
    training split alone; `normalise` says how inputs are shifted and scaled for the network.
    """

    classes: Annotated[
        tuple[str, ...] | None,
        Nullable(ClassNames()),
        "only these classes, in this order (binary: the second is the positive one)",
    ] = None
    resize: Annotated[
        tuple[int, int] | None,
        Nullable(Pair(maximum=4096)),
        "size all images are stretched to",
    ] = None
    crop: Annotated[
        tuple[int, int] | None,
        Nullable(Pair(maximum=4096)),
        "size that is cut out of the centre, after resize",
    ] = None
    noise: Annotated[
        float,
        Number(minimum=0, maximum=1),
        "standard deviation of Gaussian noise on all pixels, of all splits, as a share of the "
        "full scale",
    ] = 0.0
    label_noise: Annotated[
        float,
        Number(minimum=0, maximum=1),
        "share of the training split's labels that are replaced by another class",
    ] = 0.0
    normalise: Annotated[
        str,
        Choice((TRAINING, "none", IMAGENET)),
        "what is subtracted from inputs, and by what they are divided: mean and deviation of "
        "the training split, 0 and the full scale, or those that torchvision's weights expect",
    ] = TRAINING


_STORED: Final = ("classes", "resize", "crop", "noise")


@dataclass(frozen=True, slots=True)
class ChangeFault:
    """Why a data set cannot be changed so: the key, and which item of its list (None: all)."""

    key: str
    message: str
    item: int | None = None


class ChangeError(DatasetError):
    """A data set cannot be changed as a spec wants it; `fault` says where."""

    def __init__(self, fault: ChangeFault) -> None:
        self.fault = fault
        super().__init__(fault.message)


def read_changes(plain: Mapping[str, Any]) -> DataChanges:
    """Build the record from checked plain data."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
    return DataChanges(**values)


def plain_changes(changes: DataChanges) -> dict[str, Any]:
    """Give what differs from the defaults, as plain data."""
    return {
        field.name: list(value) if isinstance(value, tuple) else value
        for field in fields(changes)
        if (value := getattr(changes, field.name)) != field.default
    }


def stored_changes(changes: DataChanges) -> dict[str, Any]:
    """Give, as plain data, the changes of what is stored: those that make another digest."""
    return {key: value for key, value in plain_changes(changes).items() if key in _STORED}


def opened_changes(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the changes that are made when data is opened: a digest does not speak of them."""
    return {key: value for key, value in plain.items() if key not in _STORED}


def change_faults(base: DatasetFacts, changes: DataChanges) -> Iterator[ChangeFault]:
    """Find everything that a data set, unchanged so far, does not allow."""
    yield from _class_faults(base, changes.classes)
    for key in ("resize", "crop", "noise"):
        if getattr(changes, key) and not base.is_images:
            yield ChangeFault(key, f"{key} is for images, and {base.name} holds plain numbers")
    if base.is_images and changes.crop is not None:
        height, width = changes.resize or base.input_shape[1:]
        if changes.crop[0] > height or changes.crop[1] > width:
            wanted = f"{changes.crop[0]}x{changes.crop[1]}"
            message = f"a crop of {wanted} does not fit into images of {height}x{width}"
            yield ChangeFault("crop", message)
    if changes.label_noise and base.target != CLASS:
        yield ChangeFault("label_noise", f"{_targets(base)}, no class of an example to replace")
    if changes.normalise == IMAGENET and not (base.is_images and base.input_shape[0] == 3):
        shape = " x ".join(map(str, base.input_shape))
        message = f"must be {TRAINING} or none: {IMAGENET} is for inputs of three channels, "
        yield ChangeFault("normalise", f"{message}those of {base.name} are {shape}")


def _class_faults(base: DatasetFacts, classes: tuple[str, ...] | None) -> Iterator[ChangeFault]:
    if classes is None:
        return
    if base.target != CLASS:
        yield ChangeFault("classes", f"{_targets(base)}, so no classes can be chosen")
        return
    known = ", ".join(base.class_names)
    for number, name in enumerate(classes):
        if name not in base.class_names:
            meant = nearest(name, base.class_names)
            message = f"{base.name} has no class {name!r}{meant}; its classes: {known}"
            yield ChangeFault("classes", message, number)


def _targets(base: DatasetFacts) -> str:
    return f"{base.name} has {'a class a pixel' if base.target == MASK else 'numbers to predict'}"


def change_facts(base: DatasetFacts, changes: DataChanges) -> DatasetFacts:
    """Tell what is known of a data set after changes.

    Raises:
        ChangeError: The data set cannot be changed so.
    """
    for fault in change_faults(base, changes):
        raise ChangeError(fault)
    stored = stored_changes(changes)
    if not stored:
        return base
    text = json.dumps(stored, sort_keys=True)
    digest = hashlib.sha256(f"changed 2 {base.digest} {text}".encode()).hexdigest()
    size = changes.crop or changes.resize or base.input_shape[1:]
    changed = replace(base, input_shape=(*base.input_shape[:1], *size), digest=digest)
    return changed if changes.classes is None else _some_classes(changed, changes.classes)


def _some_classes(base: DatasetFacts, classes: tuple[str, ...]) -> DatasetFacts:
    """Keep some classes in a new order; without counts, these are all classes that there are."""
    if not base.train_counts:
        assert set(classes) == set(base.class_names), (classes, base.class_names)
        return replace(base, class_names=classes)
    chosen = [base.class_names.index(name) for name in classes]
    train = tuple(base.train_counts[label] for label in chosen)
    test = tuple(base.test_counts[label] for label in chosen)
    return replace(
        base,
        class_names=classes,
        num_train=sum(train),
        num_test=sum(test),
        train_counts=train,
        test_counts=test,
    )
