import pytest
import torch

from workers import batches
from workers.batches import blocks, standardise
from workers.datasets.staged import StagedData


def test_standardised_training_images_have_mean_0_and_deviation_1(digits: StagedData) -> None:
    images, _ = digits.train.gather(torch.arange(len(digits.train)))
    found = standardise(images, digits)
    assert found.dtype == torch.float32
    assert found.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert found.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("block_bytes", [1, 10_000, 10**9])
def test_blocks_hold_whole_batches_in_the_order_asked_for(
    digits: StagedData, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(batches, "BLOCK_BYTES", block_bytes)
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(0))
    found = list(blocks(digits.train, order, digits, multiple=8, layout=torch.contiguous_format))
    assert all(len(images) % 8 == 0 for images, _ in found[:-1])
    assert all(images[0].nbytes * len(images) <= max(block_bytes, 2048) for images, _ in found)
    raw, labels = digits.train.gather(order)
    assert torch.equal(torch.cat([labels for _, labels in found]), labels)
    assert torch.equal(torch.cat([images for images, _ in found]), standardise(raw, digits))


def test_the_layout_changes_no_value(digits: StagedData) -> None:
    images, _ = digits.train.gather(torch.arange(5))
    plain = standardise(images, digits)
    assert torch.equal(plain, standardise(images, digits, layout=torch.channels_last))
