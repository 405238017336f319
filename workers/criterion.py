"""What a trial's outputs are held against: targets as its task wants them, loss and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from experiments.compatibility import LINEAR, LOSSES, SIGNED_OUTPUTS
from experiments.records import TrialConfig
from experiments.tasks import TASKS
from workers.datasets.staged import StagedData
from workers.losses import Loss, build_loss
from workers.metrics import BinaryTally, ClassTally, Confusion, ImageTally, Tally, ValueTally


@dataclass(frozen=True, slots=True)
class Score:
    """Means over all examples of a split; `metrics` by name, without their split.

    `dead_units` is the share of the network's rectified units that are zero for every one of the
    split's first examples; None where that was not looked at, or there are none.
    """

    loss: float
    metrics: Mapping[str, float]
    confusion: Confusion | None = field(default=None, repr=False)
    dead_units: float | None = None


class Criterion:
    """Holds outputs against what a trial's task, loss and data say they should be."""

    def __init__(self, config: TrialConfig, data: StagedData) -> None:
        """Read task, loss and output activation of a trial on some data."""
        self.loss: Loss = build_loss(config.loss, output_activation=config.output_activation)
        self._task = config.task
        self._output_activation = config.output_activation
        self._is_signed = LOSSES[config.loss].needs == SIGNED_OUTPUTS
        self._num_classes = len(data.class_names)
        self._num_values = len(data.target_names)
        self._full_scale = data.full_scale

    def targets(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Give the targets of a block as the loss takes them.

        Args:
            inputs: As the data set stores them: images (n, C, H, W) uint8, numbers (n, F).
            targets: As the data set stores them: classes (n,) int64, values (n, T) float32,
                masks (n, H, W) uint8.

        Returns:
            classes (n,) or (n, H, W) int64; yes and no (n, 1) float32, as 1 and 0, or as +1
            and -1 for losses of signs; values (n, T) float32 in their own units; or the
            images (n, C, H, W) float32 in 0..1.
        """
        match self._task:
            case "binary":
                yes = targets[:, None].to(torch.float32)
                return yes * 2 - 1 if self._is_signed else yes
            case "segmentation":
                return targets.to(torch.int64)
            case "reconstruction":
                return inputs.to(torch.float32) / self._full_scale
        return targets

    @property
    def threshold(self) -> float:
        """The raw output of a binary network above which its answer is a yes."""
        # Outputs near 0 and 1 are parted in the middle, all others by their sign.
        in_between = self._output_activation == LINEAR and not self._is_signed
        return 0.5 if in_between else 0.0

    def tally(self, device: torch.device) -> Tally:
        """Start to count the metrics of a split."""
        match self._task:
            case "binary":
                return BinaryTally(threshold=self.threshold, device=device)
            case "regression":
                return ValueTally(
                    self._num_values, output_activation=self._output_activation, device=device
                )
            case "reconstruction":
                return ImageTally(output_activation=self._output_activation, device=device)
        return ClassTally(self._num_classes, device=device)

    def score(self, loss: float, tally: Tally) -> Score:
        """Give the score of a validation or test split."""
        found = tally.metrics()
        return Score(
            loss, {name: found[name] for name in TASKS[self._task].metrics}, tally.confusion
        )

    def running_score(self, loss: float, tally: Tally) -> Score:
        """Give the score of the training split, of what is followed there."""
        found = tally.metrics()
        return Score(loss, {name: found[name] for name in TASKS[self._task].train_metrics})
