from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from experiments.data.datasets import facts
from experiments.errors import DatasetChecksumError, DatasetError
from workers.datasets import digits
from workers.datasets.digits import read_digits


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    expected = np.concatenate([theirs.images.reshape(-1, 64), theirs.target[:, None]], axis=1)
    data, rows = read_digits(), []
    for split in (data.train, data.test):
        (images,) = split.inputs
        rows.append(np.concatenate([images.reshape(-1, 64), split.targets[:, None]], axis=1))
    ours = np.concatenate(rows)
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, expected.tolist()))


def test_digits_are_as_their_facts_say() -> None:
    known, data = facts("digits", {}, root=Path("/nowhere")), read_digits()
    (images,) = data.train.inputs
    assert images.shape == (known.num_train, *known.input_shape)
    assert images.dtype == np.uint8
    assert len(data.test.targets) == known.num_test


def test_the_test_split_holds_36_of_each_class() -> None:
    assert np.bincount(read_digits().test.targets).tolist() == [36] * 10


def test_the_first_training_digits_hold_every_class() -> None:
    assert set(read_digits().train.targets[:40].tolist()) == set(range(10))


def test_a_missing_scikit_learn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "find_spec", lambda _: None)
    with pytest.raises(DatasetError, match="scikit-learn is not installed"):
        read_digits()


def put_file(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `sklearn` be found in a folder that holds this as its digits."""
    (folder / "datasets" / "data").mkdir(parents=True)
    (folder / "datasets" / "data" / "digits.csv.gz").write_bytes(content)
    package = ModuleSpec("sklearn", None, is_package=True)
    package.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(digits, "find_spec", lambda _: package)


def test_other_digits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    line = ",".join(["1"] * 65)
    put_file(gzip.compress(f"{line}\n{line}\n".encode()), tmp_path, monkeypatch)
    with pytest.raises(DatasetChecksumError, match="other images than expected"):
        read_digits()


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_file(b"not gzip", tmp_path, monkeypatch)
    with pytest.raises(DatasetError, match=r"digits\.csv\.gz cannot be read"):
        read_digits()
