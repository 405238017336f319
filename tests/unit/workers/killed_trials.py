"""Trials in processes of their own that are killed while they train, and go on.

What an attempt says comes through a pipe: all that was said before the process died is on
record, and nothing else. Processes are forked from a server that has torch loaded and has
run nothing, so no thread of the tests' own process is copied.
"""

import multiprocessing
import random
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import torch

from experiments.events import Event
from experiments.records import Assignment
from tests.unit.workers.trial_record import TrialRecord
from workers.curve import Curve
from workers.staging import stage
from workers.training import run_pack

LONGEST_PAUSE_SECONDS: Final = 0.02
"""Between the step that a kill waits for and the kill: about as long as a checkpoint takes."""

PROCESSES: Final = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["workers.training", "workers.staging"])


@dataclass(frozen=True, slots=True)
class Kills:
    """Which attempts at a trial are killed: the first `num`, at moments that `chance` draws."""

    num: int
    total_steps: int
    chance: random.Random

    def draw(self, *, done: int) -> tuple[int, float]:
        """Give a step that is yet to be made, and how long after its beginning the kill comes."""
        step = self.chance.randint(min(done + 1, self.total_steps), self.total_steps)
        return step, self.chance.uniform(0, LONGEST_PAUSE_SECONDS)


def train_to_the_end(
    record: TrialRecord,
    folder: Path,
    *,
    data_root: Path,
    kills: Kills | None = None,
    **options: Any,
) -> list[int]:
    """Make attempts, each with a folder of its own, until the trial has ended.

    Returns:
        For each attempt that was killed, how many of its steps had to be made again.
    """
    reached = list[int]()
    while record.ending is None:
        assignment = record.assignment(str(folder / str(len(record.begun))), **options)
        moment = None
        if kills is not None and len(reached) < kills.num:
            points = assignment.resume_from
            moment = kills.draw(done=points[0].step if points else 0)
        reached.append(_attempt(assignment, record, data_root=data_root, moment=moment))
    starts = [begun.step for begun in record.begun[1:]]
    return [step - start for step, start in zip(reached[:-1], starts, strict=True)]


def _attempt(
    assignment: Assignment,
    record: TrialRecord,
    *,
    data_root: Path,
    moment: tuple[int, float] | None,
) -> int:
    """Run one attempt to its end, good or bad, and give the last step that it began."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_train, args=(assignment, data_root, sender))
    process.start()
    sender.close()
    reached = 0
    while (said := _next(receiver)) is not None:
        if not isinstance(said, int):
            record.keep(said)
            continue
        reached = said
        if moment is not None and reached == moment[0]:
            time.sleep(moment[1])
            process.kill()  # what it had said by then is heard nevertheless
    receiver.close()
    process.join()
    # Nothing else may end it, and without its own ending it must have been the kill.
    allowed = {-signal.SIGKILL} if moment is not None else set()
    if record.ending is not None:
        allowed.add(0)
    assert process.exitcode in allowed, process.exitcode
    return reached


def _next(receiver: Connection) -> Event | int | None:
    """Give what was said next, None when nothing more comes."""
    try:
        said: Event | int = receiver.recv()
    except (EOFError, OSError):  # the second where the process died in the middle of it
        return None
    return said


class Speaker:
    """The engine's `Reporter` in the process: says everything at once, and each step."""

    def __init__(self, sender: Connection) -> None:
        self._sender = sender

    def report(self, event: Event) -> None:
        self._sender.send(event)

    def stop_requested(self, trial_id: str) -> bool:
        assert trial_id
        return False


def _train(assignment: Assignment, data_root: Path, sender: Connection) -> None:
    """Train in this process, on one thread."""
    torch.set_num_threads(1)
    note_step = Curve.note_step

    def say_step(curve: Curve, step: int) -> None:
        sender.send(step)
        note_step(curve, step)

    Curve.note_step = say_step  # type: ignore[assignment, method-assign]
    data = stage(assignment.config.data, root=data_root)
    run_pack([assignment], data, Speaker(sender))
