"""PostgreSQL killed (all of it, with SIGKILL) and restarted while trials are claimed and ended.

What was acknowledged is there afterwards, once; what was not is done again, and counts once.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import pytest

from experiments.states import TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store, persist
from tests.postgres import PostgresServer, server_or_skip
from tests.samples import attempts_of, claim, points_of, submit, success_of

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

NUM_KILLS = 3
PATIENCE_SECONDS = 60.0

_T = TypeVar("_T")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with server_or_skip(durable=True) as server:
        yield server


@dataclass
class Labourer:
    """Claims and succeeds trials until none is left, whatever the server does."""

    url: str
    name: str
    acknowledged: dict[str, float] = field(default_factory=dict)
    num_outages: int = 0

    def work(self) -> None:
        engine = open_store(self.url, create=False)
        queue, results = Queue(engine, orchestrator=self.name), Results(engine)
        while claims := self._persist(lambda: self._claim(queue)):
            for each in claims:
                lease, trial_id = each.lease, each.lease.trial_id
                value = len(self.acknowledged) + lease.fence / 1000
                said = [(lease, points_of(trial_id, value))]
                self._persist(partial(results.record, said))
                if self._persist(partial(queue.succeed, lease, success_of(trial_id, value))):
                    self.acknowledged[trial_id] = value
        engine.dispose()

    def _claim(self, queue: Queue) -> tuple[Claim, ...]:
        queue.release_strays([])  # of a claim whose answer was lost
        return claim(queue, worker=f"{self.name}/worker-1")

    def _persist(self, action: Callable[[], _T]) -> _T:
        return persist(action, seconds=PATIENCE_SECONDS, waiting=self._count)

    def _count(self, *_: object) -> None:
        self.num_outages += 1


def test_kills_of_the_server_lose_and_double_no_result(server: PostgresServer) -> None:
    num_trials = 160
    url = server.create_database("crashes")
    engine = open_store(url, create=True)
    submit(Queue(engine), num_trials)
    labourers = [Labourer(url, f"aaaaaaa{number}") for number in range(3)]
    threads = [threading.Thread(target=each.work) for each in labourers]
    for thread in threads:
        thread.start()

    def done() -> int:
        return sum(len(each.acknowledged) for each in labourers)

    for number in range(1, NUM_KILLS + 1):
        wait_for(done, number * num_trials // (NUM_KILLS + 1))
        server.kill()
        server.start()
    for thread in threads:
        thread.join()

    assert any(each.num_outages for each in labourers)
    acknowledged: dict[str, float] = {}
    for each in labourers:
        assert not acknowledged.keys() & each.acknowledged.keys(), "a trial has two results"
        acknowledged |= each.acknowledged
    rows = persist(lambda: Results(engine).trials("exp1"), seconds=PATIENCE_SECONDS)
    assert {row.id: row.objective_value for row in rows} == acknowledged
    assert len(rows) == num_trials
    assert {row.state for row in rows} == {TrialState.SUCCEEDED}
    for row in rows:
        assert [state for _, state in attempts_of(engine, row.id)].count("succeeded") == 1
    engine.dispose()


def wait_for(count: Callable[[], int], wanted: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while count() < wanted:
        assert time.monotonic() < deadline, f"stuck at {count()}"
        time.sleep(0.01)
