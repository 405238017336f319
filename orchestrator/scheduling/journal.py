"""What was heard and is not written down yet, and how the store has been lately.

While the store cannot be used nothing that a worker said is lost: it is kept here in order,
and written when the store is back. Every write may be done twice, because the first may have
been done although its reply was lost.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from experiments.errors import StoreUnavailableError
from experiments.events import Said
from experiments.language.printable import printable
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.outcomes import Success
from orchestrator.store import outages

FIRST_RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 5.0
REMIND_SECONDS: Final = 30.0
"""How often a person is told that the store still cannot be used."""

_WRITTEN_AT_ONCE: Final = 1000
_ENDED_AT_ONCE: Final = 256

_log = logging.getLogger(__name__)


class Journal:
    """Writes that are due, in order: what trials that go on said first, then what ended them.

    That order is right for each trial: no trial is claimed again before all that was said
    of it is written. Of the endings successes come first, many in one transaction.
    """

    def __init__(self, results: Results, succeed: Callable[[Sequence[Success]], object]) -> None:
        """`succeed` writes results; it may be given the same ones more than once."""
        self._results = results
        self._succeed = succeed
        self._said: list[tuple[Lease, Said]] = []
        self._successes: list[Success] = []
        self._actions: deque[Callable[[], object]] = deque()

    def __len__(self) -> int:
        """Count what is still to be written."""
        return len(self._said) + len(self._successes) + len(self._actions)

    def say(self, lease: Lease, said: Said) -> None:
        """Keep what a trial that goes on said."""
        self._said.append((lease, said))

    def succeed(self, success: Success) -> None:
        """Keep a result."""
        self._successes.append(success)

    def add(self, action: Callable[[], object]) -> None:
        """Keep any other write; it may be done more than once."""
        self._actions.append(action)

    def write(self) -> frozenset[Lease]:
        """Write all that is kept; give the leases under which nothing counts any more.

        Raises:
            StoreError: The store cannot be used. What is not written is still kept.
        """
        stale: frozenset[Lease] = frozenset()
        while self._said:
            batch = self._said[:_WRITTEN_AT_ONCE]
            stale |= self._results.record(batch)
            del self._said[: len(batch)]
        while self._successes:
            results = self._successes[:_ENDED_AT_ONCE]
            self._succeed(results)
            del self._successes[: len(results)]
        while self._actions:
            self._actions[0]()
            self._actions.popleft()
        return stale


class Outage:
    """Whether the store can be used, when to try again, and what a person is told of it.

    `clock` gives seconds that only ever rise.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_at: float | None = None
        self._delay = 0.0
        self._try_at = 0.0
        self._remind_at = 0.0
        self._reason = ""
        self._told = False

    @property
    def is_on(self) -> bool:
        """Whether the store could not be used at the last try."""
        return self._began_at is not None

    @property
    def is_due(self) -> bool:
        """Whether the store should be tried now."""
        return not self.is_on or self._clock() >= self._try_at

    @contextmanager
    def noticed(self) -> Generator[None]:
        """Let a block use the store; where it cannot be used now, that is noted, not raised."""
        try:
            yield
        except StoreUnavailableError as error:
            self._note(error)

    def account(self) -> str | None:
        """Say for the record what it was; None where it passed before anybody was told."""
        if self._began_at is None or not self._told:
            return None
        seconds = self._clock() - self._began_at
        return (
            f"the store could not be used for {seconds:.0f} s ({self._reason}); what was "
            "measured meanwhile was kept and is recorded now"
        )

    def end(self) -> None:
        """Take the store for usable again."""
        if (account := self.account()) is not None:
            _log.warning("%s", account)
        self._began_at, self._delay, self._told = None, 0.0, False

    def _note(self, error: StoreUnavailableError) -> None:
        now = self._clock()
        first = self._began_at is None
        if first:
            self._began_at = now
        self._reason = printable(outages.reason_of(error))
        self._delay = min(2 * self._delay or FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        self._try_at = now + self._delay
        # Not at the first: a deadlock or a busy file has passed at the next try.
        if not first and (not self._told or now >= self._remind_at):
            self._told, self._remind_at = True, now + REMIND_SECONDS
            _log.warning(
                "%s; trials under way go on, nothing new is begun; trying again",
                printable(outages.while_working(error)),
            )
