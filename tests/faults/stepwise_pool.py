"""A pool of one worker in this process that goes on only while it is listened to.

The engine trains on a thread and stops at everything it reports until the scheduler has
written that down and asks for more: so what is written in which order is always the same.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from experiments.events import Event, TrialFailed, TrialStopped
from experiments.records import Assignment, Resources
from orchestrator.pools.pool import Message, PackDone, Reported, WorkerReady
from workers.failures import failure_of
from workers.staging import stage
from workers.training import run_pack


class StepwisePool:
    """Implements `orchestrator.pools.pool.Pool`."""

    def __init__(self, data_root: Path, *, on_event: Callable[[Event], None]) -> None:
        """`on_event` is called with all that the engine says, on its thread."""
        self._data_root = data_root
        self._on_event = on_event
        self._name = "here/worker-1"
        self._is_hired = False
        self._inbox: list[Message] = []
        self._step: _Step | None = None
        self._ahead: deque[Sequence[Assignment]] = deque()

    def room_for(self, resources: Resources) -> bool:
        return not self._is_hired and resources.gpus == 0

    def could_hold(self, resources: Resources, *, num_workers: int) -> bool:
        return num_workers == 1 and resources.gpus == 0

    def hire(self, resources: Resources) -> str:
        assert self.room_for(resources)
        self._is_hired = True
        self._inbox.append(WorkerReady(self._name, "this machine"))
        return self._name

    def start(self, worker: str, pack: Sequence[Assignment]) -> None:
        assert worker == self._name
        self._ahead.append(pack)
        if self._step is None:
            self._begin(self._ahead.popleft())

    def _begin(self, pack: Sequence[Assignment]) -> None:
        fences = {each.trial_id: each.fence for each in pack}
        self._step = _Step(self._name, fences, self._on_event)
        arguments = (pack, self._data_root, self._step)
        threading.Thread(target=_train, args=arguments, daemon=True).start()

    def poll(self, timeout_seconds: float) -> list[Message]:
        assert timeout_seconds >= 0
        if self._step is not None:
            message = self._step.next()
            self._inbox.append(message)
            if isinstance(message, PackDone):
                self._step = None
                if self._ahead:
                    self._begin(self._ahead.popleft())
        said, self._inbox = self._inbox, []
        return said

    def renewed(self, workers: Collection[str]) -> None:
        assert set(workers) <= {self._name}

    def dismiss(self, worker: str) -> None:
        raise AssertionError(f"{worker} has the only size there is")

    def kill(self, worker: str) -> None:
        raise AssertionError(f"{worker} is never silent")

    def stop(self, worker: str, trial_ids: Collection[str]) -> None:
        assert worker == self._name
        assert self._step is not None
        self._step.stopping |= set(trial_ids)
        for pack in self._ahead:
            waiting = {each.trial_id: each.fence for each in pack}
            self._inbox += [
                Reported(worker, waiting[each], TrialStopped(each))
                for each in trial_ids
                if each in waiting
            ]
        self._ahead = deque(
            [each for each in pack if each.trial_id not in trial_ids] for pack in self._ahead
        )

    def close(self) -> None:
        while self._step is not None:  # all that is left to say is that the pack is done
            self.poll(0)


class _Step:
    """The engine's reporter: hands on one message at a time, and waits until it is taken."""

    def __init__(
        self, worker: str, fences: dict[str, int], on_event: Callable[[Event], None]
    ) -> None:
        self._worker = worker
        self._on_event = on_event
        self._fences = fences
        self._may_go_on = threading.Semaphore(0)
        self._has_said = threading.Semaphore(0)
        self._message: Message = PackDone(worker)
        self.stopping: set[str] = set()

    def next(self) -> Message:
        """Let the engine go on up to its next word."""
        self._may_go_on.release()
        self._has_said.acquire()
        return self._message

    def report(self, event: Event) -> None:
        self._message = Reported(self._worker, self._fences[event.trial_id], event)
        self._has_said.release()
        self._may_go_on.acquire()
        self._on_event(event)

    def stop_requested(self, trial_id: str) -> bool:
        return trial_id in self.stopping

    def begin(self) -> None:
        self._may_go_on.acquire()

    def end(self) -> None:
        self._message = PackDone(self._worker)
        self._has_said.release()


def _train(pack: Sequence[Assignment], data_root: Path, step: _Step) -> None:
    step.begin()
    try:
        run_pack(pack, stage(pack[0].config.data, root=data_root), step)
    except Exception as error:  # as the real worker does: it is the trials' failure
        for each in pack:
            step.report(TrialFailed(each.trial_id, failure_of(error)))
    step.end()
