"""One attempt at one trial: where it goes on, what it reports, and which epoch counts.

Whose steps these are, a network's alone or a pack's, is `training.py`'s.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from experiments.errors import DatasetChecksumError
from experiments.events import (
    MetricPoint,
    PointsMeasured,
    Reporter,
    TrialBegun,
    TrialNoted,
    TrialSucceeded,
)
from experiments.records import Assignment
from experiments.states import IncidentKind
from workers.criterion import Score
from workers.curve import BATCH_LOSS, Curve
from workers.datasets.staged import StagedData
from workers.devices import peak_memory_bytes
from workers.failures import NotFiniteError, StopRequestedError, TrialTimeoutError
from workers.learner import EpochRecord, Learning
from workers.resumption import Selected, newest_state
from workers.saving import Saver
from workers.stopwatch import Stopwatch


class TrialRun:
    """One attempt at one trial: its curve, and the epoch that counts so far.

    `epoch` is the last that is behind it.
    """

    def __init__(
        self,
        assignment: Assignment,
        data: StagedData,
        reporter: Reporter,
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        self.assignment = assignment
        self.trial_id = assignment.trial_id
        self.config = assignment.config
        self.epoch = 0
        self.watch = Stopwatch(timer)
        self._data = data
        self._reporter = reporter
        self._clock = clock
        self._timer = timer
        self._seconds_before = 0.0  # what earlier attempts took, as far as it counts
        self._selected: Selected | None = None
        self._saver: Saver | None = None

    @property
    def is_trained(self) -> bool:
        """Whether no epoch is left."""
        return self.epoch == self.config.epochs

    def check_data(self) -> None:
        """Hold the data to what the trial's configuration says it is.

        Raises:
            DatasetChecksumError: It is other data.
        """
        wanted = self.config.data
        if wanted.digest != self._data.digest:
            raise DatasetChecksumError(
                f"{wanted.name}: the staged data is not the planned data (digest "
                f"{self._data.digest[:12]}, planned {wanted.digest[:12]}); plan again"
            )

    def begin(self, learner: Learning, *, device: torch.device) -> None:
        """Go on from the newest whole checkpoint, or start."""
        self._learner = learner
        self._curve = Curve(total_steps=learner.total_steps, clock=self._clock)
        self._saver = self._make_saver()
        state, faults = newest_state(self.assignment.resume_from, self.config, device=device)
        self.epoch = 0 if state is None else state.epoch
        step = self.epoch * learner.steps_per_epoch
        self._reporter.report(TrialBegun(self.trial_id, self.epoch, step))
        for fault in faults:
            self._note(IncidentKind.CHECKPOINT_REJECTED, fault)
        if state is not None:
            learner.restore(state.weights, state.optimizer)
            self._seconds_before, selected = state.seconds, state.selected
            weights = selected.weights or self._copy_for_later()
            self._selected = Selected(selected.epoch, selected.metrics, weights)
        if self.is_trained:
            self._save()  # no epoch is left that would do it

    def to_go_on(self) -> Assignment:
        """Give the assignment of a run that goes on from what this one saved last, if anything."""
        if self._saver is None or self._saver.newest is None:
            return self.assignment
        points = (self._saver.newest, *self.assignment.resume_from)
        return replace(self.assignment, resume_from=points)

    def move_to(self, learner: Learning) -> None:
        """Go on with the same network elsewhere."""
        self._learner = learner

    def before_step(self, step: int) -> None:
        """Look whether to go on, before a step of the epoch under way, from 1.

        Raises:
            StopRequestedError: Somebody asked it to stop.
            TrialTimeoutError: It has trained for longer than it may.
        """
        step += self._steps_done
        self.check_whether_to_go_on(step)
        self._curve.note_step(step)

    def check_whether_to_go_on(self, step: int | None = None) -> None:
        """Look whether to go on, at a step of the trial (the last of its epoch, if None).

        Raises:
            StopRequestedError: Somebody asked it to stop.
            TrialTimeoutError: It has trained for longer than it may.
        """
        if self._reporter.stop_requested(self.trial_id):
            raise StopRequestedError
        timeout = self.assignment.timeout_seconds
        if timeout is not None and self.watch.seconds() > timeout:
            at = self._steps_done if step is None else step
            raise TrialTimeoutError(
                f"not finished after {timeout:g} s (execution.timeout), at step {at} of "
                f"{self._learner.total_steps}"
            )

    def take_losses(self, record: EpochRecord) -> None:
        """Report the losses of the steps of an epoch that is through, the next one.

        Raises:
            NotFiniteError: One is not finite; those before it are reported.
        """
        self.epoch += 1
        losses = record.batch_losses
        good = next((i for i, x in enumerate(losses) if not math.isfinite(x)), len(losses))
        first = self._steps_done - self._learner.steps_per_epoch + 1
        points = self._curve.batch_losses(losses[:good], epoch=self.epoch, first_step=first)
        self._report_points(points)
        if good < len(losses):
            self._check_finite(BATCH_LOSS, losses[good], step=first + good)

    def take_scores(self, record: EpochRecord, val: Score, *, training_seconds: float) -> None:
        """Report the epoch's points, let it count if it is better, and write what is due.

        `training_seconds` is what its steps took, its share of them in a pack.

        Raises:
            NotFiniteError: The validation loss is not finite.
        """
        step = self._steps_done
        metrics = _named("train", record.train) | _named("val", val)
        images_per_second = len(self._data.train) / training_seconds
        rates = {"lr": record.lr, "images_per_second": images_per_second}
        if val.dead_units is not None:
            rates["val/dead_units"] = val.dead_units
        points = self._curve.epoch_values(metrics | rates, epoch=self.epoch, step=step)
        self._report_points(points)
        self._check_finite("val/loss", val.loss, step=step)
        self._select(metrics)
        self._save()

    def return_to_selected(self) -> None:
        """Give the network the weights of the epoch that counts."""
        assert self._selected is not None, "a trial has at least one epoch"
        if self._selected.weights is not None:
            self._learner.restore(self._selected.weights, None)

    def finish(self, test: Score, *, strategy: str, device: torch.device) -> TrialSucceeded:
        """Give the trial's results, the selected epoch's score on the test split among them.

        Raises:
            NotFiniteError: The test loss is not finite.
        """
        selected = self._selected
        assert selected is not None, "a trial has at least one epoch"
        step = selected.epoch * self._learner.steps_per_epoch
        self._check_finite("test/loss", test.loss, step=step, epoch=selected.epoch)
        return TrialSucceeded(
            trial_id=self.trial_id,
            metrics={**selected.metrics, **_named("test", test)},
            selected_epoch=selected.epoch,
            duration_seconds=self._seconds(),
            confusion=test.confusion,
            peak_memory_bytes=peak_memory_bytes(device),
            strategy=strategy,
        )

    @property
    def _steps_done(self) -> int:
        return self.epoch * self._learner.steps_per_epoch

    def _make_saver(self) -> Saver | None:
        folder = self.assignment.checkpoint_folder
        if folder is None:
            return None
        return Saver(
            self.assignment, Path(folder), self._learner, self._reporter, timer=self._timer
        )

    def _report_points(self, points: tuple[MetricPoint, ...]) -> None:
        if points:
            self._reporter.report(PointsMeasured(self.trial_id, points))

    def _note(self, kind: IncidentKind, message: str) -> None:
        self._reporter.report(TrialNoted(self.trial_id, kind, message))

    def _check_finite(
        self, metric: str, value: float, *, step: int, epoch: int | None = None
    ) -> None:
        if not math.isfinite(value):
            raise NotFiniteError(
                f"{metric} became {value} at step {step} (epoch {epoch or self.epoch}) with "
                f"lr {self.config.optimizer.lr:g}; a lower lr may help"
            )

    def _select(self, metrics: Mapping[str, float]) -> None:
        """Let the epoch count if it is better than all before (or simply the latest)."""
        objective, before = self.config.objective, self._selected
        best = None if before is None else before.metrics[objective.metric]
        if objective.select == "last" or objective.improves(metrics[objective.metric], best):
            self._selected = Selected(self.epoch, metrics, self._copy_for_later())

    def _copy_for_later(self) -> Mapping[str, Tensor] | None:
        """Copy the weights if this epoch's may count in the end, and steps yet change them."""
        if self.config.objective.select == "last" or self.is_trained:
            return None
        return self._learner.copy_weights()

    def _save(self) -> None:
        assert self._selected is not None
        if self._saver is not None:
            self._saver.save(self._learner, self.epoch, self._selected, seconds=self._seconds())

    def _seconds(self) -> float:
        """Give how long the trial has trained, earlier attempts as far as they count."""
        return self._seconds_before + self.watch.seconds()


def _named(split: str, score: Score) -> dict[str, float]:
    """Give a score's numbers as metrics, `split/name`."""
    values = {"loss": score.loss, **score.metrics}
    return {f"{split}/{name}": value for name, value in values.items()}
