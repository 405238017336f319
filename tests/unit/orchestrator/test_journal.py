"""What is kept while the store cannot be used, and what a person is told of it."""

import logging
from collections.abc import Iterable, Sequence
from typing import cast

import pytest

from experiments.errors import StoreError, StoreUnavailableError
from experiments.events import Said
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.outcomes import Success
from orchestrator.scheduling.journal import (
    FIRST_RETRY_SECONDS,
    LONGEST_RETRY_SECONDS,
    REMIND_SECONDS,
    Journal,
    Outage,
)
from orchestrator.store.outages import StoreOutageError
from tests.samples import points_of, success_of

AWAY = StoreOutageError("sqlite:///x: the disk is \x1b[31mfull", mend="make room")
LEASE = Lease("t1", 1)


class PlainStore:
    """Takes what is recorded; refuses while it is away, once it has done the work or before."""

    def __init__(self) -> None:
        self.written: list[object] = []
        self.away = False
        self.num_calls = 0
        self.stale: frozenset[Lease] = frozenset()

    def record(self, batch: Iterable[tuple[Lease, Said]]) -> frozenset[Lease]:
        self.num_calls += 1
        if self.away:
            raise AWAY
        self.written += [said for _, said in batch]
        return self.stale

    def succeed(self, successes: Sequence[Success]) -> None:
        self.num_calls += 1
        if self.away:
            raise AWAY
        self.written += successes

    def act(self, name: str) -> None:
        if self.away:
            raise AWAY
        self.written.append(name)


@pytest.fixture
def store() -> PlainStore:
    return PlainStore()


@pytest.fixture
def journal(store: PlainStore) -> Journal:
    return Journal(cast(Results, store), store.succeed)


def test_what_is_kept_is_written_once_in_order(store: PlainStore, journal: Journal) -> None:
    said = [points_of("t1", 0.5), points_of("t1", 0.25)]
    journal.add(lambda: store.act("end of t1"))
    for each in said:
        journal.say(LEASE, each)
    journal.write()
    journal.write()
    assert store.written == [*said, "end of t1"]
    assert store.num_calls == 1


def test_nothing_is_lost_while_the_store_is_away(store: PlainStore, journal: Journal) -> None:
    journal.say(LEASE, points_of("t1", 0.5))
    journal.add(lambda: store.act("end of t1"))
    store.away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailableError):
            journal.write()
    store.away = False
    journal.write()
    assert store.written == [points_of("t1", 0.5), "end of t1"]


def test_what_was_written_before_the_store_went_is_not_written_again(
    store: PlainStore, journal: Journal
) -> None:
    def cut() -> None:
        store.away = True

    journal.add(lambda: store.act("first"))
    journal.add(cut)
    journal.add(lambda: store.act("second"))
    with pytest.raises(StoreUnavailableError):
        journal.write()
    store.away = False
    journal.write()
    assert store.written == ["first", "second"]


def test_a_long_absence_is_written_in_several_transactions(
    store: PlainStore, journal: Journal
) -> None:
    for _ in range(2500):
        journal.say(LEASE, points_of("t1", 0.5))
    journal.write()
    assert (store.num_calls, len(store.written)) == (3, 2500)


def test_results_are_written_together_after_what_was_said_and_before_other_endings(
    store: PlainStore, journal: Journal
) -> None:
    results = [Success(Lease(f"t{n}", 1), success_of(f"t{n}"), "box") for n in range(64)]
    journal.add(lambda: store.act("end of t99"))
    for each in results:
        journal.succeed(each)
    journal.say(LEASE, points_of("t1", 0.5))
    assert len(journal) == 66
    store.away = True
    with pytest.raises(StoreUnavailableError):
        journal.write()
    store.away = False

    journal.write()

    assert store.written == [points_of("t1", 0.5), *results, "end of t99"]
    assert store.num_calls == 3  # of which one was refused
    assert len(journal) == 0


def test_stale_leases_are_given(store: PlainStore, journal: Journal) -> None:
    store.stale = frozenset({LEASE})
    journal.say(LEASE, points_of("t1", 0.5))
    assert journal.write() == {LEASE}
    assert journal.write() == frozenset()


class Clock:
    def __init__(self) -> None:
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(outage: Outage) -> None:
    with outage.noticed():
        raise AWAY


def test_the_store_is_tried_again_ever_more_rarely(clock: Clock) -> None:
    outage, pauses = Outage(clock), []
    for _ in range(8):
        fail(outage)
        began_at = clock.seconds
        while not outage.is_due:
            clock.seconds += 0.05
        pauses.append(clock.seconds - began_at)
    assert pauses[0] == pytest.approx(FIRST_RETRY_SECONDS, abs=0.06)
    assert pauses[-1] == pytest.approx(LONGEST_RETRY_SECONDS, abs=0.06)
    assert pauses == sorted(pauses)


def test_what_is_no_outage_is_raised(clock: Clock) -> None:
    outage = Outage(clock)
    with pytest.raises(StoreError, match="not a store"), outage.noticed():
        raise StoreError("not a store")
    assert not outage.is_on


def test_an_outage_is_told_at_once_and_every_half_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage(clock)
    for _ in range(240):
        fail(outage)
        clock.seconds += 0.5
    assert len(caplog.messages) == 120 / REMIND_SECONDS
    assert caplog.messages[0] == (
        "sqlite:///x: the disk is \\x1b[31mfull; make room; work goes on by itself then; trials "
        "under way go on, nothing new is begun; trying again"
    )
    assert caplog.records[0].levelno == logging.WARNING


def test_what_passed_at_the_next_try_is_not_told(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage(clock)
    fail(outage)
    assert outage.account() is None
    outage.end()
    assert outage.is_due
    assert caplog.messages == []


def test_when_it_is_over_its_length_and_reason_are_told(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage(clock)
    fail(outage)
    clock.seconds += 14.0
    fail(outage)
    account = outage.account()
    assert account is not None
    assert account.startswith("the store could not be used for 14 s (sqlite:///x: the disk is")
    assert "31mfull); what was" in account  # what to do about it is over, too
    outage.end()
    assert caplog.messages[-1] == account
    assert outage.account() is None
    assert outage.is_due
