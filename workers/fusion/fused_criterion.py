"""What the outputs of a pack's members are held against: each by its own loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.records import TrialConfig
from workers.criterion import Criterion
from workers.datasets.staged import StagedData
from workers.metrics import ClassTally, Tally


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Neighbours that are judged alike."""

    criterion: Criterion
    members: slice


class FusedCriterion:
    """The losses and metrics of K members; each stretch of equal ones is judged at once.

    Batches are member by member, outputs (K, n, ...), and of shapes as `Criterion` has them.
    """

    def __init__(self, configs: Sequence[TrialConfig], data: StagedData) -> None:
        """Read the members' tasks, losses and output activations."""
        self._stretches = _stretches(configs, data)
        self._criteria = [
            each.criterion
            for each in self._stretches
            for _ in range(each.members.start, each.members.stop)
        ]

    def __getitem__(self, index: int) -> Criterion:
        """Give what one member is judged by."""
        return self._criteria[index]

    def targets(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Give (S, K, n, ...) targets as the losses take them, of S batches.

        Args:
            inputs: (S, K, n, ...) as the data set stores them.
            targets: (S, K, n, ...), too.
        """
        return self._joined(
            lambda each: _by_batches(
                each.criterion, inputs[:, each.members], targets[:, each.members]
            ),
            dim=1,
        )

    def shared_targets(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Give (K, n, ...) targets of examples that all members see: (n, ...) of both."""

        def of(each: _Stretch) -> Tensor:
            wanted = each.criterion.targets(inputs, targets)
            return wanted.expand(each.members.stop - each.members.start, *wanted.shape)

        return self._joined(of, dim=0)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Give the loss of each example, (K, n), for (K, n, ...) of both."""

        def of(each: _Stretch) -> Tensor:
            own, its = outputs[each.members], targets[each.members]
            losses = each.criterion.loss(own.flatten(0, 1), its.flatten(0, 1), reduction="none")
            return losses.view(own.shape[:2])

        return self._joined(of, dim=0)

    def tally(self, device: torch.device) -> "FusedTally":
        """Start to count the metrics of a split."""
        return FusedTally(self._stretches, device)

    def _joined(self, part_of: Callable[[_Stretch], Tensor], *, dim: int) -> Tensor:
        parts = [part_of(each) for each in self._stretches]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)


class FusedTally:
    """Counts the metrics of K members: those of classes for each stretch at once."""

    def __init__(self, stretches: Sequence[_Stretch], device: torch.device) -> None:
        """Start to count, on a device."""
        self._stretches = stretches
        self._tallies = [_tallies(each, device) for each in stretches]

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count (K, n, ...) outputs and targets; waits for no device."""
        for stretch, tallies in zip(self._stretches, self._tallies, strict=True):
            own, its = outputs[stretch.members], targets[stretch.members]
            if isinstance(tallies, ClassTally):
                tallies.add(own.flatten(0, 1), its.flatten(0, 1))
                continue
            for tally, answers, truth in zip(tallies, own, its, strict=True):
                tally.add(answers, truth)

    def members(self) -> list[Tally]:
        """Give the tally of each member."""
        return [
            tally
            for tallies in self._tallies
            for tally in (tallies.members() if isinstance(tallies, ClassTally) else tallies)
        ]


def _tallies(stretch: _Stretch, device: torch.device) -> ClassTally | list[Tally]:
    num = stretch.members.stop - stretch.members.start
    one = stretch.criterion.tally(device)
    if isinstance(one, ClassTally):  # whole numbers, whose sums have no order
        return one.of_members(num)
    return [one, *(stretch.criterion.tally(device) for _ in range(num - 1))]


def _by_batches(criterion: Criterion, inputs: Tensor, targets: Tensor) -> Tensor:
    wanted = criterion.targets(inputs.flatten(0, 2), targets.flatten(0, 2))
    return wanted.view(*inputs.shape[:3], *wanted.shape[1:])


def _stretches(configs: Sequence[TrialConfig], data: StagedData) -> tuple[_Stretch, ...]:
    """Put neighbours together that are judged alike."""
    stretches = list[_Stretch]()
    start = 0
    for index in range(1, len(configs) + 1):
        if index == len(configs) or _judged_by(configs[index]) != _judged_by(configs[start]):
            stretches.append(_Stretch(Criterion(configs[start], data), slice(start, index)))
            start = index
    return tuple(stretches)


def _judged_by(config: TrialConfig) -> tuple[str, str]:
    return config.loss, config.output_activation
