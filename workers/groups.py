"""What learns as one program: a network alone, or the members of a pack.

`training.py` drives both alike.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

import torch

from experiments.records import TrialConfig
from workers.criterion import Score
from workers.datasets.staged import StagedData
from workers.fusion.fused_learner import FusedLearner
from workers.learner import EpochRecord, Learner, Learning


class Group(Protocol):
    """Networks of one shape on one data set, whose epochs go in step."""

    @property
    def members(self) -> Sequence[Learning]:
        """The networks, in order."""

    @property
    def strategy(self) -> str:
        """How they run, for a trial's record."""

    def train_epoch(
        self, epochs: Sequence[int], *, before_step: Callable[[int], None]
    ) -> list[EpochRecord]:
        """Pass once over the training split; `epochs` says which pass it is of each member.

        `before_step` is called with the step's number in the epoch, from 1; what it raises ends
        the epoch.
        """

    def evaluate(self, split: str, *, before_batch: Callable[[], None]) -> list[Score]:
        """Score every member on the split "val" or "test"."""

    def keep(self, places: Collection[int]) -> "Group":
        """Give a group of the members at these places only, in their order, as they are now."""


class Alone:
    """The reference loop: one network by itself, in torch's own modules."""

    strategy: Final = "plain"

    def __init__(self, learner: Learner) -> None:
        self.members = (learner,)
        self._learner = learner

    def train_epoch(
        self, epochs: Sequence[int], *, before_step: Callable[[int], None]
    ) -> list[EpochRecord]:
        """Pass once over the training split."""
        (epoch,) = epochs
        return [self._learner.train_epoch(epoch, before_step=before_step)]

    def evaluate(self, split: str, *, before_batch: Callable[[], None]) -> list[Score]:
        """Score the network."""
        return [self._learner.evaluate(split, before_batch=before_batch)]

    def keep(self, places: Collection[int]) -> Group:
        """Give the same group; there is nobody who could leave."""
        assert len(places) == 1
        return self


def build_group(
    configs: Sequence[TrialConfig], data: StagedData, *, device: torch.device, fused: bool
) -> Group:
    """Make the networks of trials: as one program, or of one trial by itself.

    Raises:
        CheckpointError: The weights that a network starts from cannot be read.
    """
    if fused:
        return FusedLearner.start(configs, data, device=device)
    (config,) = configs
    return Alone(Learner(config, data, device=device))
