"""What the doctor looks at: the curves of one trial, and the facts that they are read by."""

import math
from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

BATCH_LOSS: Final = "train/batch_loss"
DEAD_UNITS: Final = "val/dead_units"


@dataclass(frozen=True, slots=True)
class Series:
    """One metric over a trial, in order; `places` are epochs, or steps for `train/batch_loss`."""

    places: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    def __len__(self) -> int:
        """Count the points."""
        return len(self.values)

    @property
    def is_finite(self) -> bool:
        """Whether all values are numbers."""
        return all(map(math.isfinite, self.values))

    def finite(self) -> "Series":
        """Give the points before the first whose value is not finite."""
        end = next((i for i, x in enumerate(self.values) if not math.isfinite(x)), len(self))
        return Series(self.places[:end], self.values[:end])

    def after(self, place: int) -> "Series":
        """Give the points behind a place."""
        start = bisect(self.places, place)
        return Series(self.places[start:], self.values[start:])


@dataclass(frozen=True, slots=True)
class TrialCurve:
    """The curves of one trial and what is known of how they came about.

    Attributes:
        series: By metric, as docs/frames.md names them; any may be missing.
        task: A name of `experiments.tasks.TASKS`.
        loss: A name of `experiments.compatibility.LOSSES`.
        num_classes: What a guess would be right among: classes, 2 for yes or no; None where
            the targets are no classes.
        lr: The base rate; `schedule` says how it moves.
        epochs: As planned; the curves may end before.
        dropout: The largest probability of the network's dropout layers; 0 for none.
        takes_dropout: Whether the hyperparameter `dropout` applies to the model.
        takes_activation: Whether the hyperparameter `activation` does.
        is_image: Whether the inputs are images, so that augmentation applies.
        label_noise: Share of the training labels that are wrong by intent.
        activations: The hidden activations' names.
        is_not_finite: Whether the trial ended because a loss was no finite number.
    """

    series: Mapping[str, Series]
    task: str
    loss: str
    lr: float
    epochs: int
    batch_size: int
    num_classes: int | None = None
    optimizer: str = "sgd"
    schedule: str = "constant"
    weight_decay: float = 0.0
    dropout: float = 0.0
    takes_dropout: bool = False
    takes_activation: bool = False
    augmentation: str = "none"
    is_image: bool = True
    label_noise: float = 0.0
    activations: tuple[str, ...] = ()
    is_not_finite: bool = False

    def get(self, metric: str) -> Series:
        """Give a metric's points; none where it was not measured."""
        return self.series.get(metric, Series())


def series_of(points: Iterable[tuple[int, float]]) -> Series:
    """Make a series of pairs (place, value), in any order; of equal places the last counts."""
    ordered = sorted(dict(points).items())
    return Series(tuple(at for at, _ in ordered), tuple(value for _, value in ordered))
