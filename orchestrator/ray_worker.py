"""What runs inside a worker process: packs on one thread, its news given out on another.

Knows nothing of Ray: `ray_pool.py` makes an actor of `PackWorker`. The engine is imported
where it is used, because the driver imports this module too and must stay without torch.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Condition
from typing import Final

from experiments.records import (
    Assignment,
    Event,
    Failure,
    Resources,
    TrialFailed,
    TrialStopped,
    TrialSucceeded,
)
from orchestrator.machine import fingerprint
from orchestrator.pool import Message, PackDone, Reported, WorkerReady

BATCH_SECONDS: Final = 0.05
"""How long news waits for more news, so that small trials cost few messages."""


class PackWorker:
    """Trains the packs it is given, one at a time, and keeps what they report until asked.

    `run`, `listen` and `stop` are called from different threads.
    """

    def __init__(self, name: str, *, resources: Resources, data_root: Path) -> None:
        """Load the engine, which takes seconds, and be ready.

        Args:
            name: What the pool calls this worker.
            resources: What it may use; with any share of a GPU it trains there.
            data_root: Where data sets lie, staged or not.

        Raises:
            RuntimeError: There should be a GPU, and there is none.
        """
        import workers.training  # noqa: F401 - the first pack should not wait for torch
        from workers.devices import prepare_device

        self._device = prepare_device(num_cpus=resources.cpus, num_gpus=resources.gpus)
        self._data_root = data_root
        self._news = _News(name)
        machine = fingerprint(cpus=resources.cpus, gpus=resources.gpus)
        self._news.add(WorkerReady(name, machine))

    def run(self, pack: Sequence[Assignment]) -> None:
        """Train a pack to its end; never raises: what goes wrong is a trial's failure."""
        from workers.failures import failure_of
        from workers.staging import stage
        from workers.training import run_pack

        self._news.begin(pack)
        try:
            data = stage(pack[0].config.data, root=self._data_root)
            run_pack(pack, data, self._news, device=self._device)
        except Exception as error:
            self._news.fail_the_rest(failure_of(error))
        self._news.end()

    def listen(self) -> list[Message]:
        """Wait for news and give all there is, oldest first."""
        return self._news.take()

    def stop(self, trial_ids: Collection[str]) -> None:
        """Have these trials end before their next step; unknown ones are ignored."""
        self._news.request_stop(trial_ids)


class _News:
    """The engine's `Reporter`: keeps events, with their fences, until they are taken."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._changed = Condition()
        self._messages: list[Message] = []
        self._urgent = False
        self._fences: dict[str, int] = {}
        self._stopping: frozenset[str] = frozenset()

    def begin(self, pack: Sequence[Assignment]) -> None:
        with self._changed:
            self._fences = {each.trial_id: each.fence for each in pack}
            self._stopping = frozenset()

    def report(self, event: Event) -> None:
        """Keep an event for the next `take`."""
        with self._changed:
            self._messages.append(Reported(self._worker, self._fences[event.trial_id], event))
            if isinstance(event, TrialSucceeded | TrialFailed | TrialStopped):
                del self._fences[event.trial_id]
            self._changed.notify()

    def stop_requested(self, trial_id: str) -> bool:
        """Say whether `request_stop` named the trial (no lock: asked at every step)."""
        return trial_id in self._stopping

    def request_stop(self, trial_ids: Collection[str]) -> None:
        with self._changed:
            self._stopping |= frozenset(trial_ids) & self._fences.keys()

    def fail_the_rest(self, failure: Failure) -> None:
        for trial_id in tuple(self._fences):
            self.report(TrialFailed(trial_id, failure))

    def end(self) -> None:
        self.add(PackDone(self._worker))

    def add(self, message: Message) -> None:
        """Keep a message that should be heard at once: the worker is idle."""
        with self._changed:
            self._messages.append(message)
            self._urgent = True
            self._changed.notify()

    def take(self) -> list[Message]:
        with self._changed:
            self._changed.wait_for(lambda: self._messages)
            self._changed.wait_for(lambda: self._urgent, timeout=BATCH_SECONDS)
            taken, self._messages, self._urgent = self._messages, [], False
            return taken
