"""Everything that works on a store, put together: lock, queue, Ray pool, scheduler, mirror.

    with Orchestrator(settings) as orchestrator:
        orchestrator.work(until=..., on_turn=...)

Leaving the block stops what is under way within seconds and gives every lease back.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final, Self

from experiments.errors import StoreError
from orchestrator.database import open_store
from orchestrator.instance import sole_orchestrator
from orchestrator.mirror import Mirror
from orchestrator.queue import Queue
from orchestrator.ray_pool import RayPool
from orchestrator.results import Results
from orchestrator.scheduler import Scheduler, WorkersDoNotStartError
from orchestrator.settings import Settings, sqlite_path

GRACE_SECONDS: Final = 6.0
"""How long trials get to end by themselves when the orchestrator is told to stop."""

_MIRROR_TURN_SECONDS: Final = 0.2
_MIRROR_RESTART_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


class Orchestrator:
    """Works on one store with one pool; on SQLite there is only one at a time."""

    def __init__(self, settings: Settings, *, num_workers: int | None = None) -> None:
        """Remember what to open; `num_workers` None means as many as there is room for."""
        self._settings = settings
        self._num_workers = num_workers
        self._exit = ExitStack()
        self._stopping = False
        self._mirror_due_at = 0.0

    def __enter__(self) -> Self:
        """Take the lock and open the store, made where there is none.

        Raises:
            StoreBusyError: Another orchestrator works on this SQLite store.
            StoreError: The store cannot be used.
        """
        with ExitStack() as entered:
            self._settings.create_home()
            entered.enter_context(sole_orchestrator(self._settings.database_url))
            engine = open_store(self._settings.database_url, create=True)
            entered.callback(engine.dispose)
            self.queue = Queue(engine)
            if sqlite_path(self._settings.database_url) is not None:
                self.queue.take_back()  # an orchestrator before us was killed
            self.results = Results(engine)
            self.mirror = Mirror(self._settings, engine=engine)
            entered.callback(self.mirror.stop)
            self._exit = entered.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the mirror, close the store and give the lock back."""
        self._exit.close()

    def work(self, *, until: Callable[[], bool], on_turn: Callable[[], None]) -> bool:
        """Work on whatever is queued until `until` says so; False if told to stop earlier.

        Starts Ray and the workers, so it belongs to the main thread. SIGTERM and Ctrl-C
        end it after the turn under way; `on_turn` is called once a turn.

        Raises:
            StoreError: The store or the cluster cannot be used, or workers do not start.
        """
        if threading.current_thread() is not threading.main_thread():
            raise StoreError("Ray ends with the thread that starts it: work from the main thread")
        pool = RayPool(self._settings, num_workers=self._num_workers)
        scheduler = Scheduler(
            queue=self.queue,
            results=self.results,
            pool=pool,
            settings=self._settings,
            clock=time.monotonic,
            max_workers=self._num_workers,
        )
        with self._signals():
            try:
                if not until():
                    pool.open()
                while not self._stopping and not until():
                    scheduler.turn()
                    if scheduler.is_working:  # no sooner: it would slow the workers' start
                        self._keep_mirror()
                    on_turn()
            except WorkersDoNotStartError as error:
                raise StoreError(f"{error}; `trainyard doctor` may say why") from error
            finally:
                scheduler.shut_down(grace_seconds=GRACE_SECONDS)
        return not self._stopping

    def _keep_mirror(self) -> None:
        """Start the mirror, and start it again some time after it has died."""
        if not self.mirror.is_running and time.monotonic() >= self._mirror_due_at:
            self._mirror_due_at = time.monotonic() + _MIRROR_RESTART_SECONDS
            self.mirror.start()

    def drain_mirror(self, *, timeout_seconds: float, on_turn: Callable[[int], None]) -> int:
        """Wait until MLflow has been told everything; give what is left when time is up."""
        deadline = time.monotonic() + timeout_seconds
        if self.mirror.num_pending():
            self.mirror.start()
        with self._signals():
            while (left := self.mirror.num_pending()) and not self._stopping:
                if time.monotonic() >= deadline or not self.mirror.is_running:
                    break
                on_turn(left)
                time.sleep(_MIRROR_TURN_SECONDS)
        return left

    @contextmanager
    def _signals(self) -> Generator[None]:
        """Let SIGTERM and Ctrl-C ask for a graceful end; a second Ctrl-C does not wait."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._ask_to_stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask_to_stop(self, number: int, _: FrameType | None) -> None:
        if self._stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._stopping = True
        _log.info("stopping: trials are asked to end")
