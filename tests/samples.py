"""Small experiments and trials, and what workers say of them."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Double, Engine, literal, select

from experiments.architectures.architecture import Architecture
from experiments.events import CheckpointSaved, Failure, MetricPoint, PointsMeasured, TrialSucceeded
from experiments.planning.cost import Work
from experiments.records import (
    CheckpointPolicy,
    DataConfig,
    Execution,
    Experiment,
    Objective,
    OptimizerConfig,
    Resources,
    ScheduleConfig,
    Trial,
    TrialConfig,
)
from experiments.states import FailureKind
from orchestrator.measurements.results import Results
from orchestrator.queueing.claiming import Claim
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import reading
from orchestrator.store.tables import attempt, metadata

ONE_CPU = Resources(cpus=1, gpus=0.0)
ERROR = Failure(FailureKind.ERROR, "ValueError", "shapes differ \0 \ud800", "Traceback ...")
NOT_FINITE = Failure(FailureKind.NOT_FINITE, "NotFinite", "loss is nan at step 7")
SOME_WORK = Work(
    epochs=2,
    steps=20,
    layer_runs=160,
    multiply_adds=10**8,
    elements=10**7,
    updated_parameters=10**6,
    memory_bytes=10**7,
)


class SettableClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> ColumnElement[float]:
        return literal(self.seconds, Double)


def a_config(*, seed: int = 0) -> TrialConfig:
    return TrialConfig(
        task="classification",
        architecture=Architecture.from_data(
            {"name": "tiny", "input_shape": [1, 8, 8], "layers": ["flatten", {"linear": 10}]}
        ),
        data=DataConfig("digits", "0" * 64),
        loss="cross_entropy",
        optimizer=OptimizerConfig("sgd", 0.1),
        schedule=ScheduleConfig(),
        epochs=2,
        batch_size=32,
        seed=seed,
        objective=Objective(),
    )


def an_experiment(
    experiment_id: str = "exp1",
    *,
    name: str = "grid",
    execution: Execution | None = None,
    resources: Resources = ONE_CPU,
    objective: Objective | None = None,
    keep: tuple[str, ...] = ("best",),
) -> Experiment:
    return Experiment(
        id=experiment_id,
        name=name,
        spec={"name": name},
        text=f"name: {name}\n",
        tags={"team": "vision"},
        objective=objective or Objective(),
        resources=resources,
        execution=execution or Execution(),
        checkpoints=CheckpointPolicy(every_epochs=2, keep=keep),
    )


def some_trials(num: int, *, of: str = "exp1", num_seeds: int = 1) -> list[Trial]:
    """Give trials 1..num; variants are `v1`, `v2`, ... of `num_seeds` seeds each."""
    return [
        Trial(
            id=f"{of}-{index + 1:04d}",
            number=index + 1,
            variant=f"v{index // num_seeds + 1}",
            seed=index % num_seeds,
            params={"lr": 0.1, "model": "tiny"},
            config=a_config(seed=index % num_seeds),
            content_key=f"{of}-key-{index}",
            work=SOME_WORK,
        )
        for index in range(num)
    ]


def submit(queue: Queue, num: int, experiment: Experiment | None = None, **more: Any) -> None:
    experiment = experiment or an_experiment()
    queue.submit(experiment, some_trials(num, of=experiment.id, **more))


def claim(
    queue: Queue, limit: int = 1, *, worker: str = "w1", resources: Resources = ONE_CPU
) -> tuple[Claim, ...]:
    return queue.claim(worker=worker, limit=limit, lease_seconds=60.0, resources=resources)


def claim_one(queue: Queue) -> Claim:
    (only,) = claim(queue)
    return only


def an_orchestrator(
    engine: Engine,
    clock: SettableClock,
    orchestrator: str,
    *,
    host: str = "here",
    process: str | None = None,
) -> Queue:
    """Give the queue of an orchestrator that works on the store."""
    queue = Queue(engine, now=clock, orchestrator=orchestrator)
    queue.enter(host=host, process=process or f"{orchestrator}:1")
    return queue


def success_of(trial_id: str, accuracy: float = 0.9, **metrics: float) -> TrialSucceeded:
    return TrialSucceeded(
        trial_id,
        {"val/accuracy": accuracy, **metrics},
        selected_epoch=2,
        duration_seconds=1.5,
        confusion=((30, 2), (1, 17)),
        peak_memory_bytes=3 * 2**30,
    )


def points_of(trial_id: str, *values: float, metric: str = "train/loss") -> PointsMeasured:
    points = (
        MetricPoint(metric, epoch, 10 * epoch, value, 1_700_000_000_000 + epoch)
        for epoch, value in enumerate(values, start=1)
    )
    return PointsMeasured(trial_id, tuple(points))


def saved(trial_id: str, kind: str = "best", *, epoch: int = 1) -> CheckpointSaved:
    return CheckpointSaved(trial_id, kind, epoch, 10 * epoch, f"{kind}.pt", "a" * 64, 123)


def epoch_saved(trial_id: str, epoch: int) -> list[CheckpointSaved]:
    """Give what a worker says of an epoch's checkpoints."""
    return [saved(trial_id, kind, epoch=epoch) for kind in ("best", "last")]


def learn_one(
    queue: Queue, results: Results, accuracy: float = 0.9, *, machine: str | None = None
) -> str:
    """Let the next trial succeed with its selected epoch saved, and give its id.

    Of the two checkpoints those stay on record that its experiment keeps.
    """
    lease = claim_one(queue).lease
    results.record([(lease, each) for each in epoch_saved(lease.trial_id, 2)])
    assert queue.succeed(lease, success_of(lease.trial_id, accuracy), machine=machine)
    return lease.trial_id


def attempts_of(engine: Engine, trial_id: str) -> list[tuple[int, str]]:
    query = select(attempt.c.fence, attempt.c.state).where(attempt.c.trial_id == trial_id)
    with reading(engine) as connection:
        return [(row.fence, row.state) for row in connection.execute(query.order_by("fence"))]


def everything_in(engine: Engine) -> Mapping[str, list[tuple[Any, ...]]]:
    """Give every row of every table, to see that nothing changed."""
    with reading(engine) as connection:
        return {
            table.name: [
                tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }
