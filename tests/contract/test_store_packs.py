"""Packs: which trials are claimed together, and what one transaction for many results keeps."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Engine, insert, select, text, update

from experiments.events import Failure
from experiments.records import Execution, Resources, Trial
from experiments.states import FailureKind, TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.outbox import Outbox
from orchestrator.queueing.outcomes import Success
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import reading, writing
from orchestrator.store.tables import checkpoint, trial
from tests.contract.test_store_claim import plan_of, statements_of
from tests.samples import (
    SOME_WORK,
    SettableClock,
    an_experiment,
    attempts_of,
    claim,
    epoch_saved,
    some_trials,
    submit,
    success_of,
)

GPU = Resources(cpus=1, gpus=1.0)
OUT_OF_MEMORY = Failure(FailureKind.OUT_OF_MEMORY, "OutOfMemoryError", "no memory")
STALLED = Failure(FailureKind.STALLED, "Stalled", "no progress for 60 s")


def of_batch_sizes(*sizes: int) -> list[Trial]:
    """Give trials whose batches have these sizes: one shape for each size."""
    trials = some_trials(len(sizes))
    return [
        replace(each, config=replace(each.config, batch_size=size))
        for each, size in zip(trials, sizes, strict=True)
    ]


def numbers(claims: Sequence[Claim]) -> list[int]:
    return [each.number for each in claims]


def successes_of(claims: Sequence[Claim]) -> list[Success]:
    return [Success(each.lease, success_of(each.lease.trial_id), "box") for each in claims]


def test_pack_is_the_next_in_line_and_those_of_its_shape(queue: Queue) -> None:
    queue.submit(an_experiment(), of_batch_sizes(32, 64, 32, 64, 64, 32))

    assert numbers(claim(queue, limit=2)) == [1, 3]
    assert numbers(claim(queue, limit=9)) == [2, 4, 5]
    assert numbers(claim(queue, limit=9)) == [6]


def test_a_pack_is_one_share_in_the_turns_of_experiments(queue: Queue) -> None:
    submit(queue, 40)
    submit(queue, 9, an_experiment("exp2", execution=Execution(strategy="plain")))

    taken = [claim(queue, 16, worker=f"w{number}") for number in range(4)]

    assert [(each[0].experiment_id, len(each)) for each in taken] == [
        ("exp1", 16),
        ("exp2", 1),
        ("exp1", 16),  # each has one worker, and this one was served longer ago
        ("exp2", 1),
    ]


def test_pack_is_no_larger_than_pays(queue: Queue) -> None:
    submit(queue, 40)
    submit(queue, 70, an_experiment("exp2", resources=GPU))

    assert [len(claim(queue, limit=64)) for _ in range(4)] == [16, 16, 8, 0]
    claims = claim(queue, limit=99, resources=GPU)
    assert (len(claims), {each.strategy.members for each in claims}) == (64, {64})


def test_trial_is_trained_as_a_member_though_it_is_the_only_one(queue: Queue) -> None:
    submit(queue, 1)  # else its numbers would depend on who else waits

    assert [each.strategy.members for each in claim(queue, limit=16)] == [16]


def test_plain_strategy_and_large_work_go_one_by_one(queue: Queue) -> None:
    submit(queue, 3, an_experiment(execution=Execution(strategy="plain")))
    large = replace(SOME_WORK, multiply_adds=10**13)
    trials = [replace(each, work=large) for each in some_trials(3, of="exp2")]
    queue.submit(an_experiment("exp2"), trials)

    claims = [claim(queue, limit=9) for _ in range(6)]

    assert [(len(each), each[0].strategy.members) for each in claims] == [(1, 1)] * 6


def test_work_of_another_version_goes_alone(engine: Engine, queue: Queue) -> None:
    submit(queue, 2)
    with writing(engine) as connection:
        connection.execute(update(trial).values(work={"steps": 3}))

    assert [each.strategy.members for each in claim(queue, limit=9)] == [1]


@pytest.mark.parametrize(("failure", "members"), [(OUT_OF_MEMORY, 1), (STALLED, 16)])
def test_trial_whose_next_failure_with_others_is_its_last_goes_alone(
    queue: Queue, clock: SettableClock, failure: Failure, members: int
) -> None:
    submit(queue, 4)
    first, second, *others = claim(queue, limit=4)
    for each in (first, second):
        queue.fail(each.lease, failure)
    for each in others:
        queue.release(each.lease)
    clock.seconds += 60

    packs = [claim(queue, limit=9) for _ in range(3)]

    assert [numbers(pack) for pack in packs] == [[1], [2], [3, 4]]
    assert [pack[0].strategy.members for pack in packs] == [members, members, 16]


def test_poison_trial_takes_no_other_into_quarantine(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 4)
    for _ in range(20):
        clock.seconds += 60
        claims = claim(queue, limit=9)
        if 2 in numbers(claims):  # it kills its worker, and all that are with it
            for each in claims:
                queue.lose(each.lease, "killed")
        else:
            queue.succeed_all(successes_of(claims))

    states = [row.state for row in results.trials("exp1")]
    assert states == [
        TrialState.QUARANTINED if number == 2 else TrialState.SUCCEEDED for number in (1, 2, 3, 4)
    ]


def test_trials_of_one_key_are_not_in_one_pack(queue: Queue) -> None:
    trials = [replace(each, content_key="same") for each in some_trials(3)]
    queue.submit(an_experiment(), trials)

    assert numbers(claim(queue, limit=9)) == [1]


def test_pack_takes_no_more_statements_than_a_trial(engine: Engine, queue: Queue) -> None:
    submit(queue, 16)
    with statements_of(engine) as said:
        claims = claim(queue, limit=16)
        assert queue.succeed_all(successes_of(claims)) == [True] * 16

    submit(queue, 1, an_experiment("exp2"))
    with statements_of(engine) as said_of_one:
        (only,) = claim(queue, limit=16)
        assert queue.succeed(only.lease, success_of("exp2-0001"))
    assert [sql for sql, _ in said].count("BEGIN IMMEDIATE") in (
        0,
        2,
    )  # 0: PostgreSQL's is not seen
    assert len(said) == len(said_of_one)  # however many results there are


def test_stale_lease_among_results_spoils_no_other(
    engine: Engine, queue: Queue, results: Results, outbox: Outbox
) -> None:
    submit(queue, 3)
    claims = claim(queue, limit=3)
    queue.lose(claims[1].lease, "silent")
    (again,) = claim(queue, limit=3)
    successes = successes_of(claims)
    accuracies = [replace(each, event=success_of(each.lease.trial_id, 0.5)) for each in successes]

    assert queue.succeed_all(successes) == [True, False, True]
    assert queue.succeed_all(accuracies) == [True, False, True]

    rows = results.trials("exp1")
    assert [row.state.value for row in rows] == ["succeeded", "leased", "succeeded"]
    assert [row.objective_value for row in rows] == [0.9, None, 0.9]
    assert [row.strategy for row in rows] == ["plain", None, "plain"]
    assert attempts_of(engine, "exp1-0002") == [(1, "fenced"), (2, "running")]
    told = {entry.key for entry in outbox.pending(99)}
    assert told == {"exp1-0001", "exp1-0003", "exp1/v1", "exp1/v3"}
    assert queue.succeed_all(successes_of([again])) == [True]
    assert queue.succeed_all([]) == []


def test_results_of_several_experiments_come_at_once(queue: Queue, results: Results) -> None:
    submit(queue, 2)
    submit(queue, 2, an_experiment("exp2"))
    claims = [*claim(queue, limit=2), *claim(queue, limit=2)]

    assert queue.succeed_all(successes_of(claims[::-1])) == [True] * 4
    states = [row.state for name in ("exp1", "exp2") for row in results.trials(name)]
    assert states == [TrialState.SUCCEEDED] * 4


def test_each_result_keeps_its_own_checkpoints(queue: Queue, results: Results) -> None:
    submit(queue, 2)  # they keep the best: of epoch 2, which is selected
    claims = claim(queue, limit=2)
    for each in claims:
        said = [*epoch_saved(each.lease.trial_id, 1), *epoch_saved(each.lease.trial_id, 2)]
        results.record([(each.lease, event) for event in said])

    queue.succeed_all(successes_of(claims))

    for each in claims:
        kept = results.checkpoints(each.lease.trial_id)
        assert [(row.kind, row.epoch) for row in kept] == [("best", 2)]


def test_strategy_is_recorded_and_is_not_a_reused_trials(queue: Queue, results: Results) -> None:
    submit(queue, 1, an_experiment(keep=()))
    (only,) = claim(queue)
    fused = replace(success_of("exp1-0001"), strategy="fused, 16 members")
    queue.succeed(only.lease, fused)
    same = [replace(some_trials(1, of="exp2")[0], content_key="exp1-key-0")]
    assert queue.submit(an_experiment("exp2", keep=()), same).num_reused == 1

    assert results.trial("exp1-0001").strategy == "fused, 16 members"
    assert results.trial("exp2-0001").strategy is None


def test_pack_shape_is_written_unless_the_strategy_is_plain(engine: Engine, queue: Queue) -> None:
    queue.submit(an_experiment(), of_batch_sizes(32, 32, 64))
    submit(queue, 1, an_experiment("exp2", execution=Execution(strategy="plain")))

    with reading(engine) as connection:
        query = select(trial.c.pack_shape).order_by(trial.c.experiment_id, trial.c.number)
        one, same, other, alone = connection.scalars(query)
    assert one is not None
    assert (one == same, one == other, alone) == (True, False, None)


def test_leases_are_looked_up_by_their_trials_and_none_that_have_ended(
    engine: Engine, queue: Queue, results: Results
) -> None:
    submit(queue, 1000)
    claims = claim(queue, limit=16)
    for each in claims:
        said = [*epoch_saved(each.lease.trial_id, 1), *epoch_saved(each.lease.trial_id, 2)]
        results.record([(each.lease, event) for event in said])
    about = {"kind": "best", "fence": 1, "epoch": 1, "step": 1, "path": "best.pt"}
    about |= {"sha256": "a" * 64, "num_bytes": 1, "created_at": 0.0}
    others = [{"trial_id": f"exp1-{number:04d}", **about} for number in range(17, 1001)]
    with writing(engine) as connection:
        connection.execute(insert(checkpoint), others)
        connection.execute(text("ANALYZE"))
    with statements_of(engine) as executed:
        queue.renew([each.lease for each in claims], lease_seconds=60.0)
        queue.succeed_all(successes_of(claims))
    looking = [(sql, args) for sql, args in executed if "(?, ?" in sql or "trial.id IN" in sql]

    assert len(looking) >= 3
    for sql, args in looking:
        plan = plan_of(engine, sql, args)
        assert not re.search(r"Seq Scan on trial|SCAN (trial|checkpoint)", plan), plan


def test_pack_is_looked_for_in_the_index_of_shapes(engine: Engine, queue: Queue) -> None:
    queue.submit(an_experiment(), of_batch_sizes(*(8 + number % 100 for number in range(1000))))
    with writing(engine) as connection:
        connection.execute(text("ANALYZE"))
    with statements_of(engine) as said:
        assert len(claim(queue, limit=64)) == 10
    looking = [(sql, args) for sql, args in said if "is_paused" in sql and sql[:6] == "SELECT"]

    assert len(looking) == 3  # who is in line, who is next, and who goes with it
    plan = plan_of(engine, *looking[2])
    assert "ix_trial_queued_shape" in plan, plan
    assert not re.search(r"Seq Scan on trial|SCAN trial", plan), plan
