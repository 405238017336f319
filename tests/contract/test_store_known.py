"""What a plan reads of the store: results there are, what they took, what was learned."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from experiments.errors import NotFoundError
from orchestrator.measurements.known import Known
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import writing
from orchestrator.store.tables import trial
from tests.samples import (
    ERROR,
    SOME_WORK,
    SettableClock,
    a_config,
    an_experiment,
    claim,
    claim_one,
    saved,
    some_trials,
    submit,
    success_of,
)

MACHINE = "box/1cpu"


@pytest.fixture
def known(engine: Engine) -> Known:
    return Known(engine)


def finish(
    queue: Queue,
    clock: SettableClock,
    *,
    seconds: float = 10.0,
    machine: str = MACHINE,
    accuracy: float = 0.9,
) -> Lease:
    lease = claim_one(queue).lease
    clock.seconds += seconds
    event = replace(success_of(lease.trial_id, accuracy), duration_seconds=seconds)
    assert queue.succeed(lease, event, machine=machine)
    return lease


def test_finished_keys_are_those_of_succeeded_trials(
    queue: Queue, clock: SettableClock, known: Known
) -> None:
    submit(queue, 3)
    finish(queue, clock)
    assert queue.fail(claim_one(queue).lease, replace(ERROR))
    keys = [f"exp1-key-{index}" for index in range(3)]
    many = [f"none-{index}" for index in range(2500)]
    assert known.finished([*keys, *many], keep=()) == {keys[0]}
    assert known.finished([*keys, *many], keep=("last",)) == set()
    assert known.finished([], keep=()) == set()


def test_an_experiment_is_known_by_its_whole_id(queue: Queue, known: Known) -> None:
    submit(queue, 1)
    assert known.is_submitted("exp1")
    assert not known.is_submitted("exp")


def test_samples_are_the_latest_successes_of_one_machine(
    queue: Queue, clock: SettableClock, known: Known
) -> None:
    submit(queue, 4)
    for seconds, machine in [(10.0, MACHINE), (20.0, "box/2cpu"), (30.0, MACHINE)]:
        finish(queue, clock, seconds=seconds, machine=machine)
    samples = known.samples(MACHINE, plain=False)
    assert [sample.seconds for sample in samples] == [30.0, 10.0]
    assert {(sample.work, sample.peak_memory_bytes) for sample in samples} == {
        (SOME_WORK, 3 * 2**30)
    }
    assert known.samples("another/1cpu", plain=False) == []


def test_sample_is_what_training_took_and_not_what_a_claim_lasted(
    queue: Queue, clock: SettableClock, known: Known
) -> None:
    submit(queue, 2)
    claims = claim(queue, limit=2)
    clock.seconds += 10
    ways = ("fused, 2 members", "plain, contiguous")
    for each, strategy in zip(claims, ways, strict=True):
        event = replace(success_of(each.lease.trial_id), strategy=strategy)
        assert queue.succeed(each.lease, event, machine=MACHINE)
        clock.seconds += 1

    plain, fused = known.samples(MACHINE, plain=False)

    assert (fused.seconds, fused.peak_memory_bytes) == (1.5, None)
    assert (plain.seconds, plain.peak_memory_bytes) == (1.5, 3 * 2**30)
    assert known.samples(MACHINE, plain=True) == [plain]


def test_only_trials_that_succeeded_at_once_are_samples(
    queue: Queue, clock: SettableClock, known: Known
) -> None:
    submit(queue, 1)
    queue.lose(claim_one(queue).lease, "gone")
    clock.seconds += 1000
    finish(queue, clock)
    assert known.samples(MACHINE, plain=False) == []


def test_results_that_were_reused_are_known_but_no_samples(
    queue: Queue, clock: SettableClock, known: Known
) -> None:
    submit(queue, 1)
    finish(queue, clock)
    (taker,) = some_trials(1, of="exp2")
    exp2 = an_experiment("exp2", keep=())
    assert queue.submit(exp2, [replace(taker, content_key="exp1-key-0")]).num_reused == 1

    assert known.finished(["exp1-key-0"], keep=()) == {"exp1-key-0"}
    assert len(known.samples(MACHINE, plain=False)) == 1


def test_a_source_that_reuses_a_result_gives_the_weights_of_the_trained_one(
    queue: Queue, results: Results, clock: SettableClock, known: Known, tmp_path: Path
) -> None:
    submit(queue, 1)
    learned(queue, results, clock, tmp_path, accuracy=0.95)
    (taker,) = some_trials(1, of="exp2")
    queue.submit(an_experiment("exp2", name="again"), [replace(taker, content_key="exp1-key-0")])

    source = known.source("again")

    assert source.trial_id == "exp2-0001"
    assert Path(source.path).read_bytes() == b"weights"


def test_work_that_another_version_wrote_is_left_out(
    engine: Engine, queue: Queue, clock: SettableClock, known: Known
) -> None:
    submit(queue, 2)
    finish(queue, clock)
    finish(queue, clock)
    with writing(engine) as connection:
        old = update(trial).where(trial.c.number == 1)
        connection.execute(old.values(work={"steps": 3}))
    assert len(known.samples(MACHINE, plain=False)) == 1


def learned(
    queue: Queue, results: Results, clock: SettableClock, folder: Path, *, accuracy: float
) -> Lease:
    """Let a trial succeed with a checkpoint of its selected epoch."""
    lease = claim_one(queue).lease
    path = folder / f"{lease.trial_id}.pt"
    path.write_bytes(b"weights")
    results.record([(lease, replace(saved(lease.trial_id, epoch=2), path=str(path)))])
    clock.seconds += 1
    assert queue.succeed(lease, success_of(lease.trial_id, accuracy))
    return lease


def test_a_source_is_an_experiments_best_trial_or_the_trial_of_an_id(
    queue: Queue, results: Results, clock: SettableClock, known: Known, tmp_path: Path
) -> None:
    submit(queue, 2)
    first = learned(queue, results, clock, tmp_path, accuracy=0.95)
    second = learned(queue, results, clock, tmp_path, accuracy=0.9)
    best = known.source("grid")
    assert (best.trial_id, best.sha256) == (first.trial_id, "a" * 64)
    assert Path(best.path).read_bytes() == b"weights"
    assert best.architecture == a_config().architecture
    assert known.source("exp1").trial_id == first.trial_id
    assert known.source(second.trial_id).trial_id == second.trial_id


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grid", r"no trial of grid \(exp1\) has succeeded yet"),
        ("exp1-0001", r"exp1-0001 \(queued\) has no weights of a selected epoch"),
        ("nothing", "'nothing' is neither an experiment nor a trial"),
    ],
)
def test_a_source_without_weights_is_not_found(
    queue: Queue, known: Known, name: str, message: str
) -> None:
    submit(queue, 1, an_experiment())
    with pytest.raises(NotFoundError, match=message):
        known.source(name)


def test_weights_that_were_deleted_are_not_found(
    queue: Queue, results: Results, clock: SettableClock, known: Known, tmp_path: Path
) -> None:
    submit(queue, 1)
    lease = learned(queue, results, clock, tmp_path, accuracy=0.9)
    (tmp_path / f"{lease.trial_id}.pt").unlink()
    with pytest.raises(NotFoundError, match="the weights of exp1-0001 are gone: no file"):
        known.source("grid")
