"""Known results: the same configuration is trained once, wherever it is asked for."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text, update

from experiments.records import Execution, Trial
from experiments.states import TrialState
from orchestrator.measurements.known import Known
from orchestrator.measurements.results import Results
from orchestrator.queueing.outbox import Outbox
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import reading, writing
from orchestrator.store.tables import trial
from tests.samples import (
    ONE_CPU,
    SettableClock,
    an_experiment,
    an_orchestrator,
    attempts_of,
    claim,
    claim_one,
    epoch_saved,
    everything_in,
    learn_one,
    points_of,
    some_trials,
    success_of,
)

NEVER = Execution(reuse=False)


def trials_like(num: int, *, of: str) -> list[Trial]:
    """Give trials of an experiment with the content keys that every such experiment has."""
    return [replace(each, content_key=f"key-{each.number}") for each in some_trials(num, of=of)]


def submit(
    queue: Queue,
    num: int,
    name: str,
    execution: Execution | None = None,
    *,
    keep: tuple[str, ...] = (),
) -> int:
    experiment = an_experiment(name, execution=execution, keep=keep)
    return queue.submit(experiment, trials_like(num, of=name)).num_reused


def succeed_one(queue: Queue, accuracy: float = 0.9) -> str:
    lease = claim_one(queue).lease
    assert queue.succeed(lease, success_of(lease.trial_id, accuracy), machine="box")
    return lease.trial_id


def test_known_result_is_there_as_soon_as_it_is_submitted(
    engine: Engine, queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 2, "one")
    lease = claim_one(queue).lease
    results.record([(lease, points_of(lease.trial_id, 0.5, 0.4))])
    queue.succeed(lease, success_of(lease.trial_id, 0.97), machine="box")
    clock.seconds += 100

    assert submit(queue, 3, "two") == 1

    source, taken = results.trial("one-0001"), results.trial("two-0001")
    assert (taken.state, taken.reused_from) == (TrialState.SUCCEEDED, "one-0001")
    assert (taken.metrics, taken.objective_value) == (source.metrics, 0.97)
    assert (taken.selected_epoch, taken.duration_seconds) == (2, 1.5)
    assert (taken.machine, taken.peak_memory_bytes) == ("box", 3 * 2**30)
    assert (taken.num_attempts, taken.finished_at) == (0, clock.seconds)
    assert attempts_of(engine, "two-0001") == []
    assert [point.value for point in results.curves(trial_id="two-0001")] == [0.5, 0.4]
    assert results.confusion("two-0001") == results.confusion("one-0001")
    assert [row.state for row in results.trials("two")[1:]] == [TrialState.QUEUED] * 2


def test_link_leads_to_the_trial_that_was_trained(queue: Queue, results: Results) -> None:
    submit(queue, 1, "zzz")
    succeed_one(queue)
    submit(queue, 1, "mmm")
    submit(queue, 1, "aaa")

    assert results.trial("mmm-0001").reused_from == "zzz-0001"
    assert results.trial("aaa-0001").reused_from == "zzz-0001"


def test_of_two_sources_the_older_is_taken(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1, "zzz", NEVER)
    succeed_one(queue, 0.7)
    clock.seconds += 1
    submit(queue, 1, "aaa", NEVER)
    succeed_one(queue, 0.8)

    submit(queue, 1, "two")

    assert results.trial("two-0001").reused_from == "zzz-0001"


KEPT = [(), ("best",), ("last",), ("best", "last")]


@pytest.mark.parametrize("there", KEPT)
@pytest.mark.parametrize("wanted", KEPT)
def test_result_is_taken_only_with_the_checkpoints_that_are_kept(
    engine: Engine,
    queue: Queue,
    results: Results,
    there: tuple[str, ...],
    wanted: tuple[str, ...],
) -> None:
    submit(queue, 1, "one", keep=there)
    learn_one(queue, results)
    is_enough = set(wanted) <= set(there)

    assert (Known(engine).finished(["key-1"], keep=wanted) == {"key-1"}) == is_enough
    assert submit(queue, 1, "two", keep=wanted) == is_enough
    assert queue.reuse_known() == 0

    assert [each.lease.trial_id for each in claim(queue)] == ([] if is_enough else ["two-0001"])
    assert results.trial("two-0001").reused_from == ("one-0001" if is_enough else None)
    kinds = {row.kind for row in results.checkpoints("two-0001")}
    assert kinds == (set(there) if is_enough else set())


def test_source_without_the_checkpoints_is_passed_over_for_one_that_has_them(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1, "one", keep=("last",))
    learn_one(queue, results)
    clock.seconds += 1
    submit(queue, 1, "two", keep=("best", "last"))
    learn_one(queue, results)

    assert (
        submit(queue, 1, "three", keep=("best",)) == submit(queue, 1, "four", keep=("last",)) == 1
    )

    assert results.trial("three-0001").reused_from == "two-0001"
    assert results.trial("four-0001").reused_from == "one-0001"


def test_trial_that_waits_for_another_is_trained_where_that_kept_too_little(
    queue: Queue, clock: SettableClock
) -> None:
    submit(queue, 1, "one")
    clock.seconds += 1
    submit(queue, 1, "two", keep=("best",))
    lease = claim_one(queue).lease
    assert lease.trial_id == "one-0001"
    assert claim(queue) == ()
    queue.succeed(lease, success_of(lease.trial_id))

    assert queue.reuse_known() == 0
    assert queue.demand() == {ONE_CPU: 1}
    assert claim_one(queue).lease.trial_id == "two-0001"


def test_trial_that_kept_less_than_its_experiment_wants_gives_nothing(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1, "one", keep=("best",))
    succeed_one(queue)  # there was no room for its checkpoints

    assert submit(queue, 1, "two", keep=("best",)) == 0

    assert learn_one(queue, results) == "two-0001"


def test_reused_trials_are_told_to_mlflow_with_the_models_of_finished_variants(
    queue: Queue, outbox: Outbox
) -> None:
    submit(queue, 1, "one")
    succeed_one(queue)
    for entry in outbox.pending(10):
        outbox.mark_done(entry)

    submit(queue, 2, "two")

    assert {(entry.kind, entry.key) for entry in outbox.pending(10)} == {
        ("trial", "two-0001"),
        ("model", "two/v1"),
    }


def test_experiment_may_refuse_known_results(queue: Queue) -> None:
    submit(queue, 1, "one")
    succeed_one(queue)

    assert submit(queue, 1, "two", NEVER) == 0
    assert queue.reuse_known() == 0

    assert claim_one(queue).lease.trial_id == "two-0001"


def test_submit_again_after_a_lost_answer_changes_nothing(engine: Engine, queue: Queue) -> None:
    submit(queue, 1, "one")
    succeed_one(queue)
    submit(queue, 2, "two")
    before = everything_in(engine)

    again = queue.submit(an_experiment("two", keep=()), trials_like(2, of="two"))

    assert (again.new, again.num_reused) == (False, 0)
    assert everything_in(engine) == before


def test_of_several_queued_trials_with_one_key_one_is_trained(queue: Queue) -> None:
    for name in ("one", "two", "three"):
        submit(queue, 1, name)

    assert claim_one(queue).lease.trial_id == "one-0001"
    assert claim(queue) == ()
    assert queue.demand() == {}


def test_only_the_results_of_the_trials_named_are_given(queue: Queue, results: Results) -> None:
    for name in ("one", "two"):
        submit(queue, 2, name)
    first, second = succeed_one(queue), succeed_one(queue)  # of different numbers

    assert queue.reuse_known(sources=[]) == 0
    assert queue.reuse_known(sources=[second]) == 1
    taken = [row for name in ("one", "two") for row in results.trials(name) if row.reused_from]
    assert [row.reused_from for row in taken] == [second]
    assert queue.reuse_known(sources=[first, second]) == 1


def test_others_take_the_result_when_it_is_there(
    engine: Engine, queue: Queue, results: Results
) -> None:
    for name in ("one", "two", "three"):
        submit(queue, 2, name)
    succeed_one(queue)
    assert claim_one(queue).number == 2  # not what is known by now

    assert queue.reuse_known(limit=1) == 1
    assert queue.reuse_known() == 1
    before = everything_in(engine)
    assert queue.reuse_known() == 0

    assert everything_in(engine) == before
    for name in ("two", "three"):
        assert results.trial(f"{name}-0001").reused_from == "one-0001"
        assert results.trial(f"{name}-0002").reused_from is None


def test_when_the_one_that_is_trained_fails_the_next_is_trained(queue: Queue) -> None:
    submit(queue, 1, "one")
    submit(queue, 1, "two")
    lease = claim_one(queue).lease
    queue.cancel(trial_id=lease.trial_id)
    queue.release(lease)

    assert claim_one(queue).lease.trial_id == "two-0001"


def test_two_trials_of_one_experiment_with_one_key_are_not_claimed_together(queue: Queue) -> None:
    first, second, third = trials_like(3, of="one")
    twin = replace(second, content_key=first.content_key)
    queue.submit(an_experiment("one"), [first, twin, third])

    assert [each.number for each in claim(queue, limit=3)] == [1, 3]
    assert claim(queue, limit=3) == ()


def test_who_refuses_known_results_trains_beside_another_with_the_same_key(
    queue: Queue,
) -> None:
    submit(queue, 1, "one")
    submit(queue, 1, "two", NEVER)
    submit(queue, 1, "three", NEVER)

    assert len([claim_one(queue) for _ in range(3)]) == 3


def test_trial_that_had_begun_itself_leaves_nothing_of_its_own_behind(
    engine: Engine, queue: Queue, results: Results
) -> None:
    submit(queue, 1, "one")
    lease = claim_one(queue).lease
    results.record([(lease, points_of(lease.trial_id, 9.9))])
    results.record([(lease, each) for each in epoch_saved(lease.trial_id, 1)])
    queue.pause(trial_id=lease.trial_id)
    queue.release(lease)
    submit(queue, 1, "two")
    other = claim_one(queue).lease
    results.record([(other, points_of(other.trial_id, 0.5))])
    queue.succeed(other, success_of(other.trial_id))

    assert queue.reuse_known() == 1

    everything = everything_in(engine)
    assert {row[0] for row in everything["metric"]} == {"two-0001"}
    assert everything["checkpoint"] == []
    assert [point.value for point in results.curves(trial_id="one-0001")] == [0.5]
    assert results.trial("one-0001").num_attempts == 1


def test_claim_gives_way_to_another_that_is_just_leasing_the_same_key(
    engine: Engine, queue: Queue
) -> None:
    submit(queue, 1, "one")
    submit(queue, 1, "two")
    queue.pause(trial_id="one-0001")  # or it would be claimed, and not its twin
    lease = {"state": TrialState.LEASED, "worker": "w2", "fence": 1, "orchestrator": "other"}

    with ThreadPoolExecutor(1) as thread:
        with writing(engine) as connection:
            connection.execute(update(trial).where(trial.c.id == "one-0001").values(lease))
            claims = thread.submit(claim, queue)
            wait_until_another_waits(engine)

        assert claims.result() == ()


def wait_until_another_waits(engine: Engine) -> None:
    """Wait for a transaction that waits for ours; SQLite lets it wait before it sees anything."""
    if engine.dialect.name == "sqlite":
        return
    deadline = time.monotonic() + 60
    with reading(engine) as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        while not connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_orchestrators_that_claim_at_once_never_train_one_key_twice(
    engine: Engine, clock: SettableClock, results: Results, queue: Queue
) -> None:
    names = [f"exp{number}" for number in range(6)]
    for name in names:
        submit(queue, 4, name)

    def work(name: str) -> list[str]:
        mine, trained = an_orchestrator(engine, clock, name), []
        for _ in range(12):
            for each in claim(mine, limit=2, worker=f"{name}/worker-1"):
                trained.append(each.lease.trial_id)
                assert mine.succeed(each.lease, success_of(each.lease.trial_id))
            mine.reuse_known()
        return trained

    with ThreadPoolExecutor(4) as threads:
        trained = [one for many in threads.map(work, ["a", "b", "c", "d"]) for one in many]

    assert sorted(each[-1] for each in trained) == ["1", "2", "3", "4"]
    rows = [row for name in names for row in results.trials(name)]
    assert {row.state for row in rows} == {TrialState.SUCCEEDED}
    assert sum(row.reused_from is None for row in rows) == 4
