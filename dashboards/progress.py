"""An experiment's progress, live on a terminal and line by line elsewhere."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from dashboards.numbers import duration_text
from dashboards.pace import best_text, pace
from dashboards.tables import console, shown
from experiments.language.printable import printable
from experiments.states import TrialState
from orchestrator.mirroring.mirror import Untold
from orchestrator.store.rows import Overview

_LINE_SECONDS: Final = 10.0
"""How often a line is written where nothing can be drawn over."""


def progress_text(overview: Overview) -> str:
    """Say in one line how an experiment stands."""
    return ", ".join(part for part in (_counts_text(overview), _best_text(overview)) if part)


def _counts_text(overview: Overview) -> str:
    counts = overview.counts
    ended = overview.experiment.num_trials - overview.num_open
    parts = [f"{ended} of {overview.experiment.num_trials} trials"]
    if counts[TrialState.LEASED]:
        parts.append(f"{counts[TrialState.LEASED]} running")
    bad = (TrialState.FAILED, TrialState.CANCELLED, TrialState.QUARANTINED)
    parts += [f"{counts[state]} {state.value}" for state in bad if counts[state]]
    per_minute, left = pace(overview)
    if per_minute is not None:
        parts.append(f"{per_minute:.0f} a minute")
    if left:
        parts.append(f"{duration_text(left)} left")
    return ", ".join(parts)


def _waits_for_workers(overview: Overview) -> bool:
    """Say whether nothing was begun yet that will be: results taken from elsewhere never are."""
    return overview.num_open > 0 and overview.first_started_at is None


def _best_text(overview: Overview) -> str:
    best = best_text(overview)
    return f"best {best}" if best else ""


def untold_text(untold: Untold) -> str:
    """Say what MLflow lacks at the end, and who will tell it."""
    what = "1 run or model" if untold.num == 1 else f"{untold.num:,} runs and models"
    if untold.goes_on:
        return (
            f"MLflow has yet to be told of {what}; that goes on by itself "
            "(`trainyard doctor` says how far it is)"
        )
    return (
        f"MLflow has not been told of {what} yet (logs/mirror.log in the "
        "home may say why); the next `run`, `up` or `mlflow` goes on with that"
    )


class ProgressLog:
    """Writes a line to stderr for each experiment that has moved, a few seconds apart."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._said: dict[str, str] = {}
        self._said_at = -_LINE_SECONDS

    def show(self, overviews: Sequence[Overview]) -> None:
        """Take the present counts of all experiments."""
        is_idle = not any(overview.num_open for overview in overviews)
        if not is_idle and time.monotonic() < self._said_at + _LINE_SECONDS:
            return
        for overview in overviews:
            text = f"{overview.experiment.name}: {progress_text(overview)}"
            if self._said.get(overview.experiment.id) != text and (
                overview.num_open or overview.experiment.id in self._said
            ):
                self._console.print(shown(text))
                self._said[overview.experiment.id] = text
                self._said_at = time.monotonic()


class ProgressView:
    """Shows an experiment's progress on stderr while a `with` block runs.

    On a terminal it draws a bar; elsewhere it writes a line now and then, and at the end.
    """

    def __init__(self) -> None:
        self._console: Console = console(stderr=True)
        self._bar: _Bar | None = _Bar(self._console) if sys.stderr.isatty() else None
        self._said = ""
        self._said_at = -_LINE_SECONDS
        self._mirror_said = False

    def __enter__(self) -> Self:
        """Start drawing."""
        if self._bar is not None:
            self._bar.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.live.stop()

    def show(self, overview: Overview) -> None:
        """Take the present counts."""
        if self._bar is not None:
            self._bar.update(overview)
            return
        if _waits_for_workers(overview):
            self._say("starting workers")
            return
        is_last = overview.num_open == 0
        if is_last or time.monotonic() >= self._said_at + _LINE_SECONDS:
            self._say(progress_text(overview))

    def show_mirror(self, num_left: int) -> None:
        """Take the number of trials and models that MLflow has yet to be told of."""
        text = f"telling MLflow: {num_left} runs and models left"
        if self._bar is not None:
            self._bar.note(text)
        elif not self._mirror_said:
            self._mirror_said = True
            self._say(text)

    def show_untold(self, untold: Untold) -> None:
        """Take what MLflow lacks at the end."""
        self._console.print(untold_text(untold), soft_wrap=True)

    def _say(self, text: str) -> None:
        if text != self._said:
            self._console.print(shown(text))
            self._said, self._said_at = text, time.monotonic()


class _Bar:
    """A bar with counts beside it, and the best trial so far below."""

    def __init__(self, screen: Console) -> None:
        self._progress = Progress(
            BarColumn(bar_width=24), TextColumn("{task.description}", markup=False), console=screen
        )
        self._task: TaskID = self._progress.add_task("starting workers", total=None)
        self._best = Text(no_wrap=True, overflow="ellipsis")
        self.live = Live(Group(self._progress, self._best), console=screen)

    def update(self, overview: Overview) -> None:
        total = overview.experiment.num_trials
        waiting = _waits_for_workers(overview)
        self._progress.update(
            self._task,
            total=None if waiting else total,
            completed=total - overview.num_open,
            description="starting workers" if waiting else _counts_text(overview),
        )
        self._best.plain = printable(_best_text(overview))

    def note(self, text: str) -> None:
        self._best.plain = text
