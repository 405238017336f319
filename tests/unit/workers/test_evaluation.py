from collections.abc import Callable

import pytest
import torch
from torch import nn

from experiments.compatibility import LOSSES
from experiments.planning.cost import evaluation_batch
from experiments.records import TrialConfig
from workers import evaluation
from workers.batches import standardise
from workers.criterion import Criterion
from workers.datasets.staged import StagedData
from workers.evaluation import evaluate, evaluated_at_once
from workers.failures import StopRequestedError

MakeConfig = Callable[..., TrialConfig]
OF_CLASSES = [name for name, rule in LOSSES.items() if "classification" in rule.tasks]


def go_on() -> None:
    """Let every batch be scored."""


@pytest.fixture
def network() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10), nn.Dropout(0.5))
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(0))
    return module


@pytest.mark.parametrize("name", OF_CLASSES)
@pytest.mark.parametrize("batch", [1, 50, 359, 360, 1000])
def test_scores_are_the_means_over_all_images_whatever_the_batch(
    make_config: MakeConfig,
    digits: StagedData,
    network: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    batch: int,
) -> None:
    monkeypatch.setattr(evaluation, "evaluation_batch", lambda _: batch)
    criterion = Criterion(make_config(loss=name), digits)
    score = evaluate(network, digits.test, digits, criterion, before_batch=go_on)
    with torch.no_grad():
        outputs = network.eval()(standardise(digits.test.inputs, digits))
    expected = criterion.loss(outputs.double(), digits.test.targets).item()
    assert score.loss == pytest.approx(expected, rel=1e-6)
    right = (outputs.argmax(1) == digits.test.targets).sum().item()
    assert score.metrics["accuracy"] == right / 360
    assert score.confusion is not None
    assert sum(map(sum, score.confusion)) == 360


def test_evaluation_changes_nothing_in_the_network(
    make_config: MakeConfig, digits: StagedData, network: nn.Module
) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    evaluate(network, digits.val, digits, Criterion(make_config(), digits), before_batch=go_on)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_an_evaluation_can_be_ended_before_every_batch(
    make_config: MakeConfig,
    digits: StagedData,
    network: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "evaluation_batch", lambda _: 100)
    criterion, asked = Criterion(make_config(), digits), list[int]()

    def ask() -> None:
        asked.append(len(asked) + 1)
        if len(asked) == 6:
            raise StopRequestedError

    evaluate(network, digits.test, digits, criterion, before_batch=ask)
    assert len(asked) == 4  # 360 images
    with pytest.raises(StopRequestedError):
        evaluate(network, digits.test, digits, criterion, before_batch=ask)
    assert len(asked) == 6


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 8, 8), 1024), ((1, 28, 28), 334), ((3, 224, 224), 16)]
)
def test_large_images_come_in_small_batches(shape: tuple[int, int, int], size: int) -> None:
    assert evaluation_batch(shape) == size


def test_a_gpu_evaluates_what_an_eighth_of_its_memory_holds(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture, device = make_config().architecture, torch.device("meta")
    largest = 8 * 8 * 8 * 4  # of the convolution and of relu, in bytes
    there = 8 * 3 * largest * 700
    monkeypatch.setattr(evaluation, "memory_for", lambda _, *, share: int(share * there))
    found = [evaluated_at_once(architecture, device, members=num) for num in (1, 7, 1000)]
    assert found == [700, 100, 1]
    there = 10**12
    assert evaluated_at_once(architecture, device) == 4096
    monkeypatch.undo()
    assert evaluated_at_once(architecture, torch.device("cpu")) == evaluation_batch((1, 8, 8))


def test_the_size_of_batches_may_be_given(
    make_config: MakeConfig, digits: StagedData, network: nn.Module
) -> None:
    asked = list[None]()
    evaluate(
        network,
        digits.test,
        digits,
        Criterion(make_config(), digits),
        before_batch=lambda: asked.append(None),
        batch_size=200,
    )
    assert len(asked) == 2  # 360 images
