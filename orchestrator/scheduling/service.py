"""Everything that works on a store, put together: lock, queue, pool, scheduler, mirror.

    with Orchestrator(settings) as orchestrator:
        orchestrator.work(until=..., on_turn=...)

Leaving the block stops what is under way within seconds and gives every lease back.
"""

import logging
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FrameType
from typing import Final, Self, TypeVar

from experiments.errors import StoreError, StoreUnavailableError
from orchestrator.cleaning import remove_unrecorded
from orchestrator.instance import (
    is_running,
    new_orchestrator,
    own_process,
    sole_orchestrator,
)
from orchestrator.measurements.results import Results
from orchestrator.mirroring.mirror import Mirror, Untold
from orchestrator.pools.pool_process import PoolProcess
from orchestrator.pools.reaper import Reaper
from orchestrator.queueing.queue import Queue
from orchestrator.scheduling.mirror_keeper import MirrorKeeper
from orchestrator.scheduling.scheduler import Scheduler
from orchestrator.scheduling.staff import WorkersDoNotLastError
from orchestrator.settings import Settings, sqlite_path
from orchestrator.store.database import open_store, persist

GRACE_SECONDS: Final = 5.0
"""How long trials get to end by themselves when the orchestrator is told to stop."""

PATIENCE_SECONDS: Final = 15.0
"""How long to wait at the start for a store that cannot be used just then."""

_LONGEST_STOP_SECONDS: Final = 7.0
"""A stop that takes longer, as one that waits for a frozen database, is cut short."""

_SIGNAL_SECONDS: Final = 0.2

_TURN_SECONDS: Final = 0.5
_ENDING_TURN_SECONDS: Final = 0.05
_ENDING_SECONDS: Final = 0.3
"""For so long after the last trial turns are short: `until` may go by what it saw before that."""

_MIRROR_STOP_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Orchestrator:
    """Works on one store with one pool; on SQLite there is only one at a time.

    In the main thread SIGTERM, Ctrl-C and a closed terminal end it gracefully while it
    works, and by KeyboardInterrupt before and after; a second one does not wait.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        num_workers: int | None = None,
        pool: PoolProcess | None = None,
    ) -> None:
        """Remember what to open; `num_workers` None means as many as there is room for.

        A pool that is given may be launched, is for as many workers, and gives its name.
        """
        self._pool = pool or PoolProcess(
            settings, orchestrator=new_orchestrator(), num_workers=num_workers
        )
        self.id = self._pool.orchestrator
        self._settings = settings
        self._num_workers = num_workers
        self._is_alone = sqlite_path(settings.database_url) is not None
        self._exit = ExitStack()
        self._is_beside = False
        self._stop_by: float | None = None
        self._owes_leases = False

    def __enter__(self) -> Self:
        """Take the lock and open the store, made where there is none.

        Raises:
            StoreBusyError: Another orchestrator works on this SQLite store.
            StoreError: The store cannot be used.
        """
        url = self._settings.database_url
        with ExitStack() as entered:
            entered.enter_context(self._signals())
            entered.callback(self._pool.close)
            self._settings.create_home()
            entered.enter_context(sole_orchestrator(url))
            reaper = entered.enter_context(Reaper(self.id))
            engine = persist(partial(open_store, url, create=True), seconds=PATIENCE_SECONDS)
            entered.callback(engine.dispose)
            self.queue = Queue(engine, orchestrator=self.id)
            self.results = Results(engine)
            mirror = Mirror(self._settings, engine=engine)
            self._keeper = MirrorKeeper(
                mirror,
                orchestrator=self.id,
                spare=reaper.spare,
                patience_seconds=PATIENCE_SECONDS,
            )
            entered.callback(self._sign_off)
            persist(self._sign_on, seconds=PATIENCE_SECONDS)
            entered.callback(mirror.stop, timeout_seconds=_MIRROR_STOP_SECONDS)
            self._exit = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the mirror, close the store and give the lock back."""
        self._exit.close()

    def work(self, *, until: Callable[[], bool], on_turn: Callable[[], None]) -> bool:
        """Work on whatever is queued until `until` says so; False if told to stop earlier.

        Both are called once a turn, on a thread of its own. While the store cannot be used
        the work goes on.

        Raises:
            StoreError: The store or the cluster cannot be used, or workers do not last.
            KeyboardInterrupt: It was told to stop twice, or stopping took too long.
        """
        scheduler = Scheduler(
            queue=self.queue,
            results=self.results,
            pool=self._pool,
            settings=self._settings,
            clock=time.monotonic,
            max_workers=self._num_workers,
            take_back=None if self._is_alone else self._take_back,
            tidy=partial(remove_unrecorded, self.results, self._settings),
        )
        self._owes_leases = True
        try:
            self._beside(lambda: self._loop(scheduler, until=until, on_turn=on_turn))
        except KeyboardInterrupt:
            self._pool.close()
            raise
        return not self._stopping

    def _loop(
        self,
        scheduler: Scheduler,
        *,
        until: Callable[[], bool],
        on_turn: Callable[[], None],
    ) -> None:
        try:
            if not until():
                self._pool.open()
            self._keeper.begin()
            worked_at = -math.inf
            while not self._stopping and not until():
                was_working = scheduler.is_working
                is_ending = time.monotonic() - worked_at < _ENDING_SECONDS
                scheduler.turn(wait_seconds=_ENDING_TURN_SECONDS if is_ending else _TURN_SECONDS)
                if was_working and not scheduler.is_working:
                    worked_at = time.monotonic()
                # No sooner: it would slow the workers' start.
                if self._keeper.is_needed(is_working=scheduler.is_working):
                    self._keeper.keep()
                on_turn()
        except WorkersDoNotLastError as error:
            raise StoreError(f"{error}; `trainyard doctor` may say why") from error
        finally:
            self._owes_leases = not scheduler.shut_down(grace_seconds=GRACE_SECONDS)

    def drain_mirror(self, *, timeout_seconds: float, on_turn: Callable[[int], None]) -> int:
        """Wait until MLflow has been told everything; give what is left when waiting is over.

        It is over when time is up, and as soon as waiting is in vain: MLflow does not answer.
        """
        return self._beside(
            lambda: self._keeper.drain(
                timeout_seconds=timeout_seconds,
                on_turn=on_turn,
                is_stopping=lambda: self._stopping,
            )
        )

    def hand_over_mirror(self) -> Untold:
        """Let the mirror go on by itself, unless MLflow lacks nothing or does not answer.

        It is the one process that may outlive this one.
        """
        return self._beside(lambda: self._keeper.hand_over(is_stopping=lambda: self._stopping))

    # --- who works on the store

    def _sign_on(self) -> None:
        self.queue.enter(host=socket.gethostname(), process=own_process())
        if num := self._take_back():
            _log.warning("%d trials of an orchestrator that is gone were queued again", num)

    def _take_back(self) -> int:
        return self.queue.take_back(
            alone=self._is_alone, host=socket.gethostname(), is_running=is_running
        )

    def _sign_off(self) -> None:
        if self._owes_leases:
            return  # the next one sees that this process is gone, and takes them back
        try:
            self.queue.leave()
        except StoreUnavailableError as error:
            _log.warning("%s", error)

    # --- signals

    @contextmanager
    def _signals(self) -> Generator[None]:
        """Take the signals that ask for an end, where this is the thread that hears them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        asking = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        before = {number: signal.getsignal(number) for number in asking}
        if before[signal.SIGHUP] is signal.SIG_IGN:  # `nohup`: the terminal may go
            del before[signal.SIGHUP]
        for number in before:
            signal.signal(number, self._ask_to_stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._stop_by is not None or not self._is_beside:
            raise KeyboardInterrupt
        self._stop_by = time.monotonic() + _LONGEST_STOP_SECONDS
        _log.info("stopping: trials are asked to end")

    @property
    def _stopping(self) -> bool:
        return self._stop_by is not None

    def _beside(self, job: Callable[[], _T]) -> _T:
        """Do a job on a thread of its own, so that a store that is frozen keeps no signal away.

        Raises:
            KeyboardInterrupt: It was told to stop twice, or the job took too long to.
        """
        done = Future[_T]()

        def do() -> None:
            try:
                done.set_result(job())
            except BaseException as error:
                done.set_exception(error)

        self._is_beside = True
        try:
            threading.Thread(target=do, daemon=True).start()
            while not wait([done], timeout=_SIGNAL_SECONDS).done:
                if self._stop_by is not None and time.monotonic() >= self._stop_by:
                    raise KeyboardInterrupt("the store does not answer; the next start takes over")
            return done.result()
        except KeyboardInterrupt:
            self._stop_by = self._stop_by or 0.0  # the job ends as soon as it can, unwatched
            raise
        finally:
            self._is_beside = False
