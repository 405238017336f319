import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.data.datasets import facts
from experiments.data.generated_sets import FakeOptions
from experiments.errors import DatasetChecksumError, DatasetError, DatasetUnavailableError
from experiments.records import DataConfig
from workers import staging
from workers.datasets import fake
from workers.datasets.fake import make_fake
from workers.datasets.makers import MAKERS
from workers.staging import is_staged, main, prepare, stage, staged_folder

OPTIONS: dict[str, Any] = {"image_shape": [2, 3, 4], "classes": 5, "examples": 40}


@pytest.fixture
def config() -> DataConfig:
    digest = facts("fake", OPTIONS, root=Path("/nowhere")).digest
    return DataConfig("fake", digest, OPTIONS, val_fraction=0.25)


def test_a_staged_set_holds_all_images_split_and_typed(config: DataConfig, tmp_path: Path) -> None:
    data = stage(config, root=tmp_path)
    assert (len(data.train), len(data.val), len(data.test)) == (30, 10, 40)
    assert data.input_shape == (2, 3, 4)
    assert data.class_names == ("0", "1", "2", "3", "4")
    assert data.digest == config.digest
    images, labels = data.val.gather(torch.arange(10))
    assert (images.dtype, images.shape) == (torch.uint8, (10, 2, 3, 4))
    assert (labels.dtype, labels.shape) == (torch.int64, (10,))


def test_a_staged_set_holds_what_its_reader_gave(config: DataConfig, tmp_path: Path) -> None:
    data = stage(config, root=tmp_path)
    raw = make_fake(FakeOptions((2, 3, 4), 5, 40))
    expected = np.concatenate(list(raw.train.inputs))
    order = torch.argsort(torch.cat([data.train.indices, data.val.indices]))
    parts = [split.gather(torch.arange(len(split)))[0] for split in (data.train, data.val)]
    assert np.array_equal(torch.cat(parts)[order].numpy(), expected)


def test_statistics_are_those_of_the_training_split(config: DataConfig, tmp_path: Path) -> None:
    data = stage(config, root=tmp_path)
    images, _ = data.train.gather(torch.arange(len(data.train)))
    torch.testing.assert_close(data.mean, images.double().mean(dim=(0, 2, 3)).float())


def test_a_set_is_prepared_once(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_staged(config, tmp_path)
    folder = prepare(config, root=tmp_path)
    assert is_staged(config, tmp_path)
    monkeypatch.setattr(staging, "_prepare", None)
    assert prepare(config, root=tmp_path) == folder


def test_splits_and_limits_share_one_staged_set(config: DataConfig, tmp_path: Path) -> None:
    stage(config, root=tmp_path)
    other = dataclasses.replace(config, val_fraction=0.5, split_seed=1, limit=20)
    assert staged_folder(other, tmp_path) == staged_folder(config, tmp_path)
    data = stage(other, root=tmp_path)
    assert (len(data.train), len(data.val), len(data.test)) == (10, 10, 40)


def changed(config: DataConfig, **changes: Any) -> DataConfig:
    digest = facts("fake", OPTIONS, root=Path("/nowhere"), changes=changes).digest
    return dataclasses.replace(config, digest=digest, changes=changes)


def test_a_changed_set_has_a_folder_and_facts_of_its_own(
    config: DataConfig, tmp_path: Path
) -> None:
    other = changed(config, classes=["4", "1"], resize=[6, 6], crop=[5, 6], noise=0.1)
    data = stage(other, root=tmp_path)
    assert staged_folder(other, tmp_path) != staged_folder(config, tmp_path)
    assert (data.input_shape, data.class_names) == ((2, 5, 6), ("4", "1"))
    assert data.train.inputs.shape == (16, 2, 5, 6)
    assert data.digest == other.digest
    assert set(data.train.targets.tolist()) == {0, 1}


def test_a_changed_set_is_the_same_from_raw_and_from_staged_data(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = changed(config, classes=["0", "3"], noise=0.2)
    monkeypatch.setattr(fake, "_BLOCK_BYTES", 24 * 7)  # staged ones come in one piece
    from_raw = stage(other, root=tmp_path / "raw")
    stage(config, root=tmp_path / "staged")
    monkeypatch.delitem(MAKERS, "fake")
    from_staged = stage(other, root=tmp_path / "staged")
    assert torch.equal(from_raw.train.inputs, from_staged.train.inputs)
    assert torch.equal(from_raw.test.targets, from_staged.test.targets)


def test_opened_tensors_can_be_written_without_touching_the_file(
    config: DataConfig, tmp_path: Path
) -> None:
    folder = prepare(config, root=tmp_path)
    before = (folder / "train_inputs.npy").read_bytes()
    stage(config, root=tmp_path).train.inputs.zero_()
    assert (folder / "train_inputs.npy").read_bytes() == before


def test_training_and_validation_share_their_tensors(config: DataConfig, tmp_path: Path) -> None:
    data = stage(config, root=tmp_path)
    assert data.train.inputs is data.val.inputs
    assert data.train.targets is data.val.targets


def test_a_truncated_file_is_found(config: DataConfig, tmp_path: Path) -> None:
    stage(config, root=tmp_path)
    path = staged_folder(config, tmp_path) / "train_inputs.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetChecksumError, match=r"train_inputs\.npy has 1087 bytes instead"):
        stage(config, root=tmp_path)


def test_an_altered_file_is_found(config: DataConfig, tmp_path: Path) -> None:
    path = prepare(config, root=tmp_path) / "test_targets.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(DatasetChecksumError, match=r"test_targets\.npy was altered"):
        stage(config, root=tmp_path)


def test_unreadable_meta_is_found(config: DataConfig, tmp_path: Path) -> None:
    (prepare(config, root=tmp_path) / "meta.json").write_text("{")
    with pytest.raises(DatasetChecksumError, match=r"meta\.json cannot be read"):
        stage(config, root=tmp_path)


def test_data_that_changed_since_the_plan_is_refused(config: DataConfig, tmp_path: Path) -> None:
    other = dataclasses.replace(config, digest="0" * 64)
    with pytest.raises(DatasetChecksumError, match="changed since the plan"):
        prepare(other, root=tmp_path)


@pytest.mark.parametrize("change", [{"val_fraction": 0.0}, {"limit": 1}, {"val_fraction": 0.99}])
def test_an_empty_split_is_refused(
    config: DataConfig, tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(DatasetError, match="both splits need at least one"):
        stage(dataclasses.replace(config, **change), root=tmp_path)


def test_a_failure_leaves_nothing_behind(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(staging, "_write_inputs", fill_the_disk)
    with pytest.raises(DatasetUnavailableError, match=r"No space left on device.*TRAINYARD_DATA"):
        prepare(config, root=tmp_path)
    assert [p.suffix for p in (tmp_path / "staged").iterdir()] == [".lock"]
    monkeypatch.undo()
    assert len(stage(config, root=tmp_path).test) == 40


def test_what_a_killed_process_left_is_cleared(config: DataConfig, tmp_path: Path) -> None:
    partial = staged_folder(config, tmp_path).with_suffix(".partial")
    partial.mkdir(parents=True)
    (partial / "staged").touch()
    assert len(stage(config, root=tmp_path).test) == 40
    assert not partial.exists()


def test_a_root_that_cannot_be_written_is_named(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(DatasetUnavailableError, match=r"cannot prepare .*root.*TRAINYARD_DATA"):
        prepare(config, root=tmp_path / "root")


def test_processes_of_one_machine_prepare_a_set_once(
    config: DataConfig, tmp_path: Path, repository: Path
) -> None:
    text = json.dumps(dataclasses.asdict(config))
    command = [sys.executable, "-m", "workers.staging", text, str(tmp_path)]
    commands = [
        subprocess.Popen(command, cwd=repository, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [command.communicate(timeout=60)[1] for command in commands]
    assert [command.returncode for command in commands] == [0, 0, 0]
    assert sorted(len(lines.splitlines()) for lines in said) == [0, 0, 2]


def test_the_command_prepares_a_set(config: DataConfig, tmp_path: Path) -> None:
    said: list[str] = []
    text = json.dumps(dataclasses.asdict(config))
    assert main([text, str(tmp_path)], say=said.append) == 0
    assert is_staged(config, tmp_path)
    assert said[0] == "fake: preparing 40 + 40 examples"


def test_the_command_says_what_is_wrong(config: DataConfig, tmp_path: Path) -> None:
    said: list[str] = []
    text = json.dumps(dataclasses.asdict(dataclasses.replace(config, digest="0" * 64)))
    assert main([text, str(tmp_path)], say=said.append) == DatasetError.exit_code
    assert "changed since the plan" in said[-1]
