from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from experiments.records import TrialConfig
from workers import batches
from workers.batches import blocks, one_ahead, standardise
from workers.criterion import Criterion
from workers.datasets.staged import Split, StagedData

MakeConfig = Callable[..., TrialConfig]
PLAIN = torch.contiguous_format


def test_standardised_training_images_have_mean_0_and_deviation_1(digits: StagedData) -> None:
    images, _ = digits.train.gather(torch.arange(len(digits.train)))
    found = standardise(images, digits)
    assert found.dtype == torch.float32
    assert found.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert found.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("block_bytes", [1, 10_000, 10**9])
def test_blocks_hold_whole_batches_in_the_order_asked_for(
    make_config: MakeConfig,
    digits: StagedData,
    monkeypatch: pytest.MonkeyPatch,
    block_bytes: int,
) -> None:
    monkeypatch.setattr(batches, "BLOCK_BYTES", block_bytes)
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(0))
    criterion = Criterion(make_config(), digits)
    found = list(blocks(digits.train, order, digits, criterion, multiple=8, layout=PLAIN))
    assert all(len(images) % 8 == 0 for images, _ in found[:-1])
    assert all(images[0].nbytes * len(images) <= max(block_bytes, 2048) for images, _ in found)
    raw, labels = digits.train.gather(order)
    assert torch.equal(torch.cat([labels for _, labels in found]), labels)
    assert torch.equal(torch.cat([images for images, _ in found]), standardise(raw, digits))


def test_the_layout_changes_no_value(digits: StagedData) -> None:
    images, _ = digits.train.gather(torch.arange(5))
    plain = standardise(images, digits)
    assert torch.equal(plain, standardise(images, digits, layout=torch.channels_last))


def test_numbers_are_standardised_by_feature_and_left_as_they_are() -> None:
    numbers = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    split = Split(numbers, torch.zeros(2, 1), torch.arange(2))
    mean, std = torch.tensor([2.0, 20.0]), torch.tensor([1.0, 10.0])
    data = StagedData("t", "0", (2,), (), split, split, split, mean, std)
    found = standardise(numbers, data, layout=torch.channels_last)
    assert found.tolist() == [[-1.0, -1.0], [1.0, 1.0]]
    assert numbers.tolist() == [[1.0, 10.0], [3.0, 30.0]]


def test_a_change_is_made_to_raw_inputs_before_anything_else(
    make_config: MakeConfig, digits: StagedData
) -> None:
    def change(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        assert images.dtype == torch.uint8
        return images.flip(-1), labels + 1

    criterion, order = Criterion(make_config(), digits), torch.arange(5)
    source = blocks(digits.train, order, digits, criterion, multiple=5, layout=PLAIN, change=change)
    ((images, labels),) = source
    raw, own = digits.train.gather(order)
    assert torch.equal(images, standardise(raw.flip(-1), digits))
    assert torch.equal(labels, own + 1)


def test_the_next_is_begun_before_one_is_worked_on() -> None:
    said = list[str]()

    def begin(number: int) -> int:
        said.append(f"begin {number}")
        return number

    for number in one_ahead(map(begin, range(3))):
        said.append(f"work on {number}")
    assert said == ["begin 0", "begin 1", "work on 0", "begin 2", "work on 1", "work on 2"]
    assert list(one_ahead(iter(()))) == []
