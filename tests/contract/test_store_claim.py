"""Claiming: who is next, and that a trial is never in two hands."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from experiments.records import CheckpointPolicy, Execution, Resources
from experiments.states import TrialState
from orchestrator.claiming import Claim
from orchestrator.leases import Lease
from orchestrator.queue import Queue
from orchestrator.results import Results
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
    submit,
)


def numbers(claims: tuple[Claim, ...]) -> list[int]:
    return [claim.number for claim in claims]


def test_claim_gives_all_that_a_worker_needs(queue: Queue) -> None:
    submit(queue, 1, an_experiment(execution=Execution(timeout=90.0)))

    assert claim_one(queue) == Claim(
        lease=Lease("exp1-0001", 1),
        experiment_id="exp1",
        number=1,
        variant="v1",
        config=a_config(),
        checkpoints=CheckpointPolicy(every_epochs=2, keep=("best",)),
        timeout_seconds=90.0,
    )


def test_claim_leases_the_trial_and_opens_an_attempt(
    engine: Engine, queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1)

    claim_one(queue)

    trial = results.trial("exp1-0001")
    assert (trial.state, trial.worker) == (TrialState.LEASED, "w1")
    assert (trial.started_at, trial.num_attempts) == (clock.seconds, 1)
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


def test_claim_passes_over_a_paused_experiment(queue: Queue, clock: SettableClock) -> None:
    submit(queue, 2, an_experiment("bad", execution=Execution(max_failed_trials=1)))
    clock.seconds += 1
    submit(queue, 1, an_experiment("good"))
    queue.fail(claim_one(queue).lease, NOT_FINITE)

    assert claim_one(queue).experiment_id == "good"
    assert claim(queue) == ()


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
