"""Which examples of the test split a portrait shows: how a network does on each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from experiments.compatibility import LINEAR, SIGMOID
from experiments.records import TrialConfig
from workers.criterion import Criterion
from workers.datasets.staged import StagedData
from workers.losses import activate
from workers.network_pictures import displayed
from workers.portrait_records import (
    Image,
    Limits,
    Portrait,
    Reconstruction,
    Segmentation,
    WrongAnswer,
    WrongValue,
)

_MOST_AT_ONCE: Final = 256
_BATCH_BYTES: Final = 2**28  # what the layers of a batch may put out
_BEST_PSNR: Final = 100.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A network, and the first examples of the test split that it is tried on."""

    predictor: nn.Module
    config: TrialConfig
    data: StagedData
    criterion: Criterion
    num: int

    def scores(self, score: Callable[[Tensor, Tensor], Sequence[Tensor]]) -> list[Tensor]:
        """Give what `score` makes of outputs and targets (n, ...), of all examples, in columns."""
        parts = [
            score(*self._tried(some)) for some in torch.split(torch.arange(self.num), self._batch)
        ]
        return [torch.cat(column) for column in zip(*parts, strict=True)]

    def outputs(self, positions: Sequence[int]) -> Tensor:
        """Give the outputs for some examples after the output activation, (n, ...)."""
        parts = [self._tried(some)[0] for some in torch.split(torch.tensor(positions), self._batch)]
        return activate(torch.cat(parts), self.config.output_activation)

    def pictures(self, positions: Sequence[int]) -> list[Image]:
        """Give some examples, which are images, as pictures."""
        inputs, _ = self.data.test.gather(torch.tensor(positions, dtype=torch.int64))
        return list(displayed(inputs.numpy(), full_scale=self.data.full_scale))

    def inputs(self, positions: Sequence[int]) -> list[tuple[Image | None, tuple[float, ...]]]:
        """Give some examples as pictures, or where they are numbers as those."""
        if self.data.test.inputs.ndim == 4:
            return [(image, ()) for image in self.pictures(positions)]
        numbers, _ = self.data.test.gather(torch.tensor(positions, dtype=torch.int64))
        return [(None, tuple(row)) for row in numbers.tolist()]

    @property
    def _batch(self) -> int:
        per_example = sum(row.activation_bytes for row in self.config.architecture.trace())
        return max(1, min(_MOST_AT_ONCE, _BATCH_BYTES // max(1, per_example)))

    def _tried(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = self.data.test.gather(positions)
        with torch.inference_mode():
            return self.predictor(inputs), self.criterion.targets(inputs, targets)


def show_wrong_answers(portrait: Portrait, subject: Subject, limits: Limits) -> Portrait:
    """Add the wrong answers with the largest losses."""
    criterion, activation = subject.criterion, subject.config.output_activation

    def score(outputs: Tensor, targets: Tensor) -> Sequence[Tensor]:
        loss = criterion.loss(outputs, targets, reduction="none")
        if subject.config.task == "binary":
            answers = (outputs[:, 0] > criterion.threshold).to(torch.int64)
            yes = activate(outputs, activation)[:, 0]
            sure = torch.where(answers == 1, yes, 1 - yes)
            return answers, (targets[:, 0] > 0).to(torch.int64), sure, loss
        shares = activate(outputs, activation)
        if activation == SIGMOID:
            shares = shares / shares.sum(dim=1, keepdim=True)
        answers = outputs.argmax(dim=1)
        return answers, targets, shares.gather(1, answers[:, None])[:, 0], loss

    answers, truth, sure, loss = subject.scores(score)
    wrong = torch.nonzero(answers != truth)[:, 0]
    worst = wrong[_worst_first(loss[wrong])][: limits.failures].tolist()
    names = subject.data.class_names
    failures = tuple(
        WrongAnswer(
            index=index,
            image=image,
            features=features,
            true=names[int(truth[index])],
            predicted=names[int(answers[index])],
            confidence=None if activation == LINEAR else float(sure[index]),
            loss=float(loss[index]),
        )
        for index, (image, features) in zip(worst, subject.inputs(worst), strict=True)
    )
    return replace(portrait, failures=failures, num_failures=len(wrong))


def show_values(portrait: Portrait, subject: Subject, limits: Limits) -> Portrait:
    """Add the values that were missed by most, as the loss counts it."""
    criterion, activation = subject.criterion, subject.config.output_activation

    def score(outputs: Tensor, targets: Tensor) -> Sequence[Tensor]:
        loss = criterion.loss(outputs, targets, reduction="none")
        return activate(outputs, activation), targets, loss

    found, wanted, loss = subject.scores(score)
    worst = _worst_first(loss)[: limits.failures].tolist()
    failures = tuple(
        WrongValue(
            index=index,
            image=image,
            features=features,
            true=tuple(wanted[index].tolist()),
            predicted=tuple(found[index].tolist()),
            loss=float(loss[index]),
        )
        for index, (image, features) in zip(worst, subject.inputs(worst), strict=True)
    )
    return replace(portrait, failures=failures)


def show_segmentations(portrait: Portrait, subject: Subject, limits: Limits) -> Portrait:
    """Add the images with the lowest IoU, and some from the lowest to the highest."""
    num_classes = len(subject.data.class_names)

    def score(outputs: Tensor, targets: Tensor) -> Sequence[Tensor]:
        return (_mean_iou(outputs.argmax(dim=1), targets, num_classes=num_classes),)

    (agreement,) = subject.scores(score)
    order = _worst_first(-agreement).tolist()

    def show(positions: Sequence[int]) -> tuple[Segmentation, ...]:
        answers = subject.outputs(positions).argmax(dim=1).to(torch.uint8)
        _, targets = subject.data.test.gather(torch.tensor(positions))
        return tuple(
            Segmentation(index, image, true.numpy(), answer.numpy(), float(agreement[index]))
            for index, image, true, answer in zip(
                positions, subject.pictures(positions), targets, answers, strict=True
            )
        )

    return replace(
        portrait,
        failures=show(order[: limits.failures]),
        segmentations=show(_spread(order, limits.segmentations)),
    )


def show_images(portrait: Portrait, subject: Subject, limits: Limits) -> Portrait:
    """Add the images with the lowest PSNR, and some from the lowest to the highest."""
    activation = subject.config.output_activation

    def score(outputs: Tensor, targets: Tensor) -> Sequence[Tensor]:
        errors = activate(outputs, activation).double() - targets
        # -10 log10 of the mean square: the PSNR of pixels in 0..1 (`experiments.tasks`).
        nearness = -10 * errors.square().flatten(1).mean(dim=1).log10()
        return (nearness.clamp(max=_BEST_PSNR),)

    (psnr,) = subject.scores(score)
    order = _worst_first(-psnr).tolist()

    def show(positions: Sequence[int]) -> tuple[Reconstruction, ...]:
        made = displayed(subject.outputs(positions).numpy(), full_scale=1.0)
        return tuple(
            Reconstruction(index, image, output, float(psnr[index]))
            for index, image, output in zip(
                positions, subject.pictures(positions), made, strict=True
            )
        )

    return replace(
        portrait,
        failures=show(order[: limits.failures]),
        reconstructions=show(_spread(order, limits.reconstructions)),
    )


def _mean_iou(answers: Tensor, targets: Tensor, *, num_classes: int) -> Tensor:
    """Average intersection / union over the classes in either mask (N, H, W), of each image.

    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", 2010, by image.
    """
    total = torch.zeros(len(answers), dtype=torch.float64)
    there = torch.zeros(len(answers), dtype=torch.float64)
    for each in range(num_classes):
        said, true = answers == each, targets == each
        union = (said | true).flatten(1).sum(dim=1)
        total += (said & true).flatten(1).sum(dim=1) / union.clamp(min=1)
        there += union > 0
    return total / there


def _worst_first(badness: Tensor) -> Tensor:
    """Order positions by how bad they are; not a number is the worst, equal ones keep theirs."""
    ranked = badness.double().nan_to_num(nan=torch.inf)
    return torch.argsort(ranked, descending=True, stable=True)


def _spread(order: Sequence[int], most: int) -> list[int]:
    """Choose `most` of an order evenly, its ends among them."""
    places = np.linspace(0, len(order) - 1, min(most, len(order))).round()
    return [order[int(place)] for place in places]
