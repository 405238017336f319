"""The engine: trains and evaluates a pack of trials, and knows neither Ray nor SQL.

`run_pack` is all that callers need: assignments and staged data go in, events come out
through a `Reporter`, also for trials that fail.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from experiments.errors import DatasetChecksumError
from experiments.events import (
    Event,
    MetricPoint,
    PointsMeasured,
    Reporter,
    TrialBegun,
    TrialFailed,
    TrialNoted,
    TrialStopped,
    TrialSucceeded,
)
from experiments.records import Assignment
from experiments.states import IncidentKind
from workers.criterion import Score
from workers.curve import BATCH_LOSS, Curve
from workers.datasets.staged import StagedData
from workers.devices import forget_peak_memory, peak_memory_bytes, release_memory
from workers.failures import NotFiniteError, StopRequestedError, TrialTimeoutError, failure_of
from workers.learner import EpochRecord, Learner
from workers.resumption import Selected, newest_state
from workers.saving import Saver


def run_pack(
    assignments: Sequence[Assignment],
    data: StagedData,
    reporter: Reporter,
    *,
    device: str | torch.device = "cpu",
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
) -> None:
    """Train and evaluate trials, one after the other.

    Each trial ends with exactly one of TrialSucceeded, TrialFailed and TrialStopped; what
    one raises does not touch the others. A trial that was interrupted goes on from the
    newest checkpoint that is whole, and gives the numbers and files that it would have given
    without. Writes checkpoints where an assignment says so.

    Args:
        assignments: The trials; all of `data`.
        data: Their staged data set.
        reporter: Takes the events; is asked before every step, and every batch of an
            evaluation, whether to stop.
        device: Where to train.
        clock: Unix seconds, for the points' timestamps.
        timer: Seconds that never jump, for durations and timeouts.
    """
    place = torch.device(device)
    for assignment in assignments:
        run = _TrialRun(assignment, data, reporter, device=place, clock=clock, timer=timer)
        reporter.report(_outcome(run, assignment.trial_id, device=place))
        del run
        release_memory(place)


def _outcome(run: "_TrialRun", trial_id: str, *, device: torch.device) -> Event:
    try:
        return run.execute()
    except StopRequestedError:
        return TrialStopped(trial_id)
    except Exception as error:  # a trial's failure is data, whatever it is
        return TrialFailed(trial_id, failure_of(error, device=device))


class _TrialRun:
    """One attempt at one trial: its learner, its curve, and the epoch that counts so far."""

    def __init__(
        self,
        assignment: Assignment,
        data: StagedData,
        reporter: Reporter,
        *,
        device: torch.device,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        self._assignment = assignment
        self._trial_id = assignment.trial_id
        self._config = assignment.config
        self._data = data
        self._reporter = reporter
        self._device = device
        self._clock = clock
        self._timer = timer
        self._started = timer()
        self._seconds_before = 0.0  # what earlier attempts took, as far as it counts
        self._selected: Selected | None = None

    def execute(self) -> TrialSucceeded:
        """Train the epochs that are left, then score the selected one on the test split."""
        self._check_data()
        forget_peak_memory(self._device)
        self._learner = Learner(self._config, self._data, device=self._device)
        self._curve = Curve(total_steps=self._learner.total_steps, clock=self._clock)
        self._saver = self._make_saver()
        for epoch in range(self._begin() + 1, self._config.epochs + 1):
            metrics = self._run_epoch(epoch)
            self._select(epoch, metrics)
            self._save(epoch)
        return self._finish()

    def _make_saver(self) -> Saver | None:
        folder = self._assignment.checkpoint_folder
        if folder is None:
            return None
        return Saver(
            self._assignment, Path(folder), self._learner, self._reporter, timer=self._timer
        )

    def _begin(self) -> int:
        """Go on from the newest whole checkpoint, and give how many epochs are behind it."""
        state, faults = newest_state(
            self._assignment.resume_from, self._config, device=self._device
        )
        epoch = 0 if state is None else state.epoch
        step = epoch * self._learner.steps_per_epoch
        self._reporter.report(TrialBegun(self._trial_id, epoch, step))
        for fault in faults:
            self._note(IncidentKind.CHECKPOINT_REJECTED, fault)
        if state is not None:
            self._learner.restore(state.weights, state.optimizer)
            self._seconds_before, selected = state.seconds, state.selected
            weights = selected.weights or self._copy_for_later(epoch)
            self._selected = Selected(selected.epoch, selected.metrics, weights)
        if epoch == self._config.epochs:
            self._save(epoch)  # no epoch is left that would do it
        return epoch

    def _run_epoch(self, epoch: int) -> dict[str, float]:
        """Train and validate one epoch, report its points, and give its metrics."""
        started = self._timer()
        record = self._learner.train_epoch(epoch, before_step=self._before_step)
        seconds = max(self._timer() - started, 1e-9)
        self._report_batch_losses(epoch, record)
        step = epoch * self._learner.steps_per_epoch
        val = self._evaluate("val", step=step)
        metrics = _named("train", record.train) | _named("val", val)
        rates = {"lr": record.lr, "images_per_second": len(self._data.train) / seconds}
        self._report_points(self._curve.epoch_values(metrics | rates, epoch=epoch, step=step))
        self._check_finite("val/loss", val.loss, epoch=epoch, step=step)
        return metrics

    def _evaluate(self, split: str, *, step: int) -> Score:
        check = functools.partial(self._check_whether_to_go_on, step)
        return self._learner.evaluate(split, before_batch=check)

    def _before_step(self, step: int) -> None:
        self._check_whether_to_go_on(step)
        self._curve.note_step(step)

    def _check_whether_to_go_on(self, step: int) -> None:
        if self._reporter.stop_requested(self._trial_id):
            raise StopRequestedError
        timeout = self._assignment.timeout_seconds
        if timeout is not None and self._timer() - self._started > timeout:
            raise TrialTimeoutError(
                f"not finished after {timeout:g} s (execution.timeout), at step {step} of "
                f"{self._learner.total_steps}"
            )

    def _report_batch_losses(self, epoch: int, record: EpochRecord) -> None:
        """Report the losses of single steps; a bad one ends the trial, its past is kept."""
        losses = record.batch_losses
        good = next((i for i, x in enumerate(losses) if not math.isfinite(x)), len(losses))
        first = (epoch - 1) * self._learner.steps_per_epoch + 1
        self._report_points(self._curve.batch_losses(losses[:good], epoch=epoch, first_step=first))
        if good < len(losses):
            self._check_finite(BATCH_LOSS, losses[good], epoch=epoch, step=first + good)

    def _report_points(self, points: tuple[MetricPoint, ...]) -> None:
        if points:
            self._reporter.report(PointsMeasured(self._trial_id, points))

    def _note(self, kind: IncidentKind, message: str) -> None:
        self._reporter.report(TrialNoted(self._trial_id, kind, message))

    def _check_finite(self, metric: str, value: float, *, epoch: int, step: int) -> None:
        if not math.isfinite(value):
            raise NotFiniteError(
                f"{metric} became {value} at step {step} (epoch {epoch}) with "
                f"lr {self._config.optimizer.lr:g}; a lower lr may help"
            )

    def _select(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Let the epoch count if it is better than all before (or simply the latest)."""
        objective, before = self._config.objective, self._selected
        best = None if before is None else before.metrics[objective.metric]
        if objective.select == "last" or objective.improves(metrics[objective.metric], best):
            self._selected = Selected(epoch, metrics, self._copy_for_later(epoch))

    def _copy_for_later(self, epoch: int) -> Mapping[str, Tensor] | None:
        """Copy the weights if this epoch's may count in the end, and steps yet change them."""
        is_final = epoch == self._config.epochs
        if self._config.objective.select == "last" or is_final:
            return None
        return self._learner.copy_weights()

    def _save(self, epoch: int) -> None:
        assert self._selected is not None
        if self._saver is not None:
            self._saver.save(epoch, self._selected, seconds=self._seconds())

    def _seconds(self) -> float:
        """Give how long the trial has trained, earlier attempts as far as they count."""
        return self._seconds_before + self._timer() - self._started

    def _finish(self) -> TrialSucceeded:
        selected = self._selected
        assert selected is not None, "a trial has at least one epoch"
        if selected.weights is not None:
            self._learner.module.load_state_dict(selected.weights)
        test = self._evaluate("test", step=self._learner.total_steps)
        step = selected.epoch * self._learner.steps_per_epoch
        self._check_finite("test/loss", test.loss, epoch=selected.epoch, step=step)
        return TrialSucceeded(
            trial_id=self._trial_id,
            metrics={**selected.metrics, **_named("test", test)},
            selected_epoch=selected.epoch,
            duration_seconds=self._seconds(),
            confusion=test.confusion,
            peak_memory_bytes=peak_memory_bytes(self._device),
        )

    def _check_data(self) -> None:
        """Hold the data to what the trial's configuration says it is."""
        wanted = self._config.data
        if wanted.digest != self._data.digest:
            raise DatasetChecksumError(
                f"{wanted.name}: the staged data is not the planned data (digest "
                f"{self._data.digest[:12]}, planned {wanted.digest[:12]}); plan again"
            )


def _named(split: str, score: Score) -> dict[str, float]:
    """Give a score's numbers as metrics, `split/name`."""
    values = {"loss": score.loss, **score.metrics}
    return {f"{split}/{name}": value for name, value in values.items()}
