"""Packs that are handed out ahead of need: to whom, how many, and what becomes of them."""

import pytest

from experiments.events import TrialBegun, TrialFailed, TrialStopped
from experiments.records import Execution
from experiments.states import IncidentKind
from orchestrator.scheduling.handing import AHEAD_SECONDS
from orchestrator.scheduling.seats import SILENT_SECONDS
from orchestrator.scheduling.staff import Staff
from tests.samples import ERROR, an_experiment, attempts_of, points_of, success_of
from tests.samples import submit as submit_small
from tests.unit.orchestrator.scheduler_yard import TWO_CPUS, Yard, submit

TINY = AHEAD_SECONDS / 4


def ahead(yard: Yard, worker: str = "w1") -> list[list[str]]:
    """Name the trials of each pack that waits in a worker."""
    return [[each.trial_id for each in pack] for pack in yard.pool.ahead.get(worker, [])]


def train(yard: Yard, worker: str, *, seconds: float, done: bool = True) -> None:
    """Let time pass in which a worker trains its pack."""
    _pass(yard, seconds)
    trials = [each.trial_id for each in yard.pool.packs[worker]]
    yard.pool.says(worker, *map(success_of, trials), done=done)
    yard.turns(1)


def _pass(yard: Yard, seconds: float) -> None:
    yard.seconds += seconds
    yard.database_clock.seconds += seconds


def begin(yard: Yard, num: int = 10, *, seconds: float = 4.0, cpus: int = 1) -> None:
    """Have one worker that has trained one trial of many, and is at its second."""
    yard.pool.cpus = cpus
    submit(yard.queue, num)
    yard.turns(2)
    train(yard, "w1", seconds=seconds)


def test_worker_that_is_nearly_done_is_handed_its_next_trial(yard: Yard) -> None:
    begin(yard, seconds=4.0)
    _pass(yard, 4.0 - 1.5 * AHEAD_SECONDS)
    yard.turns(1)
    assert ahead(yard) == []
    _pass(yard, AHEAD_SECONDS)
    yard.turns(1)
    assert ahead(yard) == [["exp1-0003"]]
    yard.turns(3)
    assert ahead(yard) == [["exp1-0003"]]
    train(yard, "w1", seconds=0.5 * AHEAD_SECONDS)
    assert yard.trial("w1") == "exp1-0003"


def test_nearness_is_told_by_epochs_too(yard: Yard) -> None:
    begin(yard, seconds=4.0)
    _pass(yard, AHEAD_SECONDS * 0.8)
    yard.turns(1)
    assert ahead(yard) == []
    yard.pool.says("w1", points_of("exp1-0002", 0.5), done=False)  # one of two, faster than before
    yard.turns(1)
    assert ahead(yard) == [["exp1-0003"]]


def test_worker_whose_pace_is_not_known_is_handed_nothing_ahead(yard: Yard) -> None:
    yard.pool.cpus = 1
    submit(yard.queue, 10)
    yard.turns(2)
    _pass(yard, 8.0)
    yard.turns(1)
    assert ahead(yard) == []


def test_tiny_trials_are_handed_out_by_the_second(yard: Yard) -> None:
    begin(yard, 30, seconds=TINY)
    assert len(ahead(yard)) == 3
    for _ in range(5):
        train(yard, "w1", seconds=TINY)
        assert 3 <= len(ahead(yard)) <= 4
    assert yard.trial("w1") == "exp1-0007"


def test_whole_packs_are_handed_out_ahead(yard: Yard) -> None:
    yard.pool.cpus = 1
    submit_small(yard.queue, 64)
    yard.turns(2)
    train(yard, "w1", seconds=AHEAD_SECONDS * 0.8)
    assert [len(pack) for pack in ahead(yard)] == [16]


def test_places_that_fall_free_are_filled_while_the_pack_goes_on(yard: Yard) -> None:
    yard.pool.cpus = 1
    submit_small(yard.queue, 40)
    yard.turns(2)
    first = [each.trial_id for each in yard.pool.packs["w1"]]
    _pass(yard, 60.0)
    said = [points_of(trial, 0.5) for trial in first]  # one epoch of two
    yard.pool.says("w1", *said, *map(success_of, first[:3]), done=False)
    yard.turns(1)
    assert [len(pack) for pack in ahead(yard)] == [3]
    yard.turns(2)
    assert [len(pack) for pack in ahead(yard)] == [3]


def test_places_of_a_pack_that_is_nearly_done_wait_for_a_whole_one(yard: Yard) -> None:
    yard.pool.cpus = 1
    submit_small(yard.queue, 40)
    yard.turns(2)
    first = [each.trial_id for each in yard.pool.packs["w1"]]
    _pass(yard, 60.0)
    said = [points_of(trial, 0.5, 0.25) for trial in first]
    yard.pool.says("w1", *said, *map(success_of, first[:3]), done=False)
    yard.turns(1)
    assert [len(pack) for pack in ahead(yard)] == [16]


def test_what_another_worker_could_begin_now_is_not_taken_ahead(yard: Yard) -> None:
    begin(yard, 4, seconds=TINY, cpus=2)
    assert ahead(yard) == []  # one that waits, for whoever is done first
    assert set(yard.pool.packs) == {"w1", "w2"}


def test_what_waits_for_a_worker_that_is_coming_up_is_not_taken_ahead(yard: Yard) -> None:
    yard.pool.cpus = 1
    submit(yard.queue, 6)
    yard.turns(2)
    yard.pool.cpus, yard.pool.hangs_at_start = 2, True
    train(yard, "w1", seconds=TINY)
    assert len(yard.pool.hired) == 2
    # Of the four that wait and the one under way half are the other's.
    assert sum(map(len, ahead(yard))) == 1


def test_nobody_takes_more_ahead_than_an_equal_part(yard: Yard) -> None:
    begin(yard, 8, seconds=TINY / 8, cpus=2)
    train(yard, "w2", seconds=TINY / 8)
    held = [1 + len(ahead(yard, worker)) for worker in ("w1", "w2")]
    assert sorted(held) == [3, 3]


def test_lost_worker_gives_back_what_had_not_begun_and_that_is_no_loss(yard: Yard) -> None:
    begin(yard, 30, seconds=TINY)
    under_way, waiting = yard.trial("w1"), [trial for (trial,) in ahead(yard)]
    yard.pool.dies("w1")
    yard.turns(1)
    assert attempts_of(yard.engine, under_way)[0] == (1, "expired")
    for trial in waiting:
        assert attempts_of(yard.engine, trial)[0] == (1, "expired")
    (told,) = yard.incidents(IncidentKind.WORKER_LOST)  # of the one that was under way
    assert "killed" in told
    failure = yard.results.trial(waiting[0]).failure
    assert failure is not None
    assert (failure.type, failure.message) == ("HandedBack", "killed; it had not begun")


def test_trial_that_has_begun_behind_another_is_lost_with_its_worker(yard: Yard) -> None:
    begin(yard, 30, seconds=TINY)
    (second,), (third,), *_ = ahead(yard)
    yard.pool.says("w1", TrialBegun(second, 0, 0), done=False)
    yard.pool.dies("w1")
    yard.turns(1)
    lost = [yard.results.trial(each).failure for each in (second, third)]
    assert [each.type for each in lost if each is not None] == ["WorkerLost", "HandedBack"]


def test_next_trial_is_lost_with_its_worker_if_the_one_before_had_ended(yard: Yard) -> None:
    begin(yard, 30, seconds=TINY)
    (second,), (third,), *_ = ahead(yard)
    train(yard, "w1", seconds=TINY, done=False)
    yard.pool.dies("w1")
    yard.turns(1)
    lost = [yard.results.trial(each).failure for each in (second, third)]
    assert [each.type for each in lost if each is not None] == ["WorkerLost", "HandedBack"]


def test_trial_that_was_tried_before_is_not_taken_ahead(yard: Yard) -> None:
    begin(yard, 30, seconds=4.0)
    yard.pool.dies("w1")
    yard.turns(3)
    train(yard, "w2", seconds=4.0)
    waiting_again = {trial for (trial,) in ahead(yard, "w2")} & {"exp1-0001", "exp1-0002"}
    assert waiting_again == set()


def test_nobody_waits_behind_a_trial_that_is_to_go_alone(yard: Yard) -> None:
    yard.pool.cpus = 1
    submit(yard.queue, 1, an_experiment(execution=Execution(max_losses=0)))
    submit(yard.queue, 9, an_experiment("exp2"))
    yard.turns(2)
    assert yard.trial("w1") == "exp1-0001"
    _pass(yard, TINY)
    yard.pool.says("w1", points_of("exp1-0001", 0.5), done=False)
    yard.turns(1)
    assert ahead(yard) == []


def test_leases_of_what_waits_are_renewed(yard: Yard) -> None:
    begin(yard, 30, seconds=TINY)
    waiting = [trial for (trial,) in ahead(yard)]
    yard.goes_by(100)
    for trial in waiting:
        assert attempts_of(yard.engine, trial) == [(1, "running")]


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_pause_and_cancel_reach_what_waits(yard: Yard, verb: str) -> None:
    begin(yard, 30, seconds=TINY)
    waiting = [trial for (trial,) in ahead(yard)]
    getattr(yard.queue, verb)(experiment_id="exp1")
    yard.goes_by(2)
    assert set(waiting) <= set(yard.pool.stopped)
    yard.pool.says("w1", *map(TrialStopped, waiting), done=False)
    yard.turns(1)
    wanted = {"pause": "queued", "cancel": "cancelled"}[verb]
    assert {yard.results.trial(trial).state.value for trial in waiting} == {wanted}
    assert ahead(yard) == [[trial] for trial in waiting]  # nothing more came


def test_silent_worker_gives_back_what_waits_in_it_and_gets_no_more(yard: Yard) -> None:
    begin(yard, 30, seconds=TINY)
    yard.goes_by(2)
    waiting = [trial for (trial,) in ahead(yard)]
    yard.pool.frozen.add("w1")
    yard.goes_by(SILENT_SECONDS)
    for trial in waiting:
        assert attempts_of(yard.engine, trial) == [(1, "expired")]
    assert set(waiting) <= set(yard.pool.stopped)
    assert [[trial] for trial in waiting] == ahead(yard)
    yard.pool.frozen.clear()
    yard.pool.says("w1", *map(TrialStopped, waiting), done=False)
    yard.turns(1)
    for trial in waiting:
        assert attempts_of(yard.engine, trial)[0] == (1, "fenced")


def test_benched_worker_is_asked_for_what_waits_in_it(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(yard, 30, seconds=TINY)
    waiting = [trial for (trial,) in ahead(yard)]
    seat = yard.scheduler._staff.seats["w1"]

    def bench(_: Staff) -> object:
        seat.benched_at = yard.seconds
        return [("w1", seat)]

    monkeypatch.setattr(Staff, "bench_suspects", bench)
    yard.turns(1)
    assert yard.pool.stopped == waiting


def test_stalled_trial_takes_none_with_it_that_had_not_begun(yard: Yard) -> None:
    yard.pool.cpus = 1
    submit(yard.queue, 30, an_experiment(execution=Execution(stall_timeout=60.0)))
    yard.turns(2)
    train(yard, "w1", seconds=TINY)
    stalled, waiting = yard.trial("w1"), [trial for (trial,) in ahead(yard)]
    yard.pool.stuck.add("w1")
    yard.goes_by(70)
    assert attempts_of(yard.engine, stalled)[0] == (1, "failed")
    for trial in waiting:
        assert attempts_of(yard.engine, trial)[0] == (1, "expired")
    (told,) = yard.incidents(IncidentKind.TRIAL_STALLED)
    assert "no progress" in told


def test_shutting_down_gives_back_what_waits(yard: Yard) -> None:
    begin(yard, 30, seconds=TINY)
    waiting = [trial for (trial,) in ahead(yard)]
    yard.pool.says("w1", *map(TrialStopped, [yard.trial("w1"), *waiting]))
    yard.scheduler.shut_down(grace_seconds=0)
    for trial in waiting:
        assert attempts_of(yard.engine, trial) == [(1, "cancelled")]


def test_size_that_is_kept_out_keeps_others_from_taking_ahead(yard: Yard) -> None:
    begin(yard, 30, seconds=4.0, cpus=2)
    urgent = an_experiment("exp2", resources=TWO_CPUS, execution=Execution(priority=5))
    submit(yard.queue, 1, urgent)
    _pass(yard, 3.9)
    yard.turns(1)
    assert ahead(yard) == []


def test_failures_one_after_another_of_packs_that_wait_are_counted_each(yard: Yard) -> None:
    begin(yard, 30, seconds=TINY)
    trials = [yard.trial("w1"), *(trial for (trial,) in ahead(yard))]
    for trial in trials:
        yard.pool.says("w1", TrialFailed(trial, ERROR))
    yard.turns(1)
    seat = yard.scheduler._staff.seats["w1"]
    assert seat.streak.trial_ids == set(trials)
