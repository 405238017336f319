"""Incidents: what went wrong is told once, with what was done about it, and not for ever."""

import pytest
from sqlalchemy import Engine, select

from experiments.records import Execution
from experiments.states import IncidentKind
from orchestrator.measurements.results import Results
from orchestrator.queueing import incidents
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import reading, writing
from orchestrator.store.tables import incident
from tests.samples import (
    NOT_FINITE,
    SettableClock,
    an_experiment,
    claim_one,
    epoch_saved,
    submit,
)

ID = "exp1-0001"


def told(results: Results) -> list[tuple[IncidentKind, str | None, str]]:
    return [(row.kind, row.trial_id, row.message) for row in results.incidents()]


def test_lost_worker_is_told_with_the_epoch_that_its_trial_goes_on_from(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease
    for epoch in (3, 4):
        results.record([(lease, each) for each in epoch_saved(ID, epoch)])

    queue.lose(lease, "killed by SIGKILL")

    message = "w1: killed by SIGKILL; queued again, goes on from epoch 4"
    assert told(results) == [(IncidentKind.WORKER_LOST, ID, message)]
    (row,) = results.incidents(experiment_id="exp1")
    assert row.experiment_id == "exp1"


def test_lost_worker_whose_trial_has_no_checkpoint_is_told_so(
    queue: Queue, results: Results
) -> None:
    submit(queue, 1)

    queue.lose(claim_one(queue).lease, "killed", out_of_memory=True)

    assert told(results) == [
        (IncidentKind.WORKER_LOST, ID, "w1: killed; queued again, starts anew")
    ]


def test_quarantine_is_told(queue: Queue, results: Results) -> None:
    submit(queue, 1, an_experiment(execution=Execution(max_losses=0)))

    queue.lose(claim_one(queue).lease, "killed")

    (quarantined, lost) = told(results)
    assert quarantined[:2] == (IncidentKind.TRIAL_QUARANTINED, ID)
    assert lost[2] == "w1: killed; not tried again: its worker was lost"


def test_automatic_pause_is_told_once(queue: Queue, results: Results) -> None:
    submit(queue, 3, an_experiment(execution=Execution(max_failed_trials=1)))
    leases = [claim_one(queue).lease for _ in range(2)]

    for lease in leases:
        queue.fail(lease, NOT_FINITE)

    ((kind, trial_id, message),) = told(results)
    assert (kind, trial_id) == (IncidentKind.EXPERIMENT_PAUSED, None)
    assert message.startswith("1 trial failed (execution.max_failed_trials: 1)")
    assert "`trainyard resume grid`" in message


def test_loss_said_twice_is_told_once(queue: Queue, results: Results) -> None:
    submit(queue, 1)
    lease = claim_one(queue).lease

    for _ in range(2):
        queue.lose(lease, "killed")

    assert len(told(results)) == 1


def test_note_said_again_because_its_answer_was_lost_is_one_incident(
    queue: Queue, results: Results, clock: SettableClock
) -> None:
    for _ in range(2):
        queue.note(IncidentKind.CLUSTER_LOST, "the raylet died")
        queue.note(IncidentKind.CLUSTER_LOST, "the raylet died", experiment_id="exp1")
    assert len(told(results)) == 2

    clock.seconds += incidents.SAME_SECONDS + 1
    queue.note(IncidentKind.CLUSTER_LOST, "the raylet died")

    assert len(told(results)) == 3


@pytest.mark.parametrize("message", ["a\0b", "a\ud800b", "\x1b[31mred", "x" * 10_000])
def test_whatever_a_process_says_can_be_noted(queue: Queue, results: Results, message: str) -> None:
    for _ in range(2):
        queue.note(IncidentKind.CLUSTER_LOST, message)

    ((_, _, kept),) = told(results)
    assert kept
    assert kept.isprintable()
    assert len(kept) <= 2000


def test_of_very_many_incidents_the_oldest_go(
    engine: Engine, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incidents, "KEPT", 150)
    kind = IncidentKind.WORKER_LOST
    with writing(engine) as connection:
        for number in range(420):
            incidents.note(connection, kind, f"{number}", now=clock.seconds)

    with reading(engine) as connection:
        kept = connection.scalars(select(incident.c.message).order_by(incident.c.id)).all()

    assert 150 <= len(kept) < 250
    assert kept[-1] == "419"
    assert list(kept) == [str(number) for number in range(420 - len(kept), 420)]
