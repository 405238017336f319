"""Claiming: who is next, and that a trial is never in two hands."""

import re
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select, text, update

from experiments.planning.pack_shapes import pack_shape
from experiments.planning.strategies import Strategy
from experiments.records import CheckpointPolicy, Execution, Resources, ResumePoint
from experiments.states import TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing import endings, turns
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import reading, writing
from orchestrator.store.tables import checkpoint, experiment, trial
from tests.samples import (
    ERROR,
    NOT_FINITE,
    ONE_CPU,
    SettableClock,
    a_config,
    an_experiment,
    attempts_of,
    claim,
    claim_one,
    epoch_saved,
    saved,
    some_trials,
    submit,
    success_of,
)


def numbers(claims: tuple[Claim, ...]) -> list[int]:
    return [claim.number for claim in claims]


def test_claim_gives_all_that_a_worker_needs(queue: Queue) -> None:
    execution = Execution(timeout=90.0, stall_timeout=30.0, strategy="auto")
    submit(queue, 1, an_experiment(execution=execution))

    assert claim_one(queue) == Claim(
        lease=Lease("exp1-0001", 1),
        experiment_id="exp1",
        number=1,
        variant="v1",
        config=a_config(),
        checkpoints=CheckpointPolicy(every_epochs=2, keep=("best",)),
        timeout_seconds=90.0,
        stall_timeout_seconds=30.0,
        resume_from=(),
        strategy=Strategy(16),
        pack_shape=pack_shape(a_config()),
    )


def test_claim_leases_the_trial_and_opens_an_attempt(
    engine: Engine, queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1)

    claim_one(queue)

    row = results.trial("exp1-0001")
    assert (row.state, row.worker) == (TrialState.LEASED, "w1")
    assert (row.started_at, row.num_attempts) == (clock.seconds, 1)
    assert attempts_of(engine, "exp1-0001") == [(1, "running")]


def test_claim_skips_leased_trial(queue: Queue) -> None:
    submit(queue, 2)

    assert numbers(claim(queue)) == [1]
    assert numbers(claim(queue, limit=5)) == [2]
    assert claim(queue, limit=5) == ()


def test_claim_goes_by_number_even_after_a_release(queue: Queue) -> None:
    submit(queue, 3)
    first = claim_one(queue)
    queue.release(first.lease)

    assert numbers(claim(queue, limit=2)) == [1, 2]


def test_claim_hands_on_the_two_newest_checkpoints_to_go_on_from(
    queue: Queue, results: Results
) -> None:
    submit(queue, 2)
    first, other = claim(queue, limit=2)
    for epoch in (1, 2, 3):
        said = epoch_saved("exp1-0001", epoch)
        results.record([(first.lease, each) for each in said])
    queue.lose(first.lease, "killed")
    queue.release(other.lease)

    again, other = claim(queue, limit=2)

    assert [point.epoch for point in again.resume_from] == [3, 2]
    assert again.resume_from[0] == ResumePoint("last.pt", "a" * 64, epoch=3, step=30)
    assert other.resume_from == ()


def test_checkpoint_of_a_later_attempt_comes_before_a_later_epoch(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    results.record([(lease, saved(lease.trial_id, "last", epoch=7))])
    queue.release(lease)
    lease = claim_one(queue).lease  # and finds that checkpoint altered
    results.record([(lease, saved(lease.trial_id, "last", epoch=1))])
    queue.release(lease)

    assert [point.epoch for point in claim_one(queue).resume_from] == [1, 7]


def test_claim_goes_by_age_of_the_experiment(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 1, an_experiment("zzz"))
    clock.seconds += 1
    submit(queue, 1, an_experiment("aaa"))

    assert [claim_one(queue).experiment_id for _ in range(2)] == ["zzz", "aaa"]


def test_claim_puts_priority_before_age(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 1, an_experiment("old"))
    clock.seconds += 1
    submit(queue, 1, an_experiment("urgent", execution=Execution(priority=1)))

    assert claim_one(queue).experiment_id == "urgent"


def test_small_experiment_does_not_wait_behind_a_large_one(
    queue: Queue, clock: SettableClock
) -> None:
    submit(queue, 30, an_experiment("large"))
    clock.seconds += 1
    submit(queue, 3, an_experiment("small"))

    taken = [claim_one(queue).experiment_id for _ in range(8)]

    assert taken == ["large", "small"] * 3 + ["large"] * 2


def test_one_worker_serves_experiments_in_turn(queue: Queue, clock: SettableClock) -> None:
    for name in ("one", "two", "three"):
        submit(queue, 3, an_experiment(name))
        clock.seconds += 1
    served = []
    for _ in range(7):
        only = claim_one(queue)
        served.append(only.experiment_id)
        queue.succeed(only.lease, success_of(only.lease.trial_id))

    assert served == ["one", "two", "three"] * 2 + ["one"]


def test_experiment_with_the_fewest_workers_is_next(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 9, an_experiment("wide"))
    clock.seconds += 1
    submit(queue, 9, an_experiment("late"))
    taken = [one.experiment_id for number in range(6) for one in claim(queue, worker=f"w{number}")]
    assert taken == ["wide", "late"] * 3

    queue.cancel(experiment_id="wide")
    submit(queue, 9, an_experiment("new"))
    assert [claim(queue, worker=f"w{number}")[0].experiment_id for number in (6, 7, 8)] == [
        "new"
    ] * 3


def test_priority_goes_before_fairness(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 5, an_experiment("urgent", execution=Execution(priority=1)))
    clock.seconds += 1
    submit(queue, 5, an_experiment("other"))

    assert [claim_one(queue).experiment_id for _ in range(6)] == ["urgent"] * 5 + ["other"]


def test_claim_never_mixes_experiments(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 1, an_experiment("one"))
    clock.seconds += 1
    submit(queue, 2, an_experiment("two"))

    assert {claim.experiment_id for claim in claim(queue, limit=3)} == {"one"}


def test_claim_takes_only_what_fits_the_worker(queue: Queue) -> None:
    big = Resources(cpus=4, gpus=0.5)
    submit(queue, 1, an_experiment(resources=big))

    assert claim(queue, resources=ONE_CPU) == ()
    assert len(claim(queue, resources=big)) == 1


def test_claim_waits_out_the_delay_after_a_failure(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 1)
    queue.fail(claim_one(queue).lease, ERROR)

    assert claim(queue) == ()
    clock.seconds += 1.0
    assert numbers(claim(queue)) == [1]


def test_clock_set_back_does_not_prolong_a_delay(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 1)
    queue.fail(claim_one(queue).lease, ERROR)
    clock.seconds -= 3600

    assert numbers(claim(queue)) == [1]


def test_claim_passes_over_a_paused_experiment(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 2, an_experiment("bad", execution=Execution(max_failed_trials=1)))
    clock.seconds += 1
    submit(queue, 1, an_experiment("good"))
    queue.fail(claim_one(queue).lease, NOT_FINITE)

    assert claim_one(queue).experiment_id == "good"
    assert claim(queue) == ()


def test_nothing_is_begun_after_a_pause_was_acknowledged(
    engine: Engine, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets one write at a time: a pause comes before a claim or after it")
    submit(queue, 1)
    in_line = turns.in_line

    def then_pause(*args: Any, **options: Any) -> list[turns.Candidate]:
        found = in_line(*args, **options)
        queue.pause(experiment_id="exp1")
        return found

    monkeypatch.setattr(turns, "in_line", then_pause)

    assert claim(queue) == ()


def test_claim_waits_for_an_ending_and_misses_nothing(engine: Engine, queue: Queue) -> None:
    submit(queue, 2)
    first = claim_one(queue)
    with ThreadPoolExecutor(1) as beside:
        with writing(engine) as connection:
            endings.lock(connection, first.lease)
            second = beside.submit(claim_one, queue)
            time.sleep(0.3)
            assert not second.done()

        assert second.result(timeout=30).number == 2


def test_claim_passes_over_a_paused_trial(queue: Queue) -> None:
    submit(queue, 3)
    queue.pause(trial_id="exp1-0002")

    assert numbers(claim(queue, limit=3)) == [1, 3]


def test_each_claim_raises_the_fence(engine: Engine, queue: Queue) -> None:
    submit(queue, 1)
    queue.release(claim_one(queue).lease)

    assert claim_one(queue).lease == Lease("exp1-0001", 2)
    assert attempts_of(engine, "exp1-0001") == [(1, "cancelled"), (2, "running")]


def test_claimers_at_once_never_get_the_same_trial(queue: Queue) -> None:
    submit(queue, 60)

    def claim_until_empty(worker: int) -> list[Lease]:
        mine: list[Lease] = []
        while claims := claim(queue, limit=3, worker=f"w{worker}"):
            mine += [claim.lease for claim in claims]
        return mine

    with ThreadPoolExecutor(8) as threads:
        taken = [lease for mine in threads.map(claim_until_empty, range(8)) for lease in mine]

    assert len(taken) == len(set(taken)) == 60


def test_demand_counts_waiting_trials_by_size_first_in_line_first(
    queue: Queue, clock: SettableClock
) -> None:
    gpu = Resources(cpus=2, gpus=0.25)
    submit(queue, 3, an_experiment("one"))
    clock.seconds += 1
    submit(queue, 2, an_experiment("two", resources=gpu, execution=Execution(priority=5)))
    claim_one(queue)

    assert list(queue.demand().items()) == [(gpu, 2), (ONE_CPU, 2)]


def test_demand_leaves_out_paused_experiments(queue: Queue) -> None:
    submit(queue, 2, an_experiment(execution=Execution(max_failed_trials=1)))
    queue.fail(claim_one(queue).lease, NOT_FINITE)

    assert queue.demand() == {}


def test_demand_leaves_out_trials_that_no_worker_may_have_now(
    queue: Queue, clock: SettableClock
) -> None:
    submit(queue, 3)
    queue.fail(claim_one(queue).lease, ERROR)
    queue.pause(trial_id="exp1-0002")
    assert queue.demand() == {ONE_CPU: 1}

    clock.seconds += 60
    queue.resume(trial_id="exp1-0002")

    assert queue.demand() == {ONE_CPU: 3}


def test_demand_puts_an_experiment_first_that_has_no_trial_under_way(
    queue: Queue, clock: SettableClock
) -> None:
    gpu = Resources(cpus=2, gpus=0.25)
    submit(queue, 9, an_experiment("wide"))
    clock.seconds += 1
    submit(queue, 2, an_experiment("late", resources=gpu))
    claim(queue, limit=3)
    assert list(queue.demand()) == [gpu, ONE_CPU]

    claim(queue, resources=gpu)

    assert list(queue.demand()) == [ONE_CPU, gpu]  # by age: no worker is sent home for each trial


def test_claiming_reads_the_index_of_queued_trials_and_none_that_have_ended(
    engine: Engine, queue: Queue
) -> None:
    submit(queue, 1000)
    with writing(engine) as connection:
        ended = update(trial).where(trial.c.number <= 900).values(state=TrialState.FAILED)
        connection.execute(ended)
        connection.execute(text("ANALYZE"))
    with statements_of(engine) as said:
        queue.demand()
        claim_one(queue)
    looking = [(sql, args) for sql, args in said if "is_paused" in sql and sql[:6] == "SELECT"]

    assert len(looking) == 3  # the demand, who is in line, and who is next
    for sql, args in looking:
        plan = plan_of(engine, sql, args)
        assert "ix_trial_queued" in plan, plan
        assert not re.search(r"Seq Scan on trial|SCAN trial|experiment_id_number", plan), plan


def test_known_results_and_their_checkpoints_are_looked_up_by_their_keys(
    engine: Engine, queue: Queue
) -> None:
    submit(queue, 1000, an_experiment(keep=("best", "last")))
    ids = [f"exp1-{number:04d}" for number in range(1, 1001)]
    best = {"kind": "best", "fence": 1, "epoch": 1, "step": 1, "path": "best.pt"}
    about = {"sha256": "a" * 64, "num_bytes": 1, "created_at": 0.0}
    with writing(engine) as connection:
        connection.execute(update(trial).values(state=TrialState.SUCCEEDED))
        rows = [{"trial_id": trial_id, **best, **about} for trial_id in ids]
        connection.execute(insert(checkpoint), rows)
        (asked,) = connection.execute(select(experiment)).mappings()
        others = [{**asked, "id": f"other{number}"} for number in range(500)]
        connection.execute(insert(experiment), others)
    for name, keep in [("exp2", ("last",)), ("exp3", ("best",))]:
        same = [replace(each, content_key="exp1-key-0") for each in some_trials(1, of=name)]
        queue.submit(an_experiment(name, execution=Execution(reuse=False), keep=keep), same)
    with writing(engine) as connection:
        connection.execute(update(trial).values(shared_key=trial.c.content_key))
        connection.execute(text("ANALYZE"))
    with statements_of(engine) as said:
        queue.demand()
        claim_one(queue)
        assert queue.reuse_known() == 1
    looking = [(sql, args) for sql, args in said if "source.content_key" in sql]

    assert len(looking) == 6  # the three above; who may take a result, which are those, and whose
    for sql, args in looking:
        plan = plan_of(engine, sql, args)
        assert "ix_trial_content_key_state" in plan, plan
        scans = r"Seq Scan on (trial|checkpoint|experiment asking)|SCAN (source|checkpoint|asking)"
        assert not re.search(scans, plan), plan


def test_claim_passes_over_no_trial_that_has_ended(queue: Queue, engine: Engine) -> None:
    queue.submit(an_experiment(execution=Execution(strategy="auto")), some_trials(3000))
    with writing(engine) as connection:
        connection.execute(
            update(trial).where(trial.c.number <= 2000).values(state=TrialState.SUCCEEDED)
        )
        if engine.dialect.name == "postgresql":  # which does so by itself; SQLite never does
            connection.execute(text("ANALYZE"))
    with statements_of(engine) as said:
        assert len(claim(queue, limit=16)) == 16
    picks = [(sql, args) for sql, args in said if "trial.spent" in sql]

    assert len(picks) == 2  # the next in line, and those that go with it
    for sql, args in picks:
        plan = plan_of(engine, sql, args)
        assert re.search(r"ix_trial_queued(_shape)?\b", plan), plan
        assert not re.search(r"TEMP B-TREE|Sort|Seq Scan on trial", plan), plan


@contextmanager
def statements_of(engine: Engine) -> Generator[list[tuple[str, Any]]]:
    """Give the list of what is executed meanwhile, each with its values."""
    said: list[tuple[str, Any]] = []

    def listen(_: Any, __: Any, sql: str, args: Any, *___: Any) -> None:
        said.append((sql, args))

    event.listen(engine, "before_cursor_execute", listen)
    yield said
    event.remove(engine, "before_cursor_execute", listen)


def plan_of(engine: Engine, sql: str, args: Any) -> str:
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    with reading(engine) as connection:
        return "\n".join(str(row) for row in connection.exec_driver_sql(explain + sql, args))
