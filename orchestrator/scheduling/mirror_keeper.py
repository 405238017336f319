"""When the orchestrator has the mirror's process there, and what becomes of it at the end."""

import logging
import math
import os
import time
from collections.abc import Callable
from typing import Final

from experiments.errors import StoreError, StoreUnavailableError
from orchestrator.mirroring.mirror import Mirror, Untold
from orchestrator.pools.reaper import MARK
from orchestrator.store.database import persist

IDLE_SECONDS: Final = 10.0
"""Without work for so long, it is looked as often whether MLflow has yet to be told something."""

HEAD_START_SECONDS: Final = 10.0
"""Work goes on alone for so long: what is done by then costs it no processor, and is told after."""

_MOMENT_SECONDS: Final = 1.0
_TOLD_IN_A_MOMENT: Final = 8
"""So few entries may be told in a moment, and are waited for that long at the end."""

_TURN_SECONDS: Final = 0.2
_FIRST_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class MirrorKeeper:
    """Keeps an orchestrator's mirror running while there is something to tell."""

    def __init__(
        self,
        mirror: Mirror,
        *,
        orchestrator: str,
        spare: Callable[[int], None],
        patience_seconds: float,
    ) -> None:
        """Take the mirror; `spare` has the reaper let a process live.

        A store that cannot be used is waited for so long.
        """
        self._mirror = mirror
        self._orchestrator = orchestrator
        self._spare = spare
        self._patience_seconds = patience_seconds
        self._due_at = -math.inf
        self._pause = _FIRST_PAUSE_SECONDS
        self._look_at = 0.0
        self._working_since: float | None = None

    def begin(self) -> None:
        """Leave the outbox alone for a while: there is work, or there is about to be."""
        self._look_at = time.monotonic() + IDLE_SECONDS

    def is_needed(self, *, is_working: bool) -> bool:
        """Say whether there is something that MLflow should be told, or soon will be much."""
        now = time.monotonic()
        if is_working:
            self.begin()
            if self._working_since is None:
                self._working_since = now
            return now - self._working_since >= HEAD_START_SECONDS
        if now < self._look_at or self._mirror.is_running:
            return False
        self.begin()
        try:
            return self._mirror.num_pending() > 0
        except StoreUnavailableError:  # the scheduler tells of it
            return False

    def keep(self) -> None:
        """Have the mirror's process there; one that dies comes back, ever more slowly.

        It is marked, so that it cannot outlive the orchestrator unless it is let go. That it
        cannot be started, as on a full disk, is told and costs the training nothing.
        """
        now = time.monotonic()
        if self._mirror.is_running or now < self._due_at:
            return
        lived_long = now - self._due_at >= _LONGEST_PAUSE_SECONDS
        pause = _FIRST_PAUSE_SECONDS if lived_long else 2 * self._pause
        self._pause = min(pause, _LONGEST_PAUSE_SECONDS)
        self._due_at = now + self._pause
        before = os.environ.get(MARK)
        os.environ[MARK] = self._orchestrator
        try:
            self._mirror.start()
        except (OSError, StoreError) as error:
            _log.warning("MLflow is told nothing for now: its process cannot be started: %s", error)
        finally:
            del os.environ[MARK]
            if before is not None:
                os.environ[MARK] = before

    def drain(
        self,
        *,
        timeout_seconds: float,
        on_turn: Callable[[int], None],
        is_stopping: Callable[[], bool],
    ) -> int:
        """Wait until MLflow has been told everything; give what is left when waiting is over.

        It is over when time is up, and as soon as waiting is in vain: MLflow does not answer.

        Raises:
            StoreUnavailableError: The SQL store could not be used.
        """
        deadline = time.monotonic() + timeout_seconds
        while (left := self._num_pending()) and not is_stopping():
            self.keep()
            if self._is_vain or time.monotonic() >= deadline:
                break
            on_turn(left)
            time.sleep(_TURN_SECONDS)
        return left

    def hand_over(self, *, is_stopping: Callable[[], bool]) -> Untold:
        """Let the mirror go on by itself, unless MLflow lacks nothing or does not answer.

        What can be told in a moment is waited for where the mirror is there.

        Raises:
            StoreUnavailableError: The SQL store could not be used.
        """
        has_moment = self._mirror.is_running and self._num_pending() <= _TOLD_IN_A_MOMENT
        left = self.drain(
            timeout_seconds=_MOMENT_SECONDS if has_moment else 0.0,
            on_turn=lambda _: None,
            is_stopping=is_stopping,
        )
        pid = self._mirror.pid
        if not left or pid is None or self._is_vain or is_stopping():
            return Untold(left, goes_on=False)
        self._spare(pid)
        return Untold(left, goes_on=self._mirror.let_go())

    @property
    def _is_vain(self) -> bool:
        return self._mirror.is_stuck or not self._mirror.is_running

    def _num_pending(self) -> int:
        return persist(self._mirror.num_pending, seconds=self._patience_seconds)
