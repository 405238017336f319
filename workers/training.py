"""The engine: trains and evaluates a pack of trials, and knows neither Ray nor SQL.

`run_pack` is all that callers need: assignments and staged data go in, events come out
through a `Reporter`, also for trials that fail.
"""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from experiments.errors import DatasetChecksumError
from experiments.records import (
    Assignment,
    CheckpointSaved,
    Event,
    MetricPoint,
    PointsMeasured,
    Reporter,
    TrialFailed,
    TrialStopped,
    TrialSucceeded,
)
from workers.checkpoints import CheckpointFolder
from workers.criterion import Score
from workers.curve import BATCH_LOSS, Curve
from workers.datasets.staged import StagedData
from workers.devices import forget_peak_memory, peak_memory_bytes, release_memory
from workers.failures import NotFiniteError, StopRequestedError, TrialTimeoutError, failure_of
from workers.learner import EpochRecord, Learner

_LOG: Final = logging.getLogger(__name__)


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
    one raises does not touch the others. Writes checkpoints where an assignment says so.

    Args:
        assignments: The trials; all of `data`.
        data: Their staged data set.
        reporter: Takes the events; is asked before every step whether to stop.
        device: Where to train.
        clock: Unix seconds, for the points' timestamps.
        timer: Seconds that never jump, for durations and timeouts.
    """
    place = torch.device(device)
    for assignment in assignments:
        run = _TrialRun(assignment, data, reporter, device=place, clock=clock, timer=timer)
        reporter.report(_outcome(run, assignment.trial_id))
        del run
        release_memory(place)


def _outcome(run: "_TrialRun", trial_id: str) -> Event:
    try:
        return run.execute()
    except StopRequestedError:
        return TrialStopped(trial_id)
    except Exception as error:  # a trial's failure is data, whatever it is
        return TrialFailed(trial_id, failure_of(error))


@dataclass(frozen=True, slots=True)
class _Selected:
    """The epoch that counts so far; `weights` is None while they are the network's own."""

    epoch: int
    metrics: Mapping[str, float]
    weights: Mapping[str, Tensor] | None


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
        self._config = assignment.config
        self._data = data
        self._reporter = reporter
        self._device = device
        self._clock = clock
        self._timer = timer
        self._started = timer()
        self._selected: _Selected | None = None
        folder = assignment.checkpoint_folder
        self._checkpoints = None if folder is None else CheckpointFolder(Path(folder))
        self._saved_best = 0  # the epoch whose weights the newest "best" file holds

    def execute(self) -> TrialSucceeded:
        """Train all epochs, then score the selected one on the test split."""
        self._check_data()
        forget_peak_memory(self._device)
        self._learner = Learner(self._config, self._data, device=self._device)
        self._curve = Curve(total_steps=self._learner.total_steps, clock=self._clock)
        for epoch in range(1, self._config.epochs + 1):
            metrics = self._run_epoch(epoch)
            self._select(epoch, metrics)
            self._save_checkpoints(epoch)
        return self._finish()

    def _run_epoch(self, epoch: int) -> dict[str, float]:
        """Train and validate one epoch, report its points, and give its metrics."""
        started = self._timer()
        record = self._learner.train_epoch(epoch, before_step=self._before_step)
        seconds = max(self._timer() - started, 1e-9)
        self._report_batch_losses(epoch, record)
        val = self._learner.evaluate("val")
        metrics = _named("train", record.train) | _named("val", val)
        rates = {"lr": record.lr, "images_per_second": len(self._data.train) / seconds}
        step = epoch * self._learner.steps_per_epoch
        self._report_points(self._curve.epoch_values(metrics | rates, epoch=epoch, step=step))
        self._check_finite("val/loss", val.loss, epoch=epoch, step=step)
        return metrics

    def _before_step(self, step: int) -> None:
        if self._reporter.stop_requested(self._assignment.trial_id):
            raise StopRequestedError
        timeout = self._assignment.timeout_seconds
        if timeout is not None and self._timer() - self._started > timeout:
            raise TrialTimeoutError(
                f"not finished after {timeout:g} s (execution.timeout), at step {step} of "
                f"{self._learner.total_steps}"
            )
        self._curve.note_step(step)

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
            self._reporter.report(PointsMeasured(self._assignment.trial_id, points))

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
            self._selected = _Selected(epoch, metrics, weights=None)
            if objective.select == "best" and epoch < self._config.epochs:
                self._selected = _Selected(epoch, metrics, self._learner.copy_weights())

    def _save_checkpoints(self, epoch: int) -> None:
        policy, selected = self._assignment.checkpoints, self._selected
        assert selected is not None
        if epoch % policy.every_epochs != 0 and epoch != self._config.epochs:
            return
        own = self._learner.module.state_dict()
        if "last" in policy.keep:
            self._save("last", own, epoch)
        if "best" in policy.keep and selected.epoch != self._saved_best:
            written = self._save("best", selected.weights or own, selected.epoch)
            if written:  # or else the next checkpoint tries again; the last epoch makes one
                self._saved_best = selected.epoch

    def _save(self, kind: str, weights: Mapping[str, Tensor], epoch: int) -> bool:
        """Write one checkpoint, and say whether it was; a full disk never costs the trial."""
        if self._checkpoints is None:
            return False
        assignment, step = self._assignment, epoch * self._learner.steps_per_epoch
        extra = {
            "config": json.dumps(self._config.to_data()),
            "mean": self._learner.data.mean.tolist(),
            "std": self._learner.data.std.tolist(),
            "full_scale": self._data.full_scale,
        }
        try:
            saved = self._checkpoints.save(kind, weights, epoch=epoch, step=step, **extra)
        except OSError as error:
            _LOG.warning(
                "%s: the %s checkpoint of epoch %d was not written: %s; training goes on",
                assignment.trial_id,
                kind,
                epoch,
                error,
            )
            return False
        self._reporter.report(
            CheckpointSaved(
                trial_id=assignment.trial_id,
                kind=kind,
                epoch=epoch,
                step=step,
                path=str(saved.path),
                sha256=saved.sha256,
                num_bytes=saved.num_bytes,
            )
        )
        return True

    def _finish(self) -> TrialSucceeded:
        selected = self._selected
        assert selected is not None, "a trial has at least one epoch"
        if selected.weights is not None:
            self._learner.module.load_state_dict(selected.weights)
        test = self._learner.evaluate("test")
        step = selected.epoch * self._learner.steps_per_epoch
        self._check_finite("test/loss", test.loss, epoch=selected.epoch, step=step)
        return TrialSucceeded(
            trial_id=self._assignment.trial_id,
            metrics={**selected.metrics, **_named("test", test)},
            selected_epoch=selected.epoch,
            duration_seconds=self._timer() - self._started,
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
