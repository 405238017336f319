"""Which checkpoints a trial writes as it trains, and what the store hears of them.

Epochs of small trials take less time than to write what they came to. Where the spec leaves it
open, a trial saves only so often that it costs little, and an interruption as little.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from experiments.events import CheckpointSaved, Reporter, TrialNoted
from experiments.records import Assignment, ResumePoint
from experiments.states import IncidentKind
from workers.checkpoints import CheckpointFolder
from workers.learner import Learning
from workers.resumption import Selected, contents_of

_LONGEST_SHARE: Final = 0.05
"""Of a trial's time, what goes into checkpoints where the spec does not say how often."""

_FIRST_SECONDS: Final = 0.25
"""What a trial trains before its first one then: writing one takes some milliseconds."""


class Saver:
    """Writes the checkpoints of one attempt; a disk without room never costs the trial.

    "best", the weights that count so far, is written where the policy keeps it; "last" is
    what an interrupted trial goes on from, so it is written whatever is kept in the end.
    """

    def __init__(
        self,
        assignment: Assignment,
        folder: Path,
        learner: Learning,
        reporter: Reporter,
        *,
        timer: Callable[[], float],
    ) -> None:
        """Begin with nothing written; `timer` gives seconds that never jump."""
        self._folder = CheckpointFolder(folder, timer=timer)
        self._timer = timer
        self._policy = assignment.checkpoints
        self._trial_id = assignment.trial_id
        self._steps_per_epoch = learner.steps_per_epoch
        self._epochs = learner.config.epochs
        self._reporter = reporter
        self._same_in_all = {
            "config": json.dumps(learner.config.to_data(), sort_keys=True),
            "mean": learner.data.mean.tolist(),
            "std": learner.data.std.tolist(),
            "full_scale": learner.data.full_scale,
        }
        self.newest: ResumePoint | None = None
        """The "last" that this attempt wrote last."""
        self._due_at = _FIRST_SECONDS  # of the trial's seconds, where the policy leaves it open
        self._written_best = 0  # the epoch whose weights this attempt's newest "best" file holds
        self._without_room = set[str]()  # kinds that could not be written the last time

    def save(self, learner: Learning, epoch: int, selected: Selected, *, seconds: float) -> None:
        """Write what is due after an epoch: the "last" at the end, so that it implies the rest.

        `seconds` is how long the trial has trained.
        """
        is_due, is_final = self._is_due(epoch, seconds), epoch == self._epochs
        if not (is_due or is_final):
            return
        started = self._timer()
        keep, own = self._policy.keep, learner.weights()
        if "best" in keep and selected.epoch != self._written_best:
            written = self._write("best", selected.weights or own, selected.epoch)
            if written:  # or else the next checkpoint tries again; the last epoch makes one
                self._written_best = selected.epoch
        if is_due or (is_final and "last" in keep):
            optimizer = None if is_final else learner.optimizer_state()
            if selected.epoch == epoch:
                selected = replace(selected, weights=None)  # they are its own
            contents = contents_of(selected, optimizer)
            self._write("last", own, epoch, seconds=seconds, **contents)
        self._due_at = seconds + (self._timer() - started) / _LONGEST_SHARE

    def _is_due(self, epoch: int, seconds: float) -> bool:
        every = self._policy.every_epochs
        return seconds >= self._due_at if every is None else epoch % every == 0

    def _write(
        self,
        kind: str,
        weights: Mapping[str, Tensor],
        epoch: int,
        *,
        seconds: float | None = None,
        **contents: Any,
    ) -> bool:
        """Write and report one checkpoint, and say whether there was room."""
        step = epoch * self._steps_per_epoch
        try:
            saved = self._folder.save(
                kind,
                weights,
                epoch=epoch,
                step=step,
                seconds=seconds,
                **self._same_in_all,
                **contents,
            )
        except OSError as error:
            self._note_once(kind, epoch, error)
            return False
        self._without_room.discard(kind)
        if kind == "last":
            self.newest = ResumePoint(str(saved.path), saved.sha256, epoch, step)
        self._reporter.report(
            CheckpointSaved(
                trial_id=self._trial_id,
                kind=kind,
                epoch=epoch,
                step=step,
                path=str(saved.path),
                sha256=saved.sha256,
                num_bytes=saved.num_bytes,
            )
        )
        return True

    def _note_once(self, kind: str, epoch: int, error: OSError) -> None:
        """Say that a checkpoint was not written, but not for every one in a row."""
        if kind in self._without_room:
            return
        self._without_room.add(kind)
        message = (
            f'{self._trial_id}: the "{kind}" checkpoint of epoch {epoch} could not be written '
            f"to {self._folder.path}: {error}; training goes on and the previous checkpoint "
            "stays good; make room there"
        )
        self._reporter.report(
            TrialNoted(self._trial_id, IncidentKind.CHECKPOINT_NOT_WRITTEN, message)
        )
