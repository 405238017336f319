"""What runs inside a worker process: packs on one thread, its news given out on another.

A pack that comes while another is trained waits in a `Line`, so that the worker goes on at once.

Knows nothing of Ray: `ray_pool.py` makes an actor of `PackWorker`. The engine is imported
where it is used, because the driver imports this module too and must stay without torch.
"""

import socket
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Condition
from typing import Final, NoReturn

from experiments.events import Ending, Event, Failure, TrialFailed, TrialStopped
from experiments.records import Assignment, Resources
from orchestrator.instance import own_process
from orchestrator.machine import fingerprint
from orchestrator.pools.line import Line
from orchestrator.pools.pool import (
    HEARTBEAT_SECONDS,
    Heartbeat,
    Message,
    PackDone,
    Reported,
    WorkerReady,
)

BATCH_SECONDS: Final = 0.05
"""How long news waits for more news, so that small trials cost few messages."""

_SHARE_OF_LEASE: Final = 0.7
"""A worker that was not told of a renewal for this share of a lease stops by itself: it cannot
know that nobody else has its trials, and what it would still write is refused."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A worker's first word, for the pool alone: the process to kill when it cannot be talked to.

    `process` is named by `instance.own_process`.
    """

    host: str
    process: str

    @property
    def pid(self) -> int:
        """The process's number on its host."""
        return int(self.process.partition(":")[0])


class PackWorker:
    """Trains the packs it is given, one at a time, and keeps what they report until asked.

    `work` is called on one thread, `receive` on another, all else on further ones.
    """

    def __init__(
        self, name: str, *, resources: Resources, data_root: Path, lease_seconds: float
    ) -> None:
        """Load the engine, which takes seconds, and be ready.

        Args:
            name: What the pool calls this worker.
            resources: What it may use; with any share of a GPU it trains there.
            data_root: Where data sets lie, staged or not.
            lease_seconds: How long a lease lasts that is not renewed.

        Raises:
            RuntimeError: There should be a GPU, and there is none.
        """
        import workers.training  # noqa: F401 - the first pack should not wait for torch
        from workers.devices import engine_text, prepare_device

        self._device = prepare_device(num_cpus=resources.cpus, num_gpus=resources.gpus)
        self._data_root = data_root
        self._line = Line()
        self._news = News(name, patience_seconds=_SHARE_OF_LEASE * lease_seconds)
        self._whereabouts = Whereabouts(socket.gethostname(), own_process())
        machine = fingerprint(cpus=resources.cpus, gpus=resources.gpus)
        self._news.add(WorkerReady(name, machine, engine_text(self._device)))

    def receive(self, pack: Sequence[Assignment]) -> None:
        """Take a pack, to be trained after those that came before."""
        self._news.receive(pack)
        self._line.add(pack)

    def work(self) -> NoReturn:
        """Train one pack after the other, for as long as the process lives."""
        while True:
            self.train_next()

    def train_next(self) -> None:
        """Wait for a pack and train it to its end.

        Never raises: what goes wrong is a trial's failure.
        """
        from workers.failures import failure_of
        from workers.staging import stage
        from workers.training import run_pack

        pack = self._line.take()
        self._news.begin(pack)
        try:
            if pack:  # else all of it was to stop before it began
                data = stage(pack[0].config.data, root=self._data_root)
                self._news.training_begins()
                run_pack(
                    pack,
                    data,
                    self._news,
                    device=self._device,
                    strategy=pack[0].strategy,
                    calibration=pack[0].calibration,
                    joining=self._join,
                )
        except BaseException as error:  # also SystemExit: a worker that ends tells nobody why
            self._news.fail_the_rest(failure_of(error))
        self._news.end()

    def _join(self, one: Assignment, num: int) -> list[Assignment]:
        """Give trials that wait here and can be trained with one, as places there fall free."""
        joining = self._line.take_alike(one, num)
        self._news.join(joining)
        return joining

    def whereabouts(self) -> Whereabouts:
        """Say which process this is."""
        return self._whereabouts

    def listen(self) -> list[Message]:
        """Wait for news, or the next heartbeat, and give all there is, oldest first."""
        return self._news.take()

    def renewed(self) -> None:
        """Note that the leases of all its trials were prolonged just now."""
        self._news.renewed()

    def stop(self, trial_ids: Collection[str]) -> None:
        """Have these trials end before their next step, or not begin; unknown ones are ignored."""
        self._line.leave(
            trial_ids, on_leaving=lambda trial_id: self._news.report(TrialStopped(trial_id))
        )
        self._news.request_stop(trial_ids)


class News:
    """The engine's `Reporter`: keeps events, with their fences, until they are taken.

    Says that all trials are to stop when nobody told of a renewal for `patience_seconds`.
    """

    def __init__(
        self,
        worker: str,
        *,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives seconds that only ever rise."""
        self._worker = worker
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._changed = Condition()
        self._messages: list[Message] = []
        self._urgent = False
        self._fences: dict[str, int] = {}
        self._begun: set[str] = set()
        self._stopping: frozenset[str] = frozenset()
        self._renewed_at = clock()
        self._beat_at = clock()
        self._progress = 0
        self._is_preparing = False

    def receive(self, pack: Sequence[Assignment]) -> None:
        """Note the fences of a pack that came, whose leases are new."""
        with self._changed:
            if not self._fences:  # the leases of those that are there may be older
                self._renewed_at = self._clock()
            self._fences |= {each.trial_id: each.fence for each in pack}
            self._stopping -= {each.trial_id for each in pack}

    def begin(self, pack: Sequence[Assignment]) -> None:
        """Note that a pack's turn has come; its data is to be prepared first."""
        self._begun = {each.trial_id for each in pack}
        self._is_preparing = True

    def join(self, joining: Sequence[Assignment]) -> None:
        """Note that further trials are trained with the pack under way."""
        self._begun |= {each.trial_id for each in joining}

    def training_begins(self) -> None:
        """Note that the data is there: from now on, progress can be told."""
        self._is_preparing = False

    def report(self, event: Event) -> None:
        """Keep an event for the next `take`."""
        with self._changed:
            self._progress += 1
            self._messages.append(Reported(self._worker, self._fences[event.trial_id], event))
            if isinstance(event, Ending):
                del self._fences[event.trial_id]
            self._changed.notify()

    def stop_requested(self, trial_id: str) -> bool:
        """Say whether the trial is to end (no lock: asked at every step, which is progress)."""
        self._progress += 1
        if self._clock() - self._renewed_at > self._patience_seconds:
            return True
        return trial_id in self._stopping

    def renewed(self) -> None:
        """Note that all leases were prolonged just now."""
        self._renewed_at = self._clock()

    def request_stop(self, trial_ids: Collection[str]) -> None:
        """Have these trials end before their next step; unknown ones are ignored."""
        with self._changed:
            self._stopping |= frozenset(trial_ids) & self._fences.keys()

    def fail_the_rest(self, failure: Failure) -> None:
        """Report the same failure of each trial that has begun and not ended."""
        for trial_id in sorted(self._begun & self._fences.keys()):
            self.report(TrialFailed(trial_id, failure))

    def end(self) -> None:
        """Say that the pack is done."""
        self._is_preparing = False
        self.add(PackDone(self._worker))

    def add(self, message: Message) -> None:
        """Keep a message that should be heard at once: the worker is idle."""
        with self._changed:
            self._messages.append(message)
            self._urgent = True
            self._changed.notify()

    def take(self) -> list[Message]:
        """Wait for news, or for the next heartbeat to be due, and give all there is."""
        with self._changed:
            due_seconds = self._beat_at + HEARTBEAT_SECONDS - self._clock()
            if self._changed.wait_for(lambda: self._messages, timeout=max(0.0, due_seconds)):
                self._changed.wait_for(lambda: self._urgent, timeout=BATCH_SECONDS)
            taken, self._messages, self._urgent = self._messages, [], False
            if not taken or self._clock() - self._beat_at >= HEARTBEAT_SECONDS:
                self._beat_at = self._clock()
                taken.append(self._heartbeat())
            return taken

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(self._worker, None if self._is_preparing else self._progress)
