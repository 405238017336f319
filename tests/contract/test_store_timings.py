"""How trials are trained is what was measured on their machine, and is measured where it pays."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine, func, select, update

from experiments.events import Failure, StrategiesTimed
from experiments.planning.strategies import PLAIN, Calibration, Strategy
from experiments.records import Execution
from experiments.states import FailureKind
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.queue import Queue
from orchestrator.queueing.timings import Site
from orchestrator.store.database import reading, writing
from orchestrator.store.tables import strategy_timing
from tests.samples import ONE_CPU, SOME_WORK, SettableClock, an_experiment, some_trials

BOX = Site("box/1cpu", "torch 2.15.0, kernels 1")
THUMB, BEST = Strategy(16), Strategy(4)
FOUND = StrategiesTimed(
    "exp1-0001",
    {"fused, 16 members": 0.003, "plain": 0.004, "fused, 4 members": 0.002, "broken": None},
    "fused, 4 members",
    num_steps=1200,
    is_thorough=True,
)


def submit(queue: Queue, num: int = 60, experiment_id: str = "exp1", **execution: str) -> None:
    """Submit trials of one shape, of 20 steps each: 40 of them are enough to be worth a look."""
    how = Execution(**({"strategy": "auto"} | execution))  # type: ignore[arg-type]
    experiment = an_experiment(experiment_id, execution=how)
    queue.submit(experiment, some_trials(num, of=experiment_id))


def claim(queue: Queue, limit: int = 64, *, site: Site | None = BOX) -> tuple[Claim, ...]:
    return queue.claim(worker="w1", limit=limit, lease_seconds=60.0, resources=ONE_CPU, site=site)


def ways(claims: tuple[Claim, ...]) -> set[tuple[Strategy, Calibration | None]]:
    """Give how the trials of a pack are to be trained: one way for all of them."""
    return {(each.strategy, each.calibration) for each in claims}


def test_the_first_to_claim_a_shape_is_asked_to_measure_and_nobody_waits_for_that(
    queue: Queue,
) -> None:
    submit(queue)
    assert ways(claim(queue)) == {(THUMB, Calibration(SOME_WORK, 0, 60))}
    assert ways(claim(queue)) == {(THUMB, None)}


def test_what_was_measured_is_what_the_next_claim_does(queue: Queue) -> None:
    submit(queue)
    claim(queue)
    queue.remember_strategies(FOUND, site=BOX)

    claims = claim(queue)

    assert (len(claims), ways(claims)) == (4, {(BEST, None)})


def test_it_serves_other_experiments_and_orchestrators(engine: Engine, queue: Queue) -> None:
    submit(queue)
    claim(queue)
    queue.remember_strategies(FOUND, site=BOX)
    submit(queue, experiment_id="exp2")

    other = Queue(engine, now=SettableClock(), orchestrator="o2")

    claims = claim(other)

    assert {each.experiment_id for each in claims} == {"exp2"}
    assert ways(claims) == {(BEST, None)}


@pytest.mark.parametrize(
    "elsewhere", [replace(BOX, machine="barn/1cpu"), replace(BOX, engine="torch 2.16.0, kernels 1")]
)
def test_other_machines_and_versions_are_measured_anew(queue: Queue, elsewhere: Site) -> None:
    submit(queue)
    claim(queue)
    queue.remember_strategies(FOUND, site=BOX)

    assert ways(claim(queue, site=elsewhere)) == {(THUMB, Calibration(SOME_WORK, 0, 44))}


def test_a_restart_asks_again_for_what_was_not_found(engine: Engine, queue: Queue) -> None:
    submit(queue)
    claim(queue)

    again = Queue(engine, now=SettableClock(), orchestrator="o2")

    assert ways(claim(again)) == {(THUMB, Calibration(SOME_WORK, 0, 44))}


def test_a_trial_that_goes_alone_keeps_nobody_from_measuring(engine: Engine, queue: Queue) -> None:
    submit(queue)
    for each in claim(queue):
        queue.fail(each.lease, Failure(FailureKind.STALLED, "Stalled", "no progress for 60 s"))
    clock = SettableClock()
    clock.seconds += 60
    again = Queue(engine, now=clock, orchestrator="o2")

    alone, others = claim(again), claim(again)
    while others and others[0].goes_alone:
        others = claim(again)

    assert (alone[0].goes_alone, ways(alone)) == (True, {(THUMB, None)})
    assert others[0].calibration is not None


def test_few_trials_are_not_worth_measuring(queue: Queue) -> None:
    submit(queue, 39)
    assert ways(claim(queue)) == {(THUMB, None)}


def test_shapes_are_measured_each_for_itself(queue: Queue) -> None:
    trials = [
        replace(each, config=replace(each.config, batch_size=32 * (1 + each.number % 2)))
        for each in some_trials(100)
    ]
    queue.submit(an_experiment(), trials)
    asked = Calibration(SOME_WORK, 0, 50)
    assert [ways(claim(queue)) for _ in range(3)] == [
        {(THUMB, asked)},
        {(THUMB, asked)},
        {(THUMB, None)},
    ]


def test_plain_is_never_measured_nor_changed(queue: Queue) -> None:
    submit(queue)
    claim(queue)
    queue.remember_strategies(FOUND, site=BOX)
    submit(queue, experiment_id="exp2", strategy="plain")

    assert ways(claim(queue)) == {(PLAIN, None)}


def test_who_claims_without_a_site_goes_by_the_rule(queue: Queue) -> None:
    submit(queue)
    assert ways(claim(queue, site=None)) == {(THUMB, None)}


def test_what_ran_out_of_memory_is_trained_plainly_whatever_was_measured(
    queue: Queue, clock: SettableClock
) -> None:
    submit(queue)
    (first,) = claim(queue, 1)
    queue.remember_strategies(FOUND, site=BOX)
    queue.fail(first.lease, Failure(FailureKind.OUT_OF_MEMORY, "OutOfMemoryError", "no memory"))
    clock.seconds += 60

    assert ways(claim(queue)) == {(PLAIN, None)}


def test_what_was_found_first_stays(queue: Queue) -> None:
    submit(queue)
    claim(queue)
    queue.remember_strategies(FOUND, site=BOX)
    queue.remember_strategies(replace(FOUND, chosen="plain", num_steps=10**6), site=BOX)

    assert ways(claim(queue)) == {(BEST, None)}


def test_a_look_in_a_hurry_is_made_good_for_a_much_larger_experiment(queue: Queue) -> None:
    submit(queue)
    claim(queue)
    queue.remember_strategies(replace(FOUND, is_thorough=False), site=BOX)
    assert ways(claim(queue)) == {(BEST, None)}
    queue.cancel(experiment_id="exp1")
    submit(queue, 239, experiment_id="exp2")
    assert ways(claim(queue, 1)) == {(BEST, None)}
    queue.cancel(experiment_id="exp2")
    submit(queue, 240, experiment_id="exp3")

    assert ways(claim(queue, 1)) == {(BEST, Calibration(SOME_WORK, 0, 240))}
    better = replace(FOUND, trial_id="exp3-0001", chosen="plain", num_steps=4800)
    queue.remember_strategies(replace(better, num_steps=4799), site=BOX)
    assert ways(claim(queue, 1)) == {(BEST, None)}
    queue.remember_strategies(better, site=BOX)
    assert ways(claim(queue, 1)) == {(PLAIN, None)}


def test_a_strategy_of_another_version_counts_as_none(engine: Engine, queue: Queue) -> None:
    submit(queue)
    claim(queue)
    queue.remember_strategies(FOUND, site=BOX)
    with writing(engine) as connection:
        connection.execute(update(strategy_timing).values(chosen="folded, 7 members"))

    assert ways(claim(queue)) == {(THUMB, None)}


def test_saying_it_twice_is_saying_it_once_and_all_times_are_kept(
    engine: Engine, queue: Queue, clock: SettableClock
) -> None:
    submit(queue)
    claim(queue)
    for _ in range(2):
        queue.remember_strategies(FOUND, site=BOX)
        clock.seconds += 1
    with reading(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(strategy_timing)) == 1
        row = connection.execute(select(strategy_timing)).one()
    assert (row.machine, row.engine) == (BOX.machine, BOX.engine)
    assert row.step_seconds == FOUND.step_seconds
    assert row.measured_at == clock.seconds - 2
