"""What the tests of packs share: trials that differ in all that may differ, and how they ran."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.compatibility import LOSSES
from experiments.events import Event, MetricPoint, PointsMeasured
from experiments.planning.pack_shapes import pack_shape
from experiments.planning.strategies import Strategy
from experiments.records import (
    Assignment,
    OptimizerConfig,
    ScheduleConfig,
    TrialConfig,
)
from tests.unit.workers.trial_record import EVERY_EPOCH
from workers.datasets.staged import StagedData
from workers.training import run_pack

MakeConfig = Callable[..., TrialConfig]

OF_CLASSES = [name for name, rule in LOSSES.items() if "classification" in rule.tasks]
ALL_TOGETHER = Strategy(64)
"""More members than any test has trials."""


def convnet(function: str = "relu", *, dropout: float = 0.25) -> list[Any]:
    """Give a network with batch norm, and with a function and dropout of a member's own."""
    return [
        {"conv2d": {"out_channels": 8, "kernel_size": 3, "padding": "same"}},
        "batch_norm",
        {"activation": function},
        {"max_pool2d": 2},
        {"conv2d": {"out_channels": 8, "kernel_size": 3}},
        {"activation": function},
        "flatten",
        {"dropout": dropout},
        {"linear": 10},
    ]


OPTIMIZERS: Mapping[str, Callable[[int], OptimizerConfig]] = {
    "sgd": lambda i: OptimizerConfig(
        "sgd", (0.02, 0.05)[i % 2], weight_decay=5e-4 * (i % 3), momentum=(0.9, 0.0, 0.5)[i % 3]
    ),
    "nesterov": lambda i: OptimizerConfig(
        "nesterov", (0.02, 0.05)[i % 2], weight_decay=5e-4 * (i % 3), momentum=(0.9, 0.5)[i % 2]
    ),
    "rmsprop": lambda i: OptimizerConfig(
        "rmsprop", (1e-4, 3e-4)[i % 2], weight_decay=1e-3 * (i % 3), momentum=(0.5, 0.0)[i % 2]
    ),
    "adam": lambda i: OptimizerConfig("adam", (1e-3, 2e-3)[i % 2], weight_decay=1e-3 * (i % 3)),
    "adamw": lambda i: OptimizerConfig("adamw", (1e-3, 2e-3)[i % 2], weight_decay=0.1 * (i % 3)),
}
"""The i-th member's optimizer, of each family."""

SCHEDULES = [
    ScheduleConfig(),
    ScheduleConfig("cosine", warmup_epochs=1.5),
    ScheduleConfig("one_cycle"),
    ScheduleConfig("step", step_epochs=2, step_factor=0.5),
]
FUNCTIONS = ["relu", "tanh", "gelu"]


def mixed_trials(make_config: MakeConfig, *, optimizer: str, epochs: int) -> list[TrialConfig]:
    """Make a trial of every loss of classes, which differ in all that trials of a pack may."""
    return [
        make_config(
            layers=convnet(FUNCTIONS[i % 3], dropout=(0.1, 0.0, 0.5, 0.25)[i % 4]),
            loss=loss,
            optimizer=OPTIMIZERS[optimizer](i),
            schedule=SCHEDULES[i % 4],
            epochs=epochs + i % 2,
            seed=i,
        )
        for i, loss in enumerate(OF_CLASSES)
    ]


class Listener:
    """A reporter that keeps what it hears of each trial, and asks them to stop when told."""

    def __init__(self, *, stop: Callable[[str, int], bool] = lambda *_: False) -> None:
        """Begin to listen; `stop` is asked with a trial and how often that one has asked."""
        self.events: list[Event] = []
        self._stop = stop
        self._asked: dict[str, int] = {}

    def report(self, event: Event) -> None:
        self.events.append(event)

    def stop_requested(self, trial_id: str) -> bool:
        self._asked[trial_id] = self._asked.get(trial_id, 0) + 1
        return self._stop(trial_id, self._asked[trial_id])

    def of(self, trial_id: str) -> list[Event]:
        """Give what was said of one trial."""
        return [event for event in self.events if event.trial_id == trial_id]

    def ending(self, trial_id: str) -> Event:
        """Give how a trial ended: the last that was said of it."""
        return self.of(trial_id)[-1]

    def points(self, trial_id: str) -> list[MetricPoint]:
        """Give a trial's curves."""
        said = self.of(trial_id)
        return [p for event in said if isinstance(event, PointsMeasured) for p in event.points]

    def curve(self, trial_id: str, metric: str = "train/batch_loss") -> list[float]:
        """Give one of a trial's curves."""
        return [point.value for point in self.points(trial_id) if point.metric == metric]

    def bits(self, trial_id: str) -> list[tuple[str, int, int, str]]:
        """Give all of a trial's curves to the last bit, but for speed and time."""
        return [
            (point.metric, point.epoch, point.step, point.value.hex())
            for point in self.points(trial_id)
            if point.metric != "images_per_second"
        ]


def assign(trials: Mapping[str, TrialConfig], **options: Any) -> list[Assignment]:
    """Give trials by their names, to be trained from the start."""
    options = {"checkpoints": EVERY_EPOCH, **options}
    return [Assignment(name, 1, config, **options) for name, config in trials.items()]


def run_together(
    assignments: Sequence[Assignment],
    data: StagedData,
    *,
    listener: Listener | None = None,
    **options: Any,
) -> Listener:
    """Train trials of one shape as one program, and give what was heard of them."""
    assert len({pack_shape(each.config) for each in assignments}) == 1
    listener = listener or Listener()
    run_pack(assignments, data, listener, **{"strategy": ALL_TOGETHER} | options)
    return listener
