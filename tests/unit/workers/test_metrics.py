import numpy as np
import pytest
import torch
from sklearn import metrics

from experiments.events import MAX_CONFUSION_CLASSES
from experiments.tasks import METRICS, TASKS
from workers.metrics import BinaryTally, ClassTally, ImageTally, Tally, ValueTally

CPU = torch.device("cpu")
RANDOM = np.random.default_rng(0)


def counted(tally: Tally, outputs: torch.Tensor, targets: torch.Tensor) -> Tally:
    """Count in batches of several sizes."""
    for part in zip(torch.split(outputs, 7), torch.split(targets, 7), strict=True):
        tally.add(*part)
    return tally


@pytest.mark.parametrize("num_classes", [2, 5, MAX_CONFUSION_CLASSES + 1])
def test_metrics_of_classes_are_those_of_scikit_learn(num_classes: int) -> None:
    there = RANDOM.integers(num_classes - 1, size=60)  # so the last class does not occur
    outputs = torch.from_numpy(RANDOM.normal(size=(60, num_classes)))
    tally = counted(ClassTally(num_classes, device=CPU), outputs, torch.from_numpy(there))
    found, answers = tally.metrics(), outputs.argmax(1).numpy()
    occurring, known = np.unique(there), np.unique([*there, *answers])

    def score(function: str, labels: object) -> float:
        options = {"average": "macro", "labels": labels, "zero_division": 0}
        return float(getattr(metrics, function)(there, answers, **options))

    expected = {
        "accuracy": metrics.accuracy_score(there, answers),
        "error": metrics.zero_one_loss(there, answers),
        "precision": score("precision_score", np.arange(num_classes)),
        "recall": score("recall_score", occurring),
        "f1": score("f1_score", occurring),
        "pixel_accuracy": metrics.accuracy_score(there, answers),
        "mean_iou": score("jaccard_score", known),
    }
    assert found == pytest.approx(expected)
    pairs = metrics.confusion_matrix(there, answers, labels=np.arange(num_classes))
    counts = tuple(map(tuple, pairs.tolist()))
    assert tally.confusion == (counts if num_classes <= MAX_CONFUSION_CLASSES else None)


@pytest.mark.parametrize(("threshold", "no"), [(0.0, -1.0), (0.0, 0.0), (0.5, 0.0)])
def test_metrics_of_yes_and_no_are_those_of_scikit_learn(threshold: float, no: float) -> None:
    there = RANDOM.integers(2, size=(40, 1))
    outputs = torch.from_numpy(RANDOM.normal(size=(40, 1)))
    targets = torch.where(torch.from_numpy(there) > 0, 1.0, no)
    tally = counted(BinaryTally(threshold=threshold, device=CPU), outputs, targets)
    truth, answers = there[:, 0], (outputs.numpy() > threshold)[:, 0]
    found = {name: tally.metrics()[name] for name in TASKS["binary"].metrics}
    assert found == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(truth, answers),
            "error": metrics.zero_one_loss(truth, answers),
            "precision": metrics.precision_score(truth, answers),
            "recall": metrics.recall_score(truth, answers),
            "f1": metrics.f1_score(truth, answers),
        }
    )
    assert tally.confusion == tuple(map(tuple, metrics.confusion_matrix(truth, answers).tolist()))


def test_a_class_that_is_neither_there_nor_answered_counts_0() -> None:
    tally = counted(BinaryTally(threshold=0.0, device=CPU), -torch.ones(3, 1), torch.zeros(3, 1))
    found = tally.metrics()
    assert (found["precision"], found["recall"], found["f1"]) == (0.0, 0.0, 0.0)
    assert found["accuracy"] == 1.0


def test_pixels_are_counted_one_by_one() -> None:
    there = RANDOM.integers(3, size=(10, 4, 5))
    outputs = torch.from_numpy(RANDOM.normal(size=(10, 3, 4, 5)))
    tally = counted(ClassTally(3, device=CPU), outputs, torch.from_numpy(there))
    truth, answers = there.ravel(), outputs.argmax(1).numpy().ravel()
    found = {name: tally.metrics()[name] for name in TASKS["segmentation"].metrics}
    assert found == pytest.approx(
        {
            "mean_iou": metrics.jaccard_score(truth, answers, average="macro"),
            "pixel_accuracy": metrics.accuracy_score(truth, answers),
            "error": metrics.zero_one_loss(truth, answers),
        }
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_metrics_of_numbers_are_those_of_scikit_learn(offset: float) -> None:
    targets = RANDOM.normal(size=(50, 3)) + offset
    outputs = targets + RANDOM.normal(size=(50, 3))
    tally = ValueTally(3, output_activation="linear", device=CPU)
    found = counted(tally, torch.from_numpy(outputs), torch.from_numpy(targets)).metrics()
    assert {name: found[name] for name in TASKS["regression"].metrics} == pytest.approx(
        {
            "rmse": metrics.mean_squared_error(targets, outputs) ** 0.5,
            "mae": metrics.mean_absolute_error(targets, outputs),
            "r2": metrics.r2_score(targets, outputs),
        }
    )


def test_targets_that_never_change_leave_nothing_to_explain() -> None:
    targets = torch.tensor([[1.0, 1e9], [2.0, 1e9], [4.0, 1e9]])
    outputs = targets + 1
    tally = counted(ValueTally(2, output_activation="linear", device=CPU), outputs, targets)
    assert tally.metrics()["r2"] == pytest.approx(metrics.r2_score(targets[:, 0], outputs[:, 0]))
    tally = ValueTally(1, output_activation="linear", device=CPU)
    assert counted(tally, outputs[:, 1:], targets[:, 1:]).metrics()["r2"] == 0.0


def test_errors_whose_squares_are_too_large_for_float32_are_measured() -> None:
    targets = torch.tensor([[0.0], [2e25]])
    tally = ValueTally(1, output_activation="linear", device=CPU)
    found = counted(tally, torch.full((2, 1), 1e25), targets).metrics()
    assert found == pytest.approx({"psnr": -500, "rmse": 1e25, "mae": 1e25, "r2": 0.0}, rel=1e-6)


@pytest.mark.parametrize("output", ["linear", "sigmoid"])
def test_metrics_of_images_equal_their_formulas(output: str) -> None:
    targets = torch.from_numpy(RANDOM.uniform(size=(9, 2, 4, 4)))
    outputs = torch.from_numpy(RANDOM.normal(size=(9, 2, 4, 4)))
    pixels = outputs.sigmoid() if output == "sigmoid" else outputs
    found = counted(ImageTally(output_activation=output, device=CPU), outputs, targets).metrics()
    mean_square = (pixels - targets).square().mean().item()
    assert found == pytest.approx(
        {
            "psnr": -10 * np.log10(mean_square),
            "rmse": mean_square**0.5,
            "mae": (pixels - targets).abs().mean().item(),
        }
    )


def test_images_without_error_have_a_bounded_psnr() -> None:
    images = torch.rand(2, 1, 3, 3)
    tally = counted(ImageTally(output_activation="linear", device=CPU), images, images)
    assert tally.metrics()["psnr"] == 100.0


def test_every_metric_of_a_task_is_in_the_table() -> None:
    for task in TASKS.values():
        assert set(task.metrics) | set(task.train_metrics) <= set(METRICS)
