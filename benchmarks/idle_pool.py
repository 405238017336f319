"""A pool whose workers are real processes and train nothing: they say what a worker says."""

import multiprocessing
import time
from collections.abc import Collection, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Self, cast

from experiments.events import MetricPoint, PointsMeasured, TrialBegun, TrialSucceeded
from experiments.records import Assignment, Resources
from orchestrator.machine import fingerprint
from orchestrator.pools.pool import Heartbeat, Message, PackDone, Reported, WorkerReady

NUMBER = 0.5
"""What every trial reports."""


class IdlePool:
    """Implements `orchestrator.pools.pool.Pool` with a process for each of a few workers."""

    def __init__(self, *, num_workers: int) -> None:
        """Remember how many; none is started yet."""
        self._num_workers = num_workers
        self._workers: dict[str, tuple[SpawnProcess, Connection]] = {}
        self._num_hired = 0

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers."""
        self.close()

    def room_for(self, resources: Resources) -> bool:
        """Say whether one more worker is allowed."""
        del resources
        return len(self._workers) < self._num_workers

    def could_hold(self, resources: Resources, *, num_workers: int) -> bool:
        """Say whether so many workers are allowed."""
        del resources
        return num_workers <= self._num_workers

    def hire(self, resources: Resources) -> str:
        """Start a process."""
        self._num_hired += 1
        name = f"bench/worker-{self._num_hired}"
        machine = fingerprint(cpus=resources.cpus, gpus=resources.gpus)
        context = multiprocessing.get_context("spawn")
        ours, its = context.Pipe()
        process = context.Process(target=serve, args=(name, machine, its), daemon=True)
        process.start()
        its.close()
        self._workers[name] = process, ours
        return name

    def start(self, worker: str, pack: Sequence[Assignment]) -> None:
        """Hand a pack to a worker."""
        self._workers[worker][1].send(tuple(pack))

    def poll(self, timeout_seconds: float) -> list[Message]:
        """Give all that came in, waiting for the first of it."""
        connections: list[Any] = [connection for _, connection in self._workers.values()]
        if not connections:
            time.sleep(timeout_seconds)
        heard: list[Message] = []
        for connection in wait(connections, timeout_seconds):
            heard += cast("Connection", connection).recv()
        return heard

    def dismiss(self, worker: str) -> None:
        """End a worker, which is idle between packs."""
        self.kill(worker)

    def kill(self, worker: str) -> None:
        """End a worker."""
        process, connection = self._workers.pop(worker)
        process.kill()
        process.join()
        connection.close()

    def stop(self, worker: str, trial_ids: Collection[str]) -> None:
        """Stop nothing: a pack is over as soon as it is heard of."""

    def renewed(self, workers: Collection[str]) -> None:
        """Tell nobody: no worker holds a lease for long."""

    def close(self) -> None:
        """End all workers."""
        for worker in tuple(self._workers):
            self.kill(worker)


def serve(name: str, machine: str, connection: Connection) -> None:
    """Be a worker: answer each pack at once, and otherwise say every while that it is there."""
    connection.send([WorkerReady(name, machine)])
    progress = 0
    while True:
        if not connection.poll(1.0):
            connection.send([Heartbeat(name, progress)])
            continue
        try:
            pack: tuple[Assignment, ...] = connection.recv()
        except EOFError:
            return
        progress += len(pack)
        said: list[Message] = [message for each in pack for message in answer(name, each)]
        connection.send([*said, PackDone(name)])


def answer(worker: str, assignment: Assignment) -> list[Message]:
    """Give what there is to say of a trial that measures one number."""
    trial_id = assignment.trial_id
    metric = assignment.config.objective.metric
    point = MetricPoint(metric, 1, 1, NUMBER, round(time.time() * 1000))
    events = (
        TrialBegun(trial_id, 0, 0),
        PointsMeasured(trial_id, (point,)),
        TrialSucceeded(trial_id, {metric: NUMBER}, selected_epoch=1, duration_seconds=0.0),
    )
    return [Reported(worker, assignment.fence, event) for event in events]
