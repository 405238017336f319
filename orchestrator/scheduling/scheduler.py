"""The loop between queue and workers: claims packs, hears what became of them, writes it down.

No SQL and no Ray in here: the queue keeps the promises, the pool runs the packs, and both
are handed in, like the clock. One turn of the loop:

    hear the pool -> write what was said -> keep leases alive -> staff the pool -> hand out packs

While the store cannot be used only the hearing goes on; what was said is kept until it can.

Hear, renew, and only then judge. A worker is silent by what was heard at the last poll, and time
in which nobody listened, as while a statement hung, is no silence of its. Overdue leases are
sought right after our own were renewed; and after the store was away, only once every other
orchestrator has had the time to renew its own.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import sleep
from typing import Final

from experiments.errors import StoreError, StoreUnavailableError
from experiments.states import IncidentKind
from orchestrator.measurements.results import Results
from orchestrator.pools.pool import Pool
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.outcomes import Success
from orchestrator.queueing.queue import Queue
from orchestrator.scheduling.handing import Hands
from orchestrator.scheduling.journal import LONGEST_RETRY_SECONDS, Journal, Outage
from orchestrator.scheduling.listener import Listener
from orchestrator.scheduling.seats import SILENT_SECONDS, Seat
from orchestrator.scheduling.staff import Staff
from orchestrator.settings import Settings

RENEW_SECONDS: Final = 2.0
"""How often leases are renewed; a request to stop is heard as often."""

EXPIRE_SECONDS: Final = 5.0
"""How often leases are sought whose holder fell silent, and results that are known by now."""

TAKE_BACK_SECONDS: Final = 10.0
"""How often leases are sought whose orchestrator is gone."""

TRUCE_SECONDS: Final = 3 * LONGEST_RETRY_SECONDS
"""How long nobody's lease is taken after the store was away for as long or longer.

The other orchestrators find it back only at their next try, and renew then. An absence that is
shorter lets no lease and no sign of life grow old.
"""

_STOP_RETRY_SECONDS: Final = 0.2

_log = logging.getLogger(__name__)


class _Rhythm:
    """Says when something is due that is done every so often."""

    def __init__(self, seconds: float, *, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._due_at = clock() + seconds

    def is_due(self) -> bool:
        """Say whether it is time, and if so wait anew."""
        if self._clock() < self._due_at:
            return False
        self._due_at = self._clock() + self._seconds
        return True

    def postpone(self, seconds: float) -> None:
        """Have it due no sooner than that from now."""
        self._due_at = max(self._due_at, self._clock() + seconds)


class Scheduler:
    """Keeps the workers of one pool busy with the trials of one queue."""

    def __init__(
        self,
        *,
        queue: Queue,
        results: Results,
        pool: Pool,
        settings: Settings,
        clock: Callable[[], float],
        max_workers: int | None = None,
        take_back: Callable[[], object] | None = None,
        tidy: Callable[[Sequence[str]], object] = lambda _: None,
    ) -> None:
        """Remember what to work with; nothing is begun.

        Args:
            queue: Where trials are claimed.
            results: Where what they measure goes.
            pool: Where they run.
            settings: Where checkpoints go, and how long a lease lasts.
            clock: Gives seconds that only ever rise.
            max_workers: The most workers at a time; None for all that fit.
            take_back: Takes back what orchestrators that are gone had leased; None where
                nobody else can work on the store.
            tidy: Is given the trials that succeeded, to remove what they no longer need.
        """
        self._queue = queue
        self._pool = pool
        self._settings = settings
        self._clock = clock
        self._take_back = take_back
        self._tidy = tidy
        self._staff = Staff(pool, clock=clock, max_workers=max_workers)
        self._journal = Journal(results, self._succeed)
        self._outage = Outage(clock)
        self._hands = Hands(queue=queue, pool=pool, staff=self._staff, settings=settings)
        self._listener = Listener(
            queue=queue,
            staff=self._staff,
            journal=self._journal,
            clock=clock,
        )
        self._renewing = _Rhythm(RENEW_SECONDS, clock=clock)
        self._reassuring = _Rhythm(RENEW_SECONDS, clock=clock)
        self._expiring = _Rhythm(EXPIRE_SECONDS, clock=clock)
        self._reusing = _Rhythm(EXPIRE_SECONDS, clock=clock)
        self._succeeded: set[str] = set()  # whose results others have not been given yet
        self._taking_back = _Rhythm(TAKE_BACK_SECONDS, clock=clock)
        self._listened_at = clock()
        self._store_used_at = clock()

    @property
    def is_working(self) -> bool:
        """Whether any trial is under way."""
        return any(seat.leases for seat in self._staff.seats.values())

    def turn(self, *, wait_seconds: float = 0.5) -> None:
        """Do one turn of the loop, waiting so long at most for the pool to say something.

        Raises:
            WorkersDoNotLastError: Workers, or the cluster, are lost again and again.
            StoreError: The store cannot be used, and waiting would not help.
        """
        self._hear(wait_seconds)
        self._staff.check()
        self._listener.watch(frozen_after_seconds=self._settings.lease_seconds)
        if not self._outage.is_due:
            self._reassure()
            return
        began_at = self._clock()
        with self._outage.noticed():
            self._drop(self._journal.write())
            self._keep_leases()
            if self._outage.is_on:
                self._make_up()
            waiting = self._queue.demand(count_to=self._staff.most_that_matter)
            self._hands.assign(waiting, now=self._clock())
            # When it began: a statement that hung at its end is seen in the next turn.
            self._store_used_at = began_at

    def shut_down(self, *, grace_seconds: float) -> bool:
        """Stop all trials, write what they still say, and give every lease back.

        False where the store could not be used until the grace was over: leases are still
        ours there, and what was not written is lost; the trials are taken back when this
        process is seen to be gone.

        Raises:
            StoreError: The store cannot be used for good. The workers are gone all the same.
        """
        deadline = self._clock() + grace_seconds
        try:
            self._let_end(deadline)
        except StoreError as error:  # of the pool; if it is the store's, writing raises it again
            _log.warning("%s", error)
        finally:
            self._pool.close()
        for seat in self._staff.seats.values():
            for lease in seat.leases.values():
                self._journal.add(partial(self._queue.release, lease))
        self._staff.seats.clear()
        return self._write_the_last(deadline)

    def _let_end(self, deadline: float) -> None:
        """Ask all trials to end, and hear them out."""
        while self.is_working and self._clock() < deadline:
            # Asked each time: a pack that was on its way had not begun at the first.
            for name, seat in self._staff.seats.items():
                self._pool.stop(name, list(seat.leases))
            self._hear(0.2)
            if self._outage.is_due:
                with self._outage.noticed():
                    self._journal.write()

    def _write_the_last(self, deadline: float) -> bool:
        """Write what is left, trying until the deadline, at least once; False if in vain."""
        while True:
            try:
                self._journal.write()
                if self._outage.is_on:
                    self._queue.release_strays(())
            except StoreUnavailableError as error:
                if self._clock() >= deadline:
                    _log.warning(
                        "%s; what trials still said is lost, and they are queued later", error
                    )
                    return False
                sleep(_STOP_RETRY_SECONDS)
            else:
                return True

    # --- hear

    def _hear(self, wait_seconds: float) -> None:
        """Hear the pool; that nobody listened for long is held against no worker."""
        now = self._clock()
        unheard = now - self._listened_at
        if unheard >= SILENT_SECONDS / 2:
            for seat in self._staff.seats.values():
                seat.heard_at = min(now, seat.heard_at + unheard)
                seat.progressed_at = min(now, seat.progressed_at + unheard)
        self._listener.hear(self._pool.poll(wait_seconds))
        self._listened_at = self._clock()

    # --- leases

    def _keep_leases(self) -> None:
        is_renewal_due, is_expiry_due = self._renewing.is_due(), self._expiring.is_due()
        if self._outage.is_on or is_renewal_due or is_expiry_due:
            self._renew()
        if self._clock() - self._store_used_at >= TRUCE_SECONDS:
            is_expiry_due = False
            self._expiring.postpone(TRUCE_SECONDS)
            self._taking_back.postpone(TRUCE_SECONDS)
        # First those whose orchestrator is gone: of these no worker is to blame.
        if self._take_back is not None and self._taking_back.is_due():
            self._take_back()
        if is_expiry_due:
            self._drop(self._queue.expire())
        if self._succeeded:
            self._queue.reuse_known(sources=self._succeeded)
            self._succeeded.clear()
        if self._reusing.is_due():
            self._queue.reuse_known()

    def _renew(self) -> None:
        """Prolong the leases of all workers that were heard of lately, and say that we live."""
        self._queue.sign_of_life()
        alive = self._alive()
        asked = [lease for seat in alive.values() for lease in seat.leases.values()]
        if not asked:
            return
        renewal = self._queue.renew(asked, lease_seconds=self._settings.lease_seconds)
        self._pool.renewed(
            [name for name, seat in alive.items() if renewal.held & {*seat.leases.values()}]
        )
        self._drop(set(asked) - renewal.held)
        for name, seat in alive.items():
            stopping = [
                lease.trial_id for lease in seat.leases.values() if lease in renewal.stopping
            ]
            if stopping:
                self._pool.stop(name, stopping)

    def _reassure(self) -> None:
        """While the store is away, keep workers going if nobody else could take their leases."""
        if self._take_back is None and self._reassuring.is_due():
            self._pool.renewed([*self._alive()])

    def _alive(self) -> dict[str, Seat]:
        """Give the seats with trials under way that were not silent at the last poll."""
        return {
            name: seat
            for name, seat in self._staff.seats.items()
            if seat.leases and not seat.is_silent(self._listened_at)
        }

    def _drop(self, stale: Iterable[Lease]) -> None:
        """End trials whose lease has passed on: nothing they say counts any more."""
        gone = set(stale)
        for name, seat in tuple(self._staff.seats.items()):
            lost = [trial for trial, lease in seat.leases.items() if lease in gone]
            if lost and seat.is_silent(self._listened_at):
                self._listener.end_silent(name)
            elif lost:
                self._pool.stop(name, lost)

    def _make_up(self) -> None:
        """After an outage: give back what was claimed unheard, and put it on record."""
        seats = self._staff.seats.values()
        self._queue.release_strays([lease for seat in seats for lease in seat.leases.values()])
        if (account := self._outage.account()) is not None:
            self._queue.note(IncidentKind.STORE_UNREACHABLE, account)
        self._outage.end()

    def _succeed(self, successes: Sequence[Success]) -> None:
        """Put results on record; then nothing else is needed of them, and others may use them."""
        are_recorded = self._queue.succeed_all(successes)
        recorded = [
            success.lease.trial_id
            for success, is_recorded in zip(successes, are_recorded, strict=True)
            if is_recorded
        ]
        self._tidy(recorded)
        self._succeeded.update(recorded)
