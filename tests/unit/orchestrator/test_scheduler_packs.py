"""Packs in the scheduler: how many trials a worker is handed, and what becomes of them."""

from collections.abc import Sequence

import pytest

from experiments.events import StrategiesTimed, TrialBegun, TrialFailed
from experiments.planning.strategies import Calibration, Strategy
from experiments.records import Execution
from experiments.states import IncidentKind
from orchestrator.queueing.outcomes import Success
from tests.samples import (
    ERROR,
    SOME_WORK,
    an_experiment,
    attempts_of,
    points_of,
    submit,
    success_of,
)
from tests.unit.orchestrator.scheduler_yard import Yard


def handed(yard: Yard, worker: str) -> list[str]:
    return [each.trial_id for each in yard.pool.packs[worker]]


def sizes(yard: Yard) -> list[int]:
    return [len(yard.pool.packs[worker]) for worker in sorted(yard.pool.packs)]


def test_each_worker_is_handed_a_whole_pack(yard: Yard) -> None:
    submit(yard.queue, 40)
    yard.turns(2)
    assert sizes(yard) == [16, 16]
    assert {each.strategy.members for each in yard.pool.packs["w1"]} == {16}
    assert yard.states().count("leased") == 32


def test_few_trials_are_shared_by_all_workers(yard: Yard) -> None:
    submit(yard.queue, 7)
    yard.turns(2)
    assert sizes(yard) == [4, 3]


def test_what_a_worker_measures_decides_how_its_next_pack_is_trained(yard: Yard) -> None:
    submit(yard.queue, 60)
    yard.turns(2)
    first, *_ = yard.pool.packs["w1"]
    assert first.calibration == Calibration(SOME_WORK, 0, 60)
    seconds = {"plain": 0.002, "fused, 8 members": 0.001}
    timed = StrategiesTimed(first.trial_id, seconds, "fused, 8 members", 1200, is_thorough=True)
    yard.pool.says("w1", timed, *map(success_of, handed(yard, "w1")))
    yard.turns(1)
    assert {(each.strategy, each.calibration) for each in yard.pool.packs["w1"]} == {
        (Strategy(8), None)
    }
    yard.pool.says("w2", *map(success_of, handed(yard, "w2")))  # another machine
    yard.turns(1)
    assert {each.strategy for each in yard.pool.packs["w2"]} == {Strategy(16)}


def test_plain_trials_are_handed_out_one_by_one(yard: Yard) -> None:
    submit(yard.queue, 7, an_experiment(execution=Execution(strategy="plain")))
    yard.turns(2)
    assert sizes(yard) == [1, 1]
    assert [each.strategy.members for each in yard.pool.packs["w1"]] == [1]


def test_worker_takes_no_more_than_its_part_of_what_is_left(yard: Yard) -> None:
    submit(yard.queue, 40)
    yard.turns(2)
    for trial_id in handed(yard, "w2"):  # half way, when the other is done
        yard.pool.says("w2", TrialBegun(trial_id, 0, 0), points_of(trial_id, 0.5), done=False)
    yard.pool.says("w1", *map(success_of, handed(yard, "w1")))
    yard.turns(1)
    assert len(yard.pool.packs["w1"]) == 8  # of 8 that wait, and 16 that are half trained


def test_worker_leaves_some_to_one_that_is_nearly_done(yard: Yard) -> None:
    submit(yard.queue, 48)
    yard.turns(2)
    for trial_id in handed(yard, "w2"):
        yard.pool.says("w2", points_of(trial_id, 0.5, 0.25), done=False)  # its last epoch
    yard.pool.says("w1", *map(success_of, handed(yard, "w1")))
    yard.turns(1)
    assert len(yard.pool.packs["w1"]) == 8
    yard.pool.says("w2", *map(success_of, handed(yard, "w2")))
    yard.turns(1)
    assert len(yard.pool.packs["w2"]) == 8


def test_results_of_a_turn_are_one_transaction(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(yard.queue, 32)
    yard.turns(2)
    calls: list[int] = []
    succeed_all = yard.queue.succeed_all

    def counted(successes: Sequence[Success]) -> list[bool]:
        calls.append(len(successes))
        return succeed_all(successes)

    monkeypatch.setattr(yard.queue, "succeed_all", counted)
    for worker in ("w1", "w2"):
        yard.pool.says(worker, *map(success_of, handed(yard, worker)))
    yard.turns(1)
    assert calls == [32]
    assert yard.states() == ["succeeded"] * 32
    assert len(yard.tidied) == 32


def test_lost_worker_loses_its_whole_pack_and_nobody_elses(yard: Yard) -> None:
    submit(yard.queue, 8)
    yard.turns(2)
    lost, kept = handed(yard, "w1"), handed(yard, "w2")
    yard.pool.says("w1", success_of(lost[0]), done=False)
    yard.pool.dies("w1")
    yard.turns(3)
    assert attempts_of(yard.engine, lost[0]) == [(1, "succeeded")]
    for trial_id in lost[1:]:
        assert attempts_of(yard.engine, trial_id) == [(1, "expired"), (2, "running")]
    for trial_id in kept:
        assert attempts_of(yard.engine, trial_id) == [(1, "running")]
    assert len(yard.incidents(IncidentKind.WORKER_LOST)) == len(lost) - 1


def test_stalled_pack_is_failed_whole_and_its_trials_go_on_alone(yard: Yard) -> None:
    yard.pool.cpus = 1
    submit(yard.queue, 3, an_experiment(execution=Execution(stall_timeout=60.0, strategy="auto")))
    yard.turns(2)
    ids = handed(yard, "w1")
    yard.pool.says("w1", points_of(ids[0], 0.5), done=False)
    yard.turns(1)
    yard.pool.stuck.add("w1")
    yard.goes_by(70)
    told = yard.incidents(IncidentKind.TRIAL_STALLED)
    assert len(told) == 3
    assert all("after epoch 1, step 10" in each for each in told)
    assert yard.pool.killed == ["w1"]
    yard.goes_by(10)
    assert handed(yard, "w2") == ids[:1]


def test_pack_that_fails_whole_is_one_failure_of_its_worker(yard: Yard) -> None:
    submit(yard.queue, 64)
    yard.turns(2)
    yard.pool.says("w2", *map(success_of, handed(yard, "w2")))
    yard.turns(1)
    yard.pool.says("w2", *map(success_of, handed(yard, "w2")))
    yard.pool.says("w1", *(TrialFailed(each, ERROR) for each in handed(yard, "w1")))
    yard.turns(1)
    assert yard.incidents(IncidentKind.WORKER_BENCHED) == []


def test_cancelled_member_is_asked_to_stop_and_the_others_go_on(yard: Yard) -> None:
    submit(yard.queue, 4)
    yard.turns(2)
    first = handed(yard, "w1")[0]
    yard.queue.cancel(trial_id=first)
    yard.goes_by(4)
    assert yard.pool.stopped == [first]
