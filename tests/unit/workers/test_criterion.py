from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.records import DataConfig, TrialConfig
from workers.criterion import Criterion
from workers.datasets.staged import Split, StagedData

MakeConfig = Callable[..., TrialConfig]
IMAGES = torch.tensor([[[[0, 8], [16, 4]]]], dtype=torch.uint8)
CLASSES = torch.tensor([1, 0, 1])
MASKS = torch.tensor([[[0, 1], [2, 1]]], dtype=torch.uint8)
CPU = torch.device("cpu")


def some_data(num_classes: int = 2, full_scale: int = 16) -> StagedData:
    split = Split(IMAGES, CLASSES, torch.arange(1))
    names = tuple("abc"[:num_classes])
    ones = torch.ones(1)
    return StagedData(
        "t", "0", (1, 2, 2), names, split, split, split, ones, ones, full_scale=full_scale
    )


@pytest.fixture
def make_criterion(make_task_config: MakeConfig) -> Callable[..., Criterion]:
    def make(task: str, *, num_classes: int = 2, **changes: Any) -> Criterion:
        data = some_data(num_classes)
        config = make_task_config(task, DataConfig("t", "0"), (4,), layers=["flatten"], **changes)
        return Criterion(config, data)

    return make


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("binary_cross_entropy", [[1.0], [0.0], [1.0]]),
        ("mean_squared_error", [[1.0], [0.0], [1.0]]),
        ("hinge", [[1.0], [-1.0], [1.0]]),
        ("perceptron", [[1.0], [-1.0], [1.0]]),
    ],
)
def test_yes_and_no_are_what_the_loss_takes(
    make_criterion: Callable[..., Criterion], loss: str, expected: list[list[float]]
) -> None:
    found = make_criterion("binary", loss=loss).targets(IMAGES, CLASSES)
    assert found.dtype == torch.float32
    assert found.tolist() == expected


def test_a_reconstruction_is_held_against_the_image_in_0_to_1(
    make_criterion: Callable[..., Criterion],
) -> None:
    found = make_criterion("reconstruction").targets(IMAGES, CLASSES)
    assert found.tolist() == [[[[0.0, 0.5], [1.0, 0.25]]]]


def test_masks_become_classes(make_criterion: Callable[..., Criterion]) -> None:
    found = make_criterion("segmentation").targets(IMAGES, MASKS)
    assert found.dtype == torch.int64
    assert torch.equal(found, MASKS.long())


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_other_targets_stay_as_they_are(
    make_criterion: Callable[..., Criterion], task: str
) -> None:
    assert make_criterion(task).targets(IMAGES, CLASSES) is CLASSES


@pytest.mark.parametrize(
    ("loss", "output", "answers"),
    [
        ("binary_cross_entropy", "sigmoid", [0, 0, 1, 1]),
        ("mean_squared_error", "sigmoid", [0, 0, 1, 1]),
        ("mean_squared_error", "linear", [0, 0, 0, 1]),
        ("hinge", "linear", [0, 0, 1, 1]),
        ("perceptron", "linear", [0, 0, 1, 1]),
    ],
)
def test_a_yes_is_an_output_nearer_to_yes(
    make_criterion: Callable[..., Criterion], loss: str, output: str, answers: list[int]
) -> None:
    criterion = make_criterion("binary", loss=loss, output_activation=output)
    tally = criterion.tally(CPU)
    no = criterion.targets(IMAGES, torch.zeros(4, dtype=torch.int64))
    tally.add(torch.tensor([[-0.1], [0.0], [0.4], [0.6]]), no)
    assert tally.confusion == ((4 - sum(answers), sum(answers)), (0, 0))


def test_a_score_has_the_metrics_of_its_task(make_criterion: Callable[..., Criterion]) -> None:
    criterion = make_criterion("segmentation", num_classes=3)
    tally = criterion.tally(CPU)
    tally.add(torch.eye(3)[MASKS.long()].movedim(-1, 1), MASKS.long())
    score, running = criterion.score(0.5, tally), criterion.running_score(0.5, tally)
    assert score.metrics == {"mean_iou": 1.0, "pixel_accuracy": 1.0, "error": 0.0}
    assert score.confusion == ((1, 0, 0), (0, 2, 0), (0, 0, 1))
    assert running.metrics == {"pixel_accuracy": 1.0}
    assert running.confusion is None
