"""What learns as one program: a network alone, or the members of a pack.

`training.py` drives both alike.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import torch

from experiments.planning.strategies import Strategy
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

    def keep(self, places: Collection[int], *, joining: Sequence[TrialConfig] = ()) -> "Group":
        """Give a group of the members at these places only, in their order, as they are now.

        Behind them come those that join: trials of the same shape, with their first weights.
        """


class Alone:
    """One network by itself, in torch's own modules."""

    def __init__(self, learner: Learner) -> None:
        self.members = (learner,)
        self._learner = learner

    @property
    def strategy(self) -> str:
        """How it runs, for a trial's record."""
        return self._learner.strategy.text

    def train_epoch(
        self, epochs: Sequence[int], *, before_step: Callable[[int], None]
    ) -> list[EpochRecord]:
        """Pass once over the training split."""
        (epoch,) = epochs
        return [self._learner.train_epoch(epoch, before_step=before_step)]

    def evaluate(self, split: str, *, before_batch: Callable[[], None]) -> list[Score]:
        """Score the network."""
        return [self._learner.evaluate(split, before_batch=before_batch)]

    def keep(self, places: Collection[int], *, joining: Sequence[TrialConfig] = ()) -> Group:
        """Give the same group; there is nobody who could leave, and no room."""
        assert len(places) == 1
        assert not joining
        return self


def build_group(
    configs: Sequence[TrialConfig],
    data: StagedData,
    *,
    device: torch.device,
    strategy: Strategy,
) -> Group:
    """Make the networks of trials: as one program, or of one trial by itself.

    Args:
        configs: The trials'; of a fused program as many as there are, else one.
        data: What they learn from.
        device: Where.
        strategy: How.

    Raises:
        CheckpointError: The weights that a network starts from cannot be read.
    """
    if strategy.is_fused:
        assert not strategy.compiled, "only plain modules are"
        return FusedLearner.start(configs, data, device=device, strategy=strategy)
    (config,) = configs
    return Alone(Learner(config, data, device=device, strategy=strategy))
