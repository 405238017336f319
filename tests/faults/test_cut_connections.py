"""A connection that is cut around COMMIT: asked again, each write counts once.

The server is a real one, the proxy between loses a request, an answer, or both. What the
store holds afterwards must be, to the last row, what it holds where nothing was cut.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, delete

from experiments.errors import StoreUnavailableError
from experiments.events import TrialBegun, TrialNoted
from experiments.records import Execution
from experiments.states import IncidentKind, TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.leases import Lease
from orchestrator.queueing.outbox import Outbox
from orchestrator.queueing.outcomes import Success
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store, writing
from orchestrator.store.tables import metadata
from tests.faulty_proxy import IN_DOUBT, LOST_ANSWER, LOST_REQUEST, Cut, FaultyProxy, Pass
from tests.postgres import PostgresServer
from tests.samples import (
    ERROR,
    NOT_FINITE,
    SettableClock,
    an_experiment,
    claim,
    claim_one,
    everything_in,
    points_of,
    saved,
    submit,
    success_of,
)

pytestmark = pytest.mark.postgres

ID = "exp1-0001"
LEASE = Lease(ID, 1)
PACK = [
    Success(Lease(trial_id, 1), success_of(trial_id), "box")
    for trial_id in (f"exp1-{number:04d}" for number in (1, 2, 3))
]


@dataclass(frozen=True)
class Store:
    """One store, reached in one way."""

    engine: Engine
    clock: SettableClock

    @property
    def queue(self) -> Queue:
        return Queue(self.engine, now=self.clock, orchestrator="aaaaaaaa")

    @property
    def results(self) -> Results:
        return Results(self.engine, now=self.clock)

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.engine, now=self.clock)


Act = Callable[[Store], object]


def _leased(store: Store) -> None:
    store.queue.enter(host="here", process="1:1")
    submit(store.queue, 3, an_experiment(execution=Execution(retries=0, max_failed_trials=3)))
    assert claim_one(store.queue).lease == LEASE


def _packed(store: Store) -> None:
    store.queue.enter(host="here", process="1:1")
    submit(store.queue, 3)
    assert [each.lease for each in claim(store.queue, limit=3)] == [each.lease for each in PACK]


def _overdue(store: Store) -> None:
    _leased(store)
    store.clock.seconds += 61


def _failed(store: Store) -> None:
    _leased(store)
    store.queue.fail(LEASE, NOT_FINITE)


def _paused(store: Store) -> None:
    _leased(store)
    store.queue.pause(experiment_id="exp1")


def _orphaned(store: Store) -> None:
    _leased(store)
    other = Queue(store.engine, now=store.clock, orchestrator="bbbbbbbb")
    other.enter(host="here", process="2:2")
    claim_one(other)


def _nothing(_: Store) -> None:
    pass


WRITES: Mapping[str, tuple[Act, Act]] = {
    "submit": (_nothing, lambda s: submit(s.queue, 3)),
    "enter": (_nothing, lambda s: s.queue.enter(host="here", process="1:1")),
    "leave": (_leased, lambda s: s.queue.leave()),
    "enter_again": (_overdue, lambda s: s.queue.enter(host="here", process="1:1")),
    "renew": (_leased, lambda s: s.queue.renew([LEASE], lease_seconds=600.0)),
    "succeed": (_leased, lambda s: s.queue.succeed(LEASE, success_of(ID))),
    "succeed_all": (_packed, lambda s: s.queue.succeed_all(PACK)),
    "fail": (_leased, lambda s: s.queue.fail(LEASE, ERROR)),
    "lose": (_leased, lambda s: s.queue.lose(LEASE, "killed")),
    "release": (_leased, lambda s: s.queue.release(LEASE)),
    "abandon": (_leased, lambda s: s.queue.abandon(LEASE, "Ray died")),
    "expire": (_overdue, lambda s: s.queue.expire()),
    "take_back": (
        _orphaned,
        lambda s: s.queue.take_back(alone=False, host="here", is_running=lambda p: p == "1:1"),
    ),
    "release_strays": (_leased, lambda s: s.queue.release_strays([])),
    "cancel": (_leased, lambda s: s.queue.cancel(experiment_id="exp1")),
    "pause": (_leased, lambda s: s.queue.pause(experiment_id="exp1")),
    "pause_trial": (_leased, lambda s: s.queue.pause(trial_id="exp1-0002")),
    "resume": (_paused, lambda s: s.queue.resume(experiment_id="exp1")),
    "retry": (_failed, lambda s: s.queue.retry(experiment_id="exp1")),
    "note": (_leased, lambda s: s.queue.note(IncidentKind.CLUSTER_LOST, "Ray died")),
    "record": (
        _leased,
        lambda s: s.results.record(
            [
                (LEASE, TrialBegun(ID, 0, 0)),
                (LEASE, points_of(ID, 0.5, 0.4)),
                (LEASE, saved(ID, "best")),
                (LEASE, saved(ID, "last")),
                (LEASE, TrialNoted(ID, IncidentKind.CHECKPOINT_REJECTED, "altered")),
            ]
        ),
    ),
}


@pytest.fixture(scope="module")
def direct(new_postgres_url: Callable[[], str]) -> Iterator[Engine]:
    engine = open_store(new_postgres_url(), create=True)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def proxy(postgres_server: PostgresServer) -> Iterator[FaultyProxy]:
    socket = postgres_server.folder / f".s.PGSQL.{postgres_server.port}"
    with FaultyProxy(str(socket)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def proxied(direct: Engine, proxy: FaultyProxy) -> Iterator[Engine]:
    name = direct.url.database
    url = f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/{name}?sslmode=disable"
    engine = open_store(url, create=False)
    yield engine
    engine.dispose()


def held_after(
    direct: Engine, acting: Engine, name: str, act: Callable[[Act, Store], object]
) -> Any:
    """Do one write in a fresh store, and give all that the store holds then."""
    with writing(direct) as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    clock = SettableClock()
    prepare, write = WRITES[name]
    prepare(Store(direct, clock))
    act(write, Store(acting, clock))
    return _comparable(everything_in(direct))


def _comparable(held: Mapping[str, list[tuple[Any, ...]]]) -> Any:
    """Leave out what is drawn: the delay of a retry, and the numbers that sequences give."""
    tables = {table.name: table for table in metadata.sorted_tables}
    left_out = {"trial": {"available_at"}, "incident": {"id"}, "outbox": {"id"}}
    kept = {}
    for name, rows in held.items():
        columns = [column.name for column in tables[name].columns]
        hidden = left_out.get(name, set())
        kept[name] = [
            tuple(value for column, value in zip(columns, row, strict=True) if column not in hidden)
            for row in rows
        ]
    return kept


@pytest.mark.parametrize("moment", [LOST_REQUEST, IN_DOUBT, LOST_ANSWER])
@pytest.mark.parametrize("name", WRITES)
def test_write_asked_again_after_a_cut_counts_once(
    direct: Engine, proxied: Engine, proxy: FaultyProxy, name: str, moment: Any
) -> None:
    def twice(write: Act, store: Store) -> None:
        proxy.fault = Cut(moment, containing=b"COMMIT")
        with pytest.raises(StoreUnavailableError):
            write(store)
        assert proxy.num_cut == 1
        proxy.fault = Pass()
        write(store)

    disturbed = held_after(direct, proxied, name, twice)
    undisturbed = held_after(direct, proxied, name, lambda write, store: write(store))

    assert disturbed == undisturbed


@pytest.mark.parametrize("moment", [LOST_REQUEST, LOST_ANSWER])
def test_claim_whose_answer_was_lost_is_given_back(
    direct: Engine, proxied: Engine, proxy: FaultyProxy, moment: Any
) -> None:
    known: list[Lease] = []

    def claim_twice(_: Act, store: Store) -> None:
        proxy.fault = Cut(moment, containing=b"COMMIT")
        with pytest.raises(StoreUnavailableError):
            claim_one(store.queue)
        proxy.fault = Pass()
        known.append(claim_one(store.queue).lease)
        assert store.queue.release_strays(known) == (moment == LOST_ANSWER)

    held_after(direct, proxied, "submit", lambda write, store: write(store))
    store = Store(proxied, SettableClock())
    claim_twice(_nothing, store)

    states = [row.state for row in store.results.trials("exp1")]
    assert sorted(states) == [TrialState.LEASED, TrialState.QUEUED, TrialState.QUEUED]
    assert store.queue.succeed(known[0], success_of(known[0].trial_id))
