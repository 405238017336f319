"""The engine: trains and evaluates a pack of trials, and knows neither Ray nor SQL.

`run_pack` is all that callers need: assignments and staged data go in, events come out
through a `Reporter`, also for trials that fail.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import torch

from experiments.events import Ending, Failure, Reporter, TrialFailed, TrialStopped
from experiments.planning.pack_shapes import pack_order, pack_shape
from experiments.planning.strategies import PLAIN, Calibration, Strategy
from experiments.records import Assignment
from workers.calibration import calibrate
from workers.criterion import Score
from workers.datasets.staged import StagedData
from workers.devices import forget_peak_memory, release_memory
from workers.failures import StopRequestedError, failure_of
from workers.groups import Group, build_group
from workers.trial_run import TrialRun

Joining = Callable[[Assignment, int], Sequence[Assignment]]
"""Gives up to so many further trials, of those that wait, of the shape of one and trained alike."""


def nobody_joins(_: Assignment, __: int) -> Sequence[Assignment]:
    """Give no further trials: none wait."""
    return ()


def run_pack(
    assignments: Sequence[Assignment],
    data: StagedData,
    reporter: Reporter,
    *,
    device: str | torch.device = "cpu",
    strategy: Strategy = PLAIN,
    calibration: Calibration | None = None,
    joining: Joining = nobody_joins,
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] = time.monotonic,
) -> None:
    """Train and evaluate trials: those of one shape as one program, all others one by one.

    Each trial ends with exactly one of TrialSucceeded, TrialFailed and TrialStopped; what
    one raises does not touch the others. A trial that was interrupted goes on from the
    newest checkpoint that is whole, and gives the numbers and files that it would have given
    without. Writes checkpoints where an assignment says so.

    Args:
        assignments: The trials; all of `data`.
        data: Their staged data set.
        reporter: Takes the events; is asked before every step, and every batch of an
            evaluation, whether to stop.
        device: Where to train.
        strategy: How trials of one shape are trained, and how many of them as one program.
        calibration: Where the strategy is to be measured first: what there is to win by it.
        joining: Is asked for trials to take the places of members that have ended, between two
            epochs of a program that goes on; those come to their ends as the others do.
        clock: Unix seconds, for the points' timestamps.
        timer: Seconds that never jump, for durations and timeouts.
    """
    place = torch.device(device)
    if calibration is not None:
        strategy = calibrate(
            assignments,
            data,
            reporter,
            calibration=calibration,
            otherwise=strategy,
            device=place,
            timer=timer,
        )
        # As those will be that may join them.
        assignments = [replace(each, strategy=strategy, calibration=None) for each in assignments]

    def make_run(each: Assignment) -> TrialRun:
        return TrialRun(each, data, reporter, clock=clock, timer=timer)

    waiting = [*_packs(assignments, strategy)]
    while waiting:
        pack, way = waiting.pop(0)
        runs = [make_run(each) for each in pack]
        program = _Program(
            runs, reporter, device=place, timer=timer, join=_Joiners(joining, make_run)
        )
        try:
            program.execute(data, strategy=way)
        except Exception as error:  # a trial's failure is data, whatever it is
            if len(pack) > 1:
                # Half of them may have room, or only one of them may be at fault: that is sure
                # where an epoch went well, and then each goes on by itself.
                left, size = program.left, (len(pack) + 1) // 2 if program.is_new else 1
                starts = range(0, len(left), size)
                waiting[:0] = [(left[start : start + size], way) for start in starts]
            else:
                program.fail_the_rest(failure_of(error, device=place))
        del program, runs
        release_memory(place)


def _packs(
    assignments: Sequence[Assignment], strategy: Strategy
) -> Iterator[tuple[Sequence[Assignment], Strategy]]:
    """Give the trials in packs, and how each is trained."""
    if not strategy.is_fused:
        yield from (([each], strategy) for each in assignments)
        return
    shapes = {each.trial_id: pack_shape(each.config) for each in assignments}
    in_order = sorted(
        assignments, key=lambda each: (shapes[each.trial_id] or "", pack_order(each.config))
    )
    for shape, alike in groupby(in_order, key=lambda each: shapes[each.trial_id]):
        if shape is None:
            yield from (([each], PLAIN) for each in alike)
            continue
        group = [*alike]
        for start in range(0, len(group), strategy.members):
            yield group[start : start + strategy.members], strategy


class _AllLeftError(Exception):
    """In the middle of an epoch, nobody is left to train for."""


class _Joiners:
    """Those who may take places in a program, as its runs."""

    def __init__(self, joining: Joining, make_run: Callable[[Assignment], TrialRun]) -> None:
        self._joining = joining
        self._make_run = make_run

    def take(self, alike: TrialRun, num: int) -> list[TrialRun]:
        """Give up to so many, of the shape of a run."""
        return [self._make_run(each) for each in self._joining(alike.assignment, num)]


class _Program:
    """Trials trained as one program, each until it ends; others may take the places that fall free.

    It never has more members than at first, for which there was room.
    """

    def __init__(
        self,
        runs: Sequence[TrialRun],
        reporter: Reporter,
        *,
        device: torch.device,
        timer: Callable[[], float],
        join: _Joiners,
    ) -> None:
        self.is_new = True  # no epoch is through yet
        self._runs = [*runs]  # in the order of the group's members
        self._going = [*runs]  # those of them that have not ended
        self._reporter = reporter
        self._device = device
        self._timer = timer
        self._join = join
        self._most = dict[str, tuple[int, str]]()  # members and strategy, where most ran with it

    @property
    def left(self) -> list[Assignment]:
        """Give the trials that have not ended, to go on from where they are saved."""
        return [run.to_go_on() for run in self._going]

    def execute(self, data: StagedData, *, strategy: Strategy) -> None:
        """Train until every trial has ended.

        Raises:
            Exception: What stopped all of them; of those that had not ended nothing is said.
        """
        forget_peak_memory(self._device)
        for run in self._runs:
            self._try(run, run.check_data)
        self._runs = [*self._going]
        if not self._runs:
            return
        self._share_time()
        configs = [run.config for run in self._runs]
        self._group = build_group(configs, data, device=self._device, strategy=strategy)
        self._size = len(self._runs)
        self._note_strategy()
        for run, member in zip(self._runs, self._group.members, strict=True):
            self._try(run, partial(run.begin, member, device=self._device))
        try:
            while self._going:
                self._change_members()
                if any(run.is_trained for run in self._runs):
                    self._finish()
                else:
                    self._train_epoch()
        except _AllLeftError:
            return

    def fail_the_rest(self, failure: Failure) -> None:
        """End all that have not ended, by the same failure."""
        for run in tuple(self._going):
            self._end(run, TrialFailed(run.trial_id, failure))

    def _train_epoch(self) -> None:
        """Train and validate one epoch of every trial."""
        started = self._timer()
        epochs = [run.epoch + 1 for run in self._runs]
        records = self._group.train_epoch(epochs, before_step=self._before_step)
        seconds = max(self._timer() - started, 1e-9)
        for run, record in zip(self._runs, records, strict=True):
            self._try(run, partial(run.take_losses, record))
        self._stop_if_all_left()
        scores = self._group.evaluate("val", before_batch=self._before_batch)
        share = seconds / len(self._runs)
        for run, record, score in zip(self._runs, records, scores, strict=True):
            self._try(run, partial(run.take_scores, record, score, training_seconds=share))
        self.is_new = False
        self._note_strategy()  # as its first steps turned out

    def _finish(self) -> None:
        """Score the trials that have no epoch left on the test split, and end them."""
        trained = [run for run in self._runs if run.is_trained]
        try:
            self._score(trained)
        except _AllLeftError:
            raise
        except Exception as error:  # what they fail by is no matter of those that train on
            for run in [each for each in trained if each in self._going]:
                self._end_by(run, error)

    def _score(self, trained: Sequence[TrialRun]) -> None:
        group = self._group_of(trained)
        for run in trained:
            self._try(run, run.return_to_selected)
        scores = group.evaluate("test", before_batch=self._before_batch)
        for run, score in zip(trained, scores, strict=True):
            self._try(run, partial(self._succeed, run, score))

    def _succeed(self, run: TrialRun, test: Score) -> None:
        _, strategy = self._most[run.trial_id]
        self._end(run, run.finish(test, strategy=strategy, device=self._device))

    def _before_step(self, step: int) -> None:
        self._ask_all(lambda run: run.before_step(step))

    def _before_batch(self) -> None:
        self._ask_all(TrialRun.check_whether_to_go_on)

    def _ask_all(self, question: Callable[[TrialRun], None]) -> None:
        """Ask all that have not ended whether to go on; this is asked before every step."""
        for run in tuple(self._going):
            try:
                question(run)
            except Exception as error:  # a trial's failure is data, whatever it is
                self._end_by(run, error)
        self._stop_if_all_left()

    def _stop_if_all_left(self) -> None:
        if not self._going:
            raise _AllLeftError

    def _try(self, run: TrialRun, action: Callable[[], None]) -> None:
        """Do something for a trial that has not ended; what it raises ends that one only."""
        if run in self._going:
            try:
                action()
            except Exception as error:  # a trial's failure is data, whatever it is
                self._end_by(run, error)

    def _end_by(self, run: TrialRun, error: Exception) -> None:
        if isinstance(error, StopRequestedError):
            self._end(run, TrialStopped(run.trial_id))
        else:
            self._end(run, TrialFailed(run.trial_id, failure_of(error, device=self._device)))

    def _end(self, run: TrialRun, ending: Ending) -> None:
        self._going.remove(run)
        self._reporter.report(ending)

    def _change_members(self) -> None:
        """Between two epochs, let members that have ended leave, and others take their places."""
        staying = [*self._going]
        joining = self._take_joiners()
        if not joining and len(staying) == len(self._runs):
            return
        places = [self._runs.index(run) for run in staying]
        group = self._group.keep(places, joining=[run.config for run in joining])
        self._group, self._runs = group, [*staying, *joining]
        self._share_time()
        self._note_strategy()
        for place, (run, member) in enumerate(zip(self._runs, group.members, strict=True)):
            if place < len(staying):
                run.move_to(member)
            else:
                self._try(run, partial(run.begin, member, device=self._device))

    def _take_joiners(self) -> list[TrialRun]:
        """Give those that take free places, whose data is as planned; they have begun."""
        num_free = self._size - len(self._going)
        if not num_free or self.is_new:
            return []
        joining = self._join.take(self._going[0], num_free)
        self._going += joining
        for run in joining:
            self._try(run, run.check_data)
        return [run for run in joining if run in self._going]

    def _note_strategy(self) -> None:
        """Remember for the records how each ran that is there, where most were."""
        num = len(self._runs)
        for run in self._runs:
            most, _ = self._most.get(run.trial_id, (0, ""))
            if num >= most:
                self._most[run.trial_id] = num, self._group.strategy

    def _group_of(self, runs: Sequence[TrialRun]) -> Group:
        """Give the group of some of the trials, in their order, and let them go on in it."""
        if len(runs) == len(self._runs):
            return self._group
        group = self._group.keep([self._runs.index(run) for run in runs])
        for run, member in zip(runs, group.members, strict=True):
            run.move_to(member)
        return group

    def _share_time(self) -> None:
        """Count the time that passes for each of those that train by its share."""
        for run in self._runs:
            run.watch.run(1 / len(self._runs))
