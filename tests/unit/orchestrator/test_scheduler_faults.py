"""The scheduler when the store is away, workers are unwell, or the cluster dies."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from experiments.errors import StoreError, StoreUnavailableError
from experiments.events import TrialFailed, TrialNoted, TrialStopped
from experiments.records import Execution
from experiments.states import FailureKind, IncidentKind
from orchestrator.scheduling import scheduler
from orchestrator.scheduling.scheduler import TRUCE_SECONDS
from orchestrator.scheduling.seats import SILENT_SECONDS, START_SECONDS
from orchestrator.scheduling.staff import GIVE_UP_SECONDS, WorkersDoNotLastError
from tests.samples import (
    ERROR,
    NOT_FINITE,
    an_experiment,
    an_orchestrator,
    attempts_of,
    claim_one,
    points_of,
    success_of,
)
from tests.unit.orchestrator.scheduler_yard import TWO_CPUS, Yard, submit

# --- the store is away


def test_what_is_said_while_the_store_is_away_is_recorded_when_it_is_back(yard: Yard) -> None:
    submit(yard.queue, 3)
    yard.turns(2)
    first, second = yard.trial("w1"), yard.trial("w2")
    with yard.away():
        yard.pool.says("w1", points_of(first, 0.5), success_of(first, accuracy=0.75))
        yard.goes_by(6)
        yard.pool.says("w2", points_of(second, 0.25), done=False)
        yard.goes_by(6)
        yard.pool.says("w2", points_of(second, 0.25, 0.125), TrialFailed(second, NOT_FINITE))
        yard.goes_by(6)
        assert yard.states() == ["leased", "leased", "queued"]
        assert len(yard.pool.packs) == 2  # nothing new is begun
    yard.goes_by(6)
    assert yard.states() == ["succeeded", "failed", "leased"]
    assert [p.value for p in yard.results.curves(trial_id=first)] == [0.5]
    assert [p.value for p in yard.results.curves(trial_id=second)] == [0.25, 0.125]
    (account,) = yard.incidents(IncidentKind.STORE_UNREACHABLE)
    assert "could not be used for" in account


def test_trials_under_way_go_on_while_the_store_is_away_for_long(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    with yard.away():
        told_before = len(yard.pool.told_of_leases)
        yard.goes_by(600)
        assert len(yard.pool.told_of_leases) > told_before + 150
    yard.goes_by(10)
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "running")]
    assert yard.pool.stopped == yard.pool.killed == []


def test_workers_are_not_told_to_go_on_where_others_may_have_their_trials(yard: Yard) -> None:
    yard.scheduler = yard.new_scheduler(take_back=lambda: None)
    submit(yard.queue, 1)
    yard.turns(2)
    with yard.away():
        yard.pool.told_of_leases.clear()
        yard.goes_by(60)
        assert yard.pool.told_of_leases == []


def test_a_claim_whose_answer_was_lost_is_given_back(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(yard.queue, 1)
    yard.turns(1)
    claim = yard.queue.claim

    def unheard(**asked: Any) -> None:
        claim(**asked)
        raise StoreUnavailableError("the connection was cut")

    with monkeypatch.context() as patched:
        patched.setattr(yard.queue, "claim", unheard)
        yard.turns(1)
    assert yard.states() == ["leased"]
    assert yard.pool.packs == {}
    yard.goes_by(4)
    assert attempts_of(yard.engine, "exp1-0001")[-1] == (2, "running")
    assert yard.pool.packs["w1"][0].fence == 2


def test_shutting_down_gives_back_a_claim_whose_answer_was_lost(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(yard.queue, 1)
    yard.turns(1)
    claim = yard.queue.claim

    def unheard(**asked: Any) -> None:
        claim(**asked)
        raise StoreUnavailableError("the connection was cut")

    monkeypatch.setattr(yard.queue, "claim", unheard)
    yard.turns(1)
    assert yard.states() == ["leased"]
    assert yard.scheduler.shut_down(grace_seconds=1)
    assert yard.states() == ["queued"]


def pass_time(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Have the clock move where the scheduler sleeps or polls; give what moves it."""

    def passes(seconds: float) -> None:
        yard.seconds += seconds

    def poll(seconds: float) -> list[Any]:
        passes(seconds)
        return heard(seconds)

    heard = yard.pool.poll
    monkeypatch.setattr(scheduler, "sleep", passes)
    monkeypatch.setattr(yard.pool, "poll", poll)
    return passes


def test_a_statement_that_hangs_costs_no_worker_its_trial(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(yard.queue, 2)
    yard.turns(2)
    yard.goes_by(10)

    for name in ("sign_of_life", "demand"):  # before the leases are renewed, and after
        with monkeypatch.context() as patched:
            call = getattr(yard.queue, name)

            def hangs(call: Any = call, **options: Any) -> Any:
                yard.seconds += 65
                yard.database_clock.seconds += 65
                return call(**options)

            patched.setattr(yard.queue, name, hangs)
            yard.seconds += 2
            yard.turns(1)
        yard.goes_by(30)
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "running")]
    assert yard.pool.stopped == yard.pool.killed == []


def test_a_worker_that_froze_is_ended_although_statements_hang(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.frozen.add("w1")
    for _ in range(6):
        yard.goes_by(30)
        yard.seconds += 65
        yard.database_clock.seconds += 65
    assert yard.pool.killed == ["w1"]


def test_a_jump_of_the_databases_clock_costs_no_worker_its_trial(yard: Yard) -> None:
    submit(yard.queue, 2)
    yard.turns(2)
    for _ in range(20):
        for _ in range(21):
            yard.seconds += 0.5
            yard.turns(1)
        yard.database_clock.seconds += 3600
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "running")]


def test_whoever_is_back_first_after_an_outage_leaves_the_others_their_leases(yard: Yard) -> None:
    other = an_orchestrator(yard.engine, yard.database_clock, "o2", host="elsewhere")
    submit(yard.queue, 1)
    lease = claim_one(other).lease
    yard.scheduler = yard.new_scheduler(
        take_back=lambda: yard.queue.take_back(alone=False, host="box", is_running=bool)
    )
    yard.turns(1)
    with yard.away():
        yard.goes_by(90)
    yard.goes_by(TRUCE_SECONDS - 2)
    assert attempts_of(yard.engine, lease.trial_id) == [(1, "running")]
    yard.goes_by(20)  # it did not come back
    assert attempts_of(yard.engine, lease.trial_id)[0] == (1, "expired")
    assert yard.incidents(IncidentKind.ORCHESTRATOR_LOST)
    assert not yard.incidents(IncidentKind.WORKER_SILENT)


def test_what_finished_is_written_if_the_store_is_back_before_a_stop_is_over(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    passes = pass_time(yard, monkeypatch)
    with ExitStack() as away:
        away.enter_context(yard.away())
        yard.pool.says("w1", success_of("exp1-0001"))
        yard.turns(1)

        def comes_back(seconds: float) -> None:
            passes(seconds)
            if yard.seconds > 3:
                away.close()

        monkeypatch.setattr(scheduler, "sleep", comes_back)
        assert yard.scheduler.shut_down(grace_seconds=5)
    assert yard.states() == ["succeeded"]


def test_a_pool_that_fails_while_it_stops_costs_no_results(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(yard.queue, 2)
    yard.turns(2)
    yard.pool.says("w1", success_of("exp1-0001"))
    with yard.away():
        yard.turns(1)

    def fails(_: float) -> list[Any]:
        raise StoreError("the cluster cannot be joined")

    monkeypatch.setattr(yard.pool, "poll", fails)
    assert yard.scheduler.shut_down(grace_seconds=1)
    assert yard.pool.closed
    assert yard.states() == ["succeeded", "queued"]


def test_shutting_down_while_the_store_is_away_waits_no_longer_than_the_grace(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    pass_time(yard, monkeypatch)
    with yard.away():
        yard.pool.says("w1", points_of("exp1-0001", 0.5), TrialStopped("exp1-0001"))
        yard.turns(1)
        assert not yard.scheduler.shut_down(grace_seconds=5)
        assert 5 <= yard.seconds < 6
    assert yard.pool.closed
    assert yard.states() == ["leased"]


# --- workers that are unwell


def test_workers_are_told_of_renewed_leases(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.goes_by(20)
    assert yard.pool.told_of_leases == ["w1"] * 10


def test_a_frozen_workers_trial_is_trained_by_another_and_the_worker_ended(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.frozen.add("w1")
    yard.goes_by(60)
    assert yard.pool.killed == []
    yard.goes_by(SILENT_SECONDS + 10)
    assert yard.pool.killed == ["w1"]
    yard.goes_by(4)
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "expired"), (2, "running")]
    assert len(yard.incidents(IncidentKind.WORKER_SILENT)) == 1


def test_a_worker_that_freezes_between_packs_is_replaced(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    yard.pool.says("w1", success_of("exp1-0001"))
    yard.turns(1)
    yard.pool.frozen.add("w1")
    yard.goes_by(SILENT_SECONDS)
    submit(yard.queue, 1, an_experiment("exp2"))
    yard.pool.cpus = 1
    yard.goes_by(60)
    assert yard.pool.killed == ["w1"]
    assert yard.trial("w2") == "exp2-0001"


def test_a_stalled_trial_is_failed_and_its_worker_ended(yard: Yard) -> None:
    submit(yard.queue, 1, an_experiment(execution=Execution(stall_timeout=30.0)))
    yard.turns(2)
    yard.pool.says("w1", points_of("exp1-0001", 0.5), done=False)
    yard.pool.stuck.add("w1")
    yard.goes_by(28)
    assert yard.pool.killed == []
    yard.goes_by(6)
    assert yard.pool.killed == ["w1"]
    (attempt, *_) = yard.results.attempts("exp1-0001")
    assert attempt.state == "failed"
    assert attempt.failure is not None
    assert attempt.failure.kind is FailureKind.STALLED
    assert attempt.failure.message.startswith("no progress for 3")
    assert attempt.failure.message.endswith("after epoch 1, step 10")
    (incident,) = yard.results.incidents(trial_id="exp1-0001")
    assert incident.kind == IncidentKind.TRIAL_STALLED
    assert yard.results.incidents(experiment_id="exp1") == (incident,)
    yard.goes_by(70)
    assert attempts_of(yard.engine, "exp1-0001")[-1] == (2, "running")


def test_a_stall_is_not_told_of_a_trial_that_was_no_longer_ours(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(yard.queue, 1, an_experiment(execution=Execution(stall_timeout=30.0)))
    yard.turns(2)
    yard.pool.stuck.add("w1")
    monkeypatch.setattr(yard.queue, "fail", lambda *_: None)
    yard.goes_by(34)
    assert yard.pool.killed == ["w1"]
    assert yard.incidents(IncidentKind.TRIAL_STALLED) == []


def test_a_worker_that_never_comes_up_is_replaced(yard: Yard) -> None:
    yard.pool.hangs_at_start = True
    submit(yard.queue, 1)
    yard.turns(1)
    yard.seconds += START_SECONDS - 2
    yard.turns(1)
    assert yard.pool.killed == []
    yard.pool.hangs_at_start = False
    yard.goes_by(6)
    assert yard.pool.killed == ["w1"]
    assert yard.trial("w2") == "exp1-0001"
    (message,) = yard.incidents(IncidentKind.WORKER_LOST)
    assert message == "w1 was not up 600 s after it was hired and was ended"


def test_workers_that_never_come_up_are_given_up_in_the_end(yard: Yard) -> None:
    yard.pool.hangs_at_start = True
    submit(yard.queue, 1)
    yard.turns(1)

    def wait_for_them(times: int) -> None:
        for _ in range(times):
            yard.seconds += START_SECONDS
            yard.turns(1)
            yard.goes_by(2)

    with pytest.raises(WorkersDoNotLastError, match="3 workers in a row were lost while starting"):
        wait_for_them(3)
    assert yard.pool.killed == ["w1", "w2", "w3"]
    assert len(yard.incidents(IncidentKind.WORKER_LOST)) == 3


def test_a_trial_too_large_for_every_machine_is_told_of_once(yard: Yard) -> None:
    yard.pool.cpus = 1
    submit(yard.queue, 1, an_experiment(resources=TWO_CPUS))
    submit(yard.queue, 1, an_experiment("exp2"))
    yard.goes_by(200)
    assert yard.states() == ["queued"]
    assert yard.trial("w1") == "exp2-0001"
    (message,) = yard.incidents(IncidentKind.TRIAL_TOO_LARGE)
    assert message.startswith("trials wait for a worker with 2 CPUs and 0 GPUs, which no machine")


def test_what_a_trial_notes_is_on_record(yard: Yard) -> None:
    submit(yard.queue, 1)
    yard.turns(2)
    noted = TrialNoted("exp1-0001", IncidentKind.CHECKPOINT_NOT_WRITTEN, "the disk is full")
    yard.pool.says("w1", noted, done=False)
    yard.turns(1)
    assert yard.incidents(IncidentKind.CHECKPOINT_NOT_WRITTEN) == ["the disk is full"]


def test_a_lost_cluster_is_nobodys_failure_and_is_started_again(yard: Yard) -> None:
    submit(yard.queue, 2, an_experiment(execution=Execution(max_losses=0, retries=0)))
    yard.turns(2)
    yard.pool.is_lost()
    yard.turns(3)
    assert not yard.pool.hired, "not at once: what killed it may be there yet"
    yard.goes_by(4)
    assert set(yard.pool.hired) == {"w3", "w4"}
    assert yard.states() == ["leased", "leased"]
    assert attempts_of(yard.engine, "exp1-0001") == [(1, "expired"), (2, "running")]
    (message,) = yard.incidents(IncidentKind.CLUSTER_LOST)
    assert "2 trials under way were queued again" in message


def test_a_cluster_that_dies_again_and_again_is_given_up(yard: Yard) -> None:
    submit(yard.queue, 1)

    def lose_it_for(seconds: float) -> None:
        while yard.seconds < seconds:
            yard.goes_by(4)
            if yard.pool.hired:
                yard.pool.is_lost()

    with pytest.raises(WorkersDoNotLastError, match=r"cluster died \d+ times .* the raylet died"):
        lose_it_for(600)
    assert yard.seconds >= GIVE_UP_SECONDS
    assert yard.scheduler.shut_down(grace_seconds=1)
    assert yard.states() == ["queued"]


def test_a_cluster_that_dies_now_and_then_is_not_given_up(yard: Yard) -> None:
    submit(yard.queue, 9)
    for _ in range(6):
        yard.turns(2)
        worker = next(iter(yard.pool.hired))
        yard.pool.says(worker, success_of(yard.trial(worker)))
        yard.turns(1)
        yard.pool.is_lost()
        yard.goes_by(GIVE_UP_SECONDS / 3)
    assert yard.states().count("succeeded") == 6


def work(yard: Yard, num_turns: int, *, bad: str) -> None:
    """Let every worker end its trial at each turn: `bad` with an error, others well."""
    for _ in range(num_turns):
        for worker in tuple(yard.pool.hired):
            if worker in yard.pool.packs:
                trial = yard.trial(worker)
                good = success_of(trial)
                yard.pool.says(worker, TrialFailed(trial, ERROR) if worker == bad else good)
                del yard.pool.packs[worker]
        yard.seconds += 1.0
        yard.turns(1)


def test_a_worker_on_which_only_trials_fail_gets_no_more_of_them(yard: Yard) -> None:
    submit(yard.queue, 20, an_experiment(execution=Execution(retries=0)))
    yard.turns(2)
    work(yard, 15, bad="w2")
    counts = {state: yard.states().count(state) for state in set(yard.states())}
    assert counts == {"failed": 3, "succeeded": 15, "leased": 1, "queued": 1}
    assert set(yard.pool.hired) == {"w1", "w2"}  # its place stays taken
    (message,) = yard.incidents(IncidentKind.WORKER_BENCHED)
    assert message.startswith("w2 (machine-of-w2): 3 trials in a row failed on it")


def test_a_benched_worker_is_taken_back_when_nobody_else_is_left(yard: Yard) -> None:
    submit(yard.queue, 20, an_experiment(execution=Execution(retries=0)))
    yard.turns(2)
    work(yard, 5, bad="w2")
    yard.pool.packs.pop("w2", None)
    yard.pool.dies("w1")
    yard.pool.cpus = 1
    yard.turns(3)
    assert "w2" in yard.pool.packs


def test_trials_of_one_size_that_fail_beside_good_ones_of_another_bench_nobody(yard: Yard) -> None:
    yard.pool.cpus = 3
    submit(yard.queue, 6, an_experiment(resources=TWO_CPUS, execution=Execution(retries=0)))
    submit(yard.queue, 20, an_experiment("exp2"))
    yard.turns(2)
    (large,) = (name for name, size in yard.pool.hired.items() if size == TWO_CPUS)
    work(yard, 12, bad=large)
    assert yard.states() == ["failed"] * 6
    assert yard.incidents(IncidentKind.WORKER_BENCHED) == []


def test_a_benched_worker_is_taken_back_when_it_is_the_last_of_its_size(yard: Yard) -> None:
    yard.pool.cpus = 5
    submit(yard.queue, 20, an_experiment(resources=TWO_CPUS, execution=Execution(retries=0)))
    submit(yard.queue, 1, an_experiment("exp2"))
    yard.turns(2)
    good, bad = (name for name, size in yard.pool.hired.items() if size == TWO_CPUS)
    (other,) = (name for name, size in yard.pool.hired.items() if size != TWO_CPUS)
    under_way = yard.pool.packs.pop(other)
    work(yard, 5, bad=bad)
    assert len(yard.incidents(IncidentKind.WORKER_BENCHED)) == 1
    yard.pool.packs[other] = under_way
    yard.pool.packs.pop(bad, None)
    yard.pool.dies(good)
    yard.pool.cpus = 3  # no room for another one, whoever goes home
    yard.turns(3)
    assert bad in yard.pool.packs
    assert other in yard.pool.hired


def test_trials_that_fail_everywhere_bench_nobody(yard: Yard) -> None:
    submit(yard.queue, 20, an_experiment(execution=Execution(retries=0)))
    yard.turns(2)
    for _ in range(6):
        for worker in tuple(yard.pool.hired):
            yard.pool.says(worker, TrialFailed(yard.trial(worker), ERROR))
        yard.seconds += 1.0
        yard.turns(1)
    assert yard.states().count("failed") == 12
    assert yard.incidents(IncidentKind.WORKER_BENCHED) == []


def test_a_place_where_trials_stall_is_benched_though_its_workers_are_replaced(yard: Yard) -> None:
    submit(yard.queue, 80, an_experiment(execution=Execution(stall_timeout=30.0)))
    yard.turns(2)
    for _ in range(3):
        bad = max(yard.pool.hired, key=lambda name: int(name[1:]))
        yard.pool.stuck.add(bad)
        for _ in range(18):  # the good one ends a trial every two seconds
            yard.pool.says("w1", success_of(yard.trial("w1")))
            yard.goes_by(2)
    assert yard.pool.killed == ["w2", "w3", "w4"]
    (message,) = yard.incidents(IncidentKind.WORKER_BENCHED)
    assert message.startswith("w5 ")
    assert "w5" not in yard.pool.packs


def test_an_idle_pool_beside_a_foreign_lease_waits(yard: Yard) -> None:
    submit(yard.queue, 1)
    claim_one(yard.queue)
    yard.turns(3)
    assert yard.pool.hired == {}
