"""The scheduler: who is hired, what is handed out, and what becomes of it."""

from dataclasses import replace
from itertools import pairwise

import pytest

from experiments.errors import StoreError
from experiments.events import TrialFailed, TrialStopped
from experiments.records import Execution, Resources
from experiments.states import TrialState
from orchestrator.scheduling.scheduler import RENEW_SECONDS, TAKE_BACK_SECONDS
from orchestrator.scheduling.seats import STAY_SECONDS
from orchestrator.scheduling.staff import GIVE_UP_SECONDS, WorkersDoNotLastError
from tests.samples import (
    ERROR,
    NOT_FINITE,
    ONE_CPU,
    an_experiment,
    attempts_of,
    points_of,
    saved,
    some_trials,
    success_of,
)
from tests.unit.orchestrator.scheduler_yard import TWO_CPUS, Yard, submit


def test_every_worker_that_fits_is_hired_and_handed_a_trial(yard: Yard) -> None:
    submit(yard.queue, 5)
    yard.turns(2)
    assert set(yard.pool.hired) == {"w1", "w2"}
    assert {yard.trial("w1"), yard.trial("w2")} == {"exp1-0001", "exp1-0002"}
    assert yard.states() == ["leased", "leased", "queued", "queued", "queued"]


def test_no_more_workers_are_hired_than_trials_wait(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(3)
    assert list(yard.pool.hired) == ["w1"]


def test_no_more_workers_are_hired_than_allowed(yard: Yard) -> None:
    yard.scheduler = yard.new_scheduler(max_workers=1)
    submit(yard.queue, 5)
    yard.turns(3)
    assert list(yard.pool.hired) == ["w1"]


def test_an_assignment_says_where_to_save_under_its_fence(yard: Yard) -> None:
    submit(yard.queue, 1, an_experiment(execution=Execution(timeout=9.0)))
    yard.turns(2)
    (assignment,) = yard.pool.packs["w1"]
    assert assignment.checkpoint_folder is not None
    assert assignment.checkpoint_folder.endswith("checkpoints/exp1-0001/0001")
    assert (assignment.fence, assignment.timeout_seconds) == (1, 9.0)
    assert assignment.checkpoints.every_epochs == 2
    assert assignment.resume_from == ()


def test_a_further_attempt_goes_on_from_the_last_checkpoint(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.says("w1", saved("exp1-0001", "last", epoch=3), done=False)
    yard.pool.dies("w1")
    yard.turns(3)
    (assignment,) = yard.pool.packs["w2"]
    assert [(point.epoch, point.step) for point in assignment.resume_from] == [(3, 30)]


def test_what_workers_say_is_recorded_and_their_hands_are_filled_again(yard: Yard) -> None:
    submit(yard.queue, 3)
    yard.turns(2)
    first = yard.trial("w1")
    yard.pool.says(
        "w1", points_of(first, 0.5, 0.25), saved(first, epoch=2), success_of(first, accuracy=0.75)
    )
    yard.turns(1)
    row = yard.results.trial(first)
    assert (row.state, row.objective_value) == (TrialState.SUCCEEDED, 0.75)
    assert row.machine == "machine-of-w1"
    assert [point.value for point in yard.results.curves(trial_id=first)] == [0.5, 0.25]
    assert [item.kind for item in yard.results.checkpoints(first)] == ["best"]
    assert yard.trial("w1") == "exp1-0003"


def test_a_failure_of_its_own_ends_a_trial_and_the_others_go_on(yard: Yard) -> None:
    submit(yard.queue, 2)
    yard.turns(2)
    yard.pool.says("w1", TrialFailed(yard.trial("w1"), NOT_FINITE))
    yard.pool.says("w2", success_of(yard.trial("w2")))
    yard.turns(1)
    assert sorted(yard.states()) == ["failed", "succeeded"]


def test_a_failure_that_may_be_retried_is_claimed_again_after_its_delay(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.says("w1", TrialFailed("exp1-0001", ERROR))
    yard.turns(2)
    assert yard.states() == ["queued"]
    yard.database_clock.seconds += 60
    yard.turns(2)
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "failed"), (2, "running")]


def test_a_dead_workers_trial_is_queued_again_at_once_and_the_worker_replaced(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.dies("w1")
    yard.turns(3)
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "expired"), (2, "running")]


def test_what_a_dead_worker_had_said_counts(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.says("w1", success_of("exp1-0001"), done=False)
    yard.pool.dies("w1")
    yard.turns(2)
    assert yard.states() == ["succeeded"]
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "succeeded")]


def test_a_pack_that_ends_without_a_word_is_a_lost_one(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.says("w1", points_of("exp1-0001", 0.5))
    yard.turns(1)
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "expired"), (2, "running")]


def test_a_trial_that_loses_its_worker_every_time_is_quarantined(yard: Yard) -> None:
    submit(yard.queue, 1)
    for _ in range(4):
        yard.goes_by(70)
        yard.pool.dies(next(iter(yard.pool.hired)))
    yard.turns(1)
    assert yard.states() == ["quarantined"]


def test_workers_that_never_start_are_given_up_after_pauses_that_grow(yard: Yard) -> None:
    submit(yard.queue, 1)
    hired_at = []

    def lose_all_for(seconds: float) -> None:
        while yard.seconds < seconds:
            yard.turns(1)
            yard.pool.inbox.clear()  # it never says that it is ready
            for worker in tuple(yard.pool.hired):
                hired_at.append(yard.seconds)
                yard.pool.dies(worker, "no libtorch")
            yard.seconds += 0.5

    with pytest.raises(WorkersDoNotLastError, match=r"\d+ workers in a row .* no libtorch"):
        lose_all_for(600)
    pauses = [later - earlier for earlier, later in pairwise(hired_at)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1.0
    assert GIVE_UP_SECONDS <= hired_at[-1] <= GIVE_UP_SECONDS + 16.0
    yard.scheduler.shut_down(grace_seconds=1)
    assert yard.pool.closed


def test_the_end_of_a_pack_is_not_taken_for_that_of_one_handed_out_just_before(
    yard: Yard,
) -> None:
    submit(yard.queue, 2)
    yard.pool.cpus = 1
    yard.turns(2)
    yard.pool.says("w1", success_of("exp1-0001"), done=False)
    yard.turns(2)
    yard.pool.is_done("w1")
    yard.turns(1)
    assert attempts_of(yard.engine, "exp1-0002") == [(1, "running")]
    assert yard.trial("w1") == "exp1-0002"
    yard.pool.says("w1", success_of("exp1-0002"))
    yard.turns(1)
    assert attempts_of(yard.engine, "exp1-0002") == [(1, "succeeded")]


def test_leases_are_renewed_while_trials_are_under_way(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    for _ in range(100):
        yard.seconds += RENEW_SECONDS
        yard.database_clock.seconds += RENEW_SECONDS
        yard.turns(1)
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "running")]


def test_a_cancelled_trial_is_asked_to_stop_and_then_cancelled(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.queue.cancel(trial_id="exp1-0001")
    yard.seconds += RENEW_SECONDS
    yard.turns(1)
    assert yard.pool.stopped == ["exp1-0001"]
    yard.pool.says("w1", TrialStopped("exp1-0001"))
    yard.turns(1)
    assert yard.states() == ["cancelled"]


def test_a_trial_whose_lease_passed_on_is_stopped_and_its_late_word_dropped(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.database_clock.seconds += 3600
    yard.queue.expire()
    (other,) = yard.queue.claim(worker="elsewhere", limit=1, lease_seconds=60, resources=ONE_CPU)
    yard.seconds += RENEW_SECONDS
    yard.turns(1)
    assert yard.pool.stopped == ["exp1-0001"]
    yard.pool.says("w1", success_of("exp1-0001", accuracy=0.1))
    yard.turns(1)
    yard.queue.succeed(other.lease, success_of("exp1-0001", accuracy=0.9))
    assert yard.results.trial("exp1-0001").objective_value == 0.9


def test_expired_leases_of_others_are_taken_back(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.queue.claim(worker="frozen", limit=1, lease_seconds=60, resources=ONE_CPU)
    yard.goes_by(70)
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "expired"), (2, "running")]


def test_idle_workers_make_room_for_another_size(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.says("w1", success_of("exp1-0001"))
    submit(yard.queue, 1, an_experiment("exp2", resources=TWO_CPUS))
    yard.turns(3)
    assert yard.pool.dismissed == ["w1"]
    assert yard.trial("w2") == "exp2-0001"


def test_two_sizes_in_line_do_not_send_each_others_workers_home_at_every_trial(yard: Yard) -> None:
    submit(yard.queue, 30)
    submit(yard.queue, 30, an_experiment("exp2", resources=TWO_CPUS))
    finished: list[str] = []
    while len(finished) < 60:
        yard.goes_by(2)
        for worker in list(yard.pool.packs):
            trial = yard.trial(worker)
            if worker in yard.pool.hired and trial not in finished:
                finished.append(trial)
                yard.pool.says(worker, success_of(trial))
    assert {trial[:4] for trial in finished[:30]} == {"exp1", "exp2"}  # they take turns
    assert 3 <= len(yard.pool.dismissed) <= 6


def test_a_size_first_in_line_gets_the_room_that_falls_free(yard: Yard) -> None:
    submit(yard.queue, 9)
    yard.turns(2)
    yard.seconds += STAY_SECONDS
    urgent = an_experiment("exp2", resources=TWO_CPUS, execution=Execution(priority=5))
    submit(yard.queue, 1, urgent)
    yard.pool.says("w1", success_of(yard.trial("w1")))
    yard.turns(2)
    assert yard.pool.dismissed == ["w1"]
    yard.pool.says("w2", success_of(yard.trial("w2")))
    yard.turns(2)
    assert yard.trial("w3") == "exp2-0001"


def test_room_that_the_first_in_line_cannot_use_goes_to_the_next(yard: Yard) -> None:
    yard.pool.cpus = 3
    first = an_experiment("exp2", resources=TWO_CPUS, execution=Execution(priority=5))
    submit(yard.queue, 3, first)
    submit(yard.queue, 3)
    yard.turns(2)
    assert sorted(yard.trial(worker) for worker in yard.pool.packs) == ["exp1-0001", "exp2-0001"]


def test_what_no_machine_could_hold_waits_without_stopping_the_rest(yard: Yard) -> None:
    submit(yard.queue, 1, an_experiment("exp2", resources=Resources(cpus=64, gpus=0.0)))
    submit(yard.queue, 1)
    yard.turns(2)
    assert yard.trial("w1") == "exp1-0001"


def test_shutting_down_sends_the_workers_home_though_the_store_is_gone(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.says("w1", success_of("exp1-0001"))

    def gone(*_: object, **__: object) -> bool:
        raise StoreError("the store is gone")

    monkeypatch.setattr(yard.queue, "succeed_all", gone)
    with pytest.raises(StoreError, match="the store is gone"):
        yard.scheduler.shut_down(grace_seconds=1)
    assert yard.pool.closed


def test_shutting_down_gives_every_lease_back_without_counting_a_failure(yard: Yard) -> None:
    submit(yard.queue, 2)
    yard.turns(2)
    stopped = yard.trial("w1")
    yard.pool.says("w1", TrialStopped(stopped))
    ticks = iter(range(1000))
    yard.scheduler._clock = lambda: float(next(ticks))  # time passes with each look at it
    yard.scheduler.shut_down(grace_seconds=10)
    assert yard.pool.closed
    assert sorted(yard.pool.stopped) == ["exp1-0001", "exp1-0002"]
    assert yard.states() == ["queued", "queued"]
    assert [attempts_of(yard.engine, f"exp1-000{n}") for n in (1, 2)] == [[(1, "cancelled")]] * 2


def test_a_success_is_tidied_up_after(yard: Yard) -> None:
    submit(yard.queue, 2)
    yard.turns(2)
    yard.pool.says("w1", success_of(yard.trial("w1")))
    yard.pool.says("w2", TrialFailed(yard.trial("w2"), NOT_FINITE))
    yard.turns(1)
    assert yard.tidied == ["exp1-0001"]


def test_a_result_that_is_known_by_now_is_used_instead_of_trained(yard: Yard) -> None:
    (same,) = (replace(each, content_key="exp1-key-0") for each in some_trials(1, of="exp2"))
    submit(yard.queue, 1)
    yard.queue.submit(an_experiment("exp2", keep=()), [same])
    yard.turns(3)
    assert list(yard.pool.packs) == ["w1"]
    yard.pool.says("w1", success_of("exp1-0001", accuracy=0.75))
    yard.turns(2)
    assert yard.results.trial("exp2-0001").reused_from == "exp1-0001"
    assert yard.results.trial("exp2-0001").objective_value == 0.75


def test_what_others_left_is_taken_back_every_so_often(yard: Yard) -> None:
    calls: list[float] = []
    yard.scheduler = yard.new_scheduler(take_back=lambda: calls.append(yard.seconds))
    yard.goes_by(4 * TAKE_BACK_SECONDS)
    assert len(calls) == 4
