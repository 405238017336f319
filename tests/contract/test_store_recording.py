"""Recording: what workers say of trials that go on, each thing once and under its fence."""

import math

from sqlalchemy import Engine, select

from experiments.events import MetricPoint, PointsMeasured, TrialBegun, TrialNoted
from experiments.states import IncidentKind
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import reading
from orchestrator.store.tables import checkpoint
from tests.samples import SettableClock, claim_one, points_of, saved, submit

ID = "exp1-0001"
NO_ROOM = TrialNoted(ID, IncidentKind.CHECKPOINT_NOT_WRITTEN, "epoch 3: no space left on device")


def claim_again(queue: Queue, results: Results, *said: PointsMeasured) -> Lease:
    """Give the lease of a second attempt, after a first one that said something."""
    submit(queue, 1)
    first = claim_one(queue).lease
    results.record([(first, each) for each in said])
    queue.lose(first, "killed")
    return claim_one(queue).lease


def curve(results: Results) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in results.curves(trial_id=ID)]


def on_record(engine: Engine) -> list[tuple[str, int, int]]:
    """Give the trial's checkpoints: (kind, fence, epoch)."""
    columns = checkpoint.c.kind, checkpoint.c.fence, checkpoint.c.epoch
    query = select(*columns).where(checkpoint.c.trial_id == ID).order_by(*columns)
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_attempt_remembers_the_epoch_that_it_goes_on_from(queue: Queue, results: Results) -> None:
    second = claim_again(queue, results)
    assert [row.begun_epoch for row in results.attempts(ID)] == [None, None]

    results.record([(second, TrialBegun(ID, epoch=4, step=40))])

    assert [row.begun_epoch for row in results.attempts(ID)] == [None, 4]


def test_attempt_counts_from_its_beginning_not_from_its_claim(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease  # it waits in its worker
    began_at = clock.seconds + 5
    for now in (began_at, began_at + 7):  # the first reply was lost
        clock.seconds = now
        results.record([(lease, TrialBegun(ID, epoch=0, step=0))])

    assert [row.started_at for row in results.attempts(ID)] == [began_at]


def test_beginning_takes_out_what_was_measured_after_the_checkpoint(
    queue: Queue, results: Results
) -> None:
    second = claim_again(queue, results, points_of(ID, 1.0, 2.0, 3.0))
    begun = TrialBegun(ID, epoch=1, step=10)

    results.record([(second, begun)])
    assert curve(results) == [(10, 1.0)]

    again = PointsMeasured(ID, (MetricPoint("train/loss", 2, 20, 2.5, 1),))
    results.record([(second, begun), (second, again)])
    results.record([(second, begun), (second, again)])  # its first reply was lost
    assert curve(results) == [(10, 1.0), (20, 2.5)]


def test_of_a_step_told_twice_in_one_breath_the_last_counts(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    told = [(7, 1.0), *((step, math.inf) for step in range(8, 12_000)), (7, 2.0)]
    points = tuple(MetricPoint("train/loss", 1, step, value, 1) for step, value in told)

    results.record([(lease, PointsMeasured(ID, points))])

    assert curve(results) == [(7, 2.0), *told[1:-1]]


def test_beginning_anew_takes_out_all(queue: Queue, results: Results) -> None:
    second = claim_again(queue, results, points_of(ID, 1.0, 2.0))

    results.record([(second, TrialBegun(ID, epoch=0, step=0))])

    assert curve(results) == []


def test_beginning_takes_out_nothing_of_other_trials(queue: Queue, results: Results) -> None:
    submit(queue, 2)
    first, other = claim_one(queue).lease, claim_one(queue).lease
    results.record([(other, points_of(other.trial_id, 1.0))])
    queue.lose(first, "killed")

    results.record([(claim_one(queue).lease, TrialBegun(ID, epoch=0, step=0))])

    assert len(results.curves(trial_id=other.trial_id)) == 1


def test_beginning_under_a_stale_fence_changes_nothing(queue: Queue, results: Results) -> None:
    second = claim_again(queue, results, points_of(ID, 1.0))
    results.record([(second, points_of(ID, 5.0, 6.0))])
    stale = Lease(ID, second.fence - 1)

    assert results.record([(stale, TrialBegun(ID, epoch=0, step=0)), (stale, NO_ROOM)]) == {stale}

    assert curve(results) == [(10, 5.0), (20, 6.0)]
    assert results.attempts(ID)[0].begun_epoch is None
    assert NO_ROOM.message not in [row.message for row in results.incidents()]


def test_newest_two_checkpoints_of_each_kind_stay_on_record(
    engine: Engine, queue: Queue, results: Results
) -> None:
    submit(queue, 2)
    first, other = claim_one(queue).lease, claim_one(queue).lease
    results.record([(other, saved(other.trial_id, "last"))])
    for epoch in (1, 2, 3):
        results.record([(first, saved(ID, "best")), (first, saved(ID, "last", epoch=epoch))])
    assert on_record(engine) == [("best", 1, 1), ("last", 1, 2), ("last", 1, 3)]

    queue.lose(first, "killed")
    second = claim_one(queue).lease
    results.record([(second, saved(ID, "last", epoch=epoch)) for epoch in (1, 2)])

    # By attempt first: a later attempt that began anew is at an earlier epoch, and is right.
    assert on_record(engine) == [("best", 1, 1), ("last", 2, 1), ("last", 2, 2)]
    assert {row.kind: (row.fence, row.epoch) for row in results.checkpoints(ID)} == {
        "best": (1, 1),
        "last": (2, 2),
    }
    assert len(results.checkpoints(other.trial_id)) == 1


def test_checkpoint_said_twice_is_on_record_once(
    engine: Engine, queue: Queue, results: Results
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    for _ in range(2):
        results.record([(lease, saved(ID, "last", epoch=2)), (lease, saved(ID, "last", epoch=4))])

    assert on_record(engine) == [("last", 1, 2), ("last", 1, 4)]
    (known,) = results.recorded_files([ID, "none"])  # who is not there is left out
    assert (known.fence, known.files) == (1, ((1, "last.pt"), (1, "last.pt")))


def test_note_is_an_incident_of_the_trial_and_its_experiment_once(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    for _ in range(2):
        results.record([(lease, NO_ROOM)])

    (row,) = results.incidents()

    assert (row.kind, row.message, row.at) == (NO_ROOM.kind, NO_ROOM.message, clock.seconds)
    assert (row.experiment_id, row.trial_id) == ("exp1", ID)
