"""The queue on random schedules: on SQLite a few in every test run, on both in `make chaos`.

Three self-tests take a check away from the queue, and the simulation must notice.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import ColumnElement

from orchestrator.measurements import results
from orchestrator.queueing import endings, outbox
from orchestrator.queueing.leases import Lease
from orchestrator.store.tables import IS_LEASED, trial
from tests.simulation.machine import QueueMachine
from tests.simulation.yard import a_yard, fast_folder

NUM_SCHEDULES = 30
NUM_STEPS = 60


@contextmanager
def schedules(url: str) -> Generator[Callable[..., int]]:
    """Give a function that runs so many schedules of so many steps on a store."""
    with a_yard(url) as yard:

        class Machine(QueueMachine):
            pass

        Machine.yard = yard

        def run(num: int, *, steps: int, shrink: bool = True, seed: int = 0) -> int:
            Machine.num_steps = 0
            Machine._hypothesis_internal_use_seed = seed
            phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=num,
                    stateful_step_count=steps,
                    database=None,
                    deadline=None,
                    derandomize=seed == 0,
                    phases=phases,
                    suppress_health_check=list(HealthCheck),
                ),
            )
            return Machine.num_steps

        yield run


@pytest.fixture
def sqlite_schedules(tmp_path: Path) -> Iterator[Callable[..., int]]:
    with (
        TemporaryDirectory(dir=fast_folder(tmp_path)) as folder,
        schedules(f"sqlite:///{folder}/store.db") as run,
    ):
        yield run


def test_random_schedules_keep_the_promise(sqlite_schedules: Callable[..., int]) -> None:
    num_steps = sqlite_schedules(NUM_SCHEDULES, steps=NUM_STEPS)
    print(f"{NUM_SCHEDULES} schedules, {num_steps} steps, no violation")
    assert num_steps > NUM_SCHEDULES * NUM_STEPS / 3


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_two_thousand_schedules_on_sqlite(sqlite_schedules: Callable[..., int]) -> None:
    assert_full(sqlite_schedules, "SQLite")


@pytest.mark.chaos
@pytest.mark.postgres
@pytest.mark.timeout(7200)
def test_two_thousand_schedules_on_postgresql(new_postgres_url: Callable[[], str]) -> None:
    with schedules(new_postgres_url()) as run:
        assert_full(run, "PostgreSQL")


def assert_full(run: Callable[..., int], title: str) -> None:
    started = time.monotonic()
    num_steps = run(2000, steps=100)
    seconds = time.monotonic() - started
    print(f"{title}: 2000 schedules, {num_steps} steps, 0 violations, {seconds:.0f} s")


def _holds_any(lease: Lease) -> ColumnElement[bool]:
    return (trial.c.id == lease.trial_id) & IS_LEASED


def test_simulation_notices_endings_that_ask_for_no_fence(
    sqlite_schedules: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endings, "holds", _holds_any)
    assert_noticed(sqlite_schedules)


def test_simulation_notices_measurements_that_ask_for_no_fence(
    sqlite_schedules: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "valid_leases", lambda _, asked: frozenset(asked))
    assert_noticed(sqlite_schedules)


def test_simulation_notices_a_mirror_that_is_not_told(
    sqlite_schedules: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "enqueue", lambda *_, **__: None)
    assert_noticed(sqlite_schedules)


def assert_noticed(run: Callable[..., int]) -> None:
    with pytest.raises(AssertionError):
        run(200, steps=50, shrink=False)
