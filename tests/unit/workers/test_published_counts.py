"""The counts of classes that are written down beforehand, held to the files."""

from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from experiments.data.datasets import facts
from workers.datasets.digits import read_digits
from workers.datasets.downloads import read_mnist
from workers.datasets.raw import RawData


def check(name: str, data: RawData, root: Path) -> None:
    known = facts(name, {}, root=root)
    assert tuple(np.bincount(data.train.targets).tolist()) == known.train_counts
    assert tuple(np.bincount(data.test.targets).tolist()) == known.test_counts
    assert max(block.max() for block in data.train.inputs) == known.full_scale


def test_the_digits_are_as_many_as_written_down(tmp_path: Path) -> None:
    check("digits", read_digits(), tmp_path)


def test_mnist_has_as_many_digits_as_written_down(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "MNIST").symlink_to(shared_data / "MNIST")
    (tmp_path / "work").mkdir()
    data = read_mnist(root=tmp_path / "root", work=tmp_path / "work", progress=print)
    check("mnist", data, tmp_path)


def test_cifar10_has_as_many_pictures_as_written_down(shared_data: Path, tmp_path: Path) -> None:
    with ZipFile(shared_data / "cifar10-jpeg.zip") as archive:
        counts = Counter(tuple(name.split("/")[1:3]) for name in archive.namelist())
    known = facts("cifar10", {}, root=tmp_path)
    for split, expected in (("train", known.train_counts), ("test", known.test_counts)):
        assert tuple(counts[split, name] for name in known.class_names) == expected
    assert len(counts) == 20
