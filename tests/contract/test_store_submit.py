"""Submitting: an experiment and its trials are in the store, once, or not at all."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, exc, select

from experiments.planning.cost import Work
from experiments.states import TrialState
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.queueing.submission import Submission
from orchestrator.store.database import open_store, reading
from orchestrator.store.tables import trial
from tests.samples import (
    SOME_WORK,
    a_config,
    an_experiment,
    everything_in,
    some_trials,
    submit,
)


def test_submit_records_all_trials_as_queued(queue: Queue, results: Results) -> None:
    done = queue.submit(an_experiment(), some_trials(3), git_commit="abc123")

    assert done == Submission("exp1", new=True)
    (experiment,) = results.experiments()
    assert (experiment.name, experiment.num_trials) == ("grid", 3)
    assert experiment.task == "classification"
    assert (experiment.git_commit, experiment.tags) == ("abc123", {"team": "vision"})
    trials = results.trials("exp1")
    assert [trial.number for trial in trials] == [1, 2, 3]
    assert {trial.state for trial in trials} == {TrialState.QUEUED}
    assert trials[0].params == {"lr": 0.1, "model": "tiny"}


def test_submit_keeps_the_configuration_exactly(queue: Queue, results: Results) -> None:
    submit(queue, 1)

    assert results.config("exp1-0001") == a_config()


def test_submit_keeps_what_a_trial_will_take(engine: Engine, queue: Queue) -> None:
    submit(queue, 1)

    with reading(engine) as connection:
        data = connection.execute(select(trial.c.work)).scalar_one()
    assert Work.from_data(data) == SOME_WORK


def test_submit_again_changes_nothing(engine: Engine, queue: Queue) -> None:
    submit(queue, 2)
    before = everything_in(engine)

    again = queue.submit(an_experiment(), some_trials(2))

    assert again == Submission("exp1", new=False)
    assert everything_in(engine) == before


def test_submit_that_fails_half_way_leaves_nothing(engine: Engine, queue: Queue) -> None:
    doubled = [*some_trials(2), *some_trials(1)]

    with pytest.raises(exc.IntegrityError):
        queue.submit(an_experiment(), doubled)

    assert not any(everything_in(engine).values())


def test_twenty_submits_at_once_make_one_experiment(url: str) -> None:
    def submit_from_a_process_of_its_own(_: int) -> bool:
        engine = open_store(url, create=True)
        try:
            return Queue(engine).submit(an_experiment(), some_trials(5)).new
        finally:
            engine.dispose()

    with ThreadPoolExecutor(20) as threads:
        news = list(threads.map(submit_from_a_process_of_its_own, range(20)))

    assert sorted(news) == [False] * 19 + [True]
    engine = open_store(url, create=False)
    assert len(Results(engine).trials("exp1")) == 5
    engine.dispose()


def test_database_clock_is_near_this_machines(
    engine: Engine, utc_seconds: Callable[[], float]
) -> None:
    queue = Queue(engine)
    before = utc_seconds()

    submit(queue, 1)

    (experiment,) = Results(engine).experiments()
    assert before - 1.0 < experiment.created_at < utc_seconds() + 1.0


def test_variant_has_each_seed_once(queue: Queue) -> None:
    first, second = some_trials(2)
    twin = replace(second, variant=first.variant, seed=first.seed)

    with pytest.raises(exc.IntegrityError):
        queue.submit(an_experiment(), [first, twin])


def test_large_submission_is_known_to_the_planner_of_queries(queue: Queue, engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite keeps no statistics of a store")
    queue.submit(an_experiment("exp7"), some_trials(1500, of="exp7"))

    query = "SELECT count(*) FROM pg_stats WHERE tablename = 'trial' AND attname = 'state'"
    with reading(engine) as connection:
        assert connection.exec_driver_sql(query).scalar_one() == 1
