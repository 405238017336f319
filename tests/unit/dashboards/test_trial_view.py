"""One trial's page, drawn from a real store."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dashboards.trial_view import trial_view
from experiments.events import TrialBegun
from experiments.records import InitConfig, Trial
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from tests.samples import (
    NOT_FINITE,
    an_experiment,
    claim_one,
    points_of,
    saved,
    some_trials,
    success_of,
)


class Store:
    """One trial, and its page."""

    def __init__(self, folder: Path) -> None:
        self.engine = open_store(f"sqlite:///{folder / 'store.db'}", create=True)
        self.queue = Queue(self.engine)
        self.results = Results(self.engine)

    def submit(self, trial: Trial) -> None:
        self.queue.submit(an_experiment(), [trial], class_names=("cat", "dog"))

    def page(self, *, width: int = 100, source: str = "") -> str:
        (row,) = self.results.trials("exp1")
        out = StringIO()
        console = Console(file=out, width=width, color_system=None)
        for part in trial_view(
            row,
            self.results.config(row.id),
            attempts=self.results.attempts(row.id),
            points=self.results.curves(trial_id=row.id),
            checkpoints=self.results.checkpoints(row.id),
            confusion=self.results.confusion(row.id),
            incidents=self.results.incidents(trial_id=row.id),
            source=source,
            now=time.time(),
            width=width,
        ):
            console.print(part)
        return out.getvalue()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.engine.dispose()


def test_page_holds_configuration_result_curve_checkpoint_and_attempts(store: Store) -> None:
    (trial,) = some_trials(1)
    store.submit(trial)
    lease = claim_one(store.queue).lease
    measured, best = points_of(trial.id, 0.9, 0.5, 0.1), saved(trial.id, epoch=2)
    store.results.record([(lease, measured), (lease, best)])
    event = success_of(trial.id, 0.75, **{"val/loss": 0.5, "test/accuracy": 0.7})
    store.queue.succeed(lease, event, machine="box/1cpu")

    lines = store.page().splitlines()

    assert lines[0] == "exp1-0001  v1, seed 0: succeeded"
    assert lines[1] == "task     classification: cross_entropy of softmax outputs"
    assert "result   epoch 2, 1.5 s on box/1cpu (plain), at most 3.0 GiB of memory" in lines
    words = [line.split() for line in lines]
    at = words.index(["metric", "train", "val", "test"])
    assert words[at + 1 : at + 3] == [
        ["accuracy", "0.7500", "0.7000"],
        ["loss", "0.5000"],
    ]
    assert any(line.startswith("attempt  1: succeeded on w1") for line in lines)
    assert "curve    train/loss █▅▁ 0.9000 to 0.1000" in lines
    assert "saved    best: epoch 2, 123 B, best.pt" in lines
    assert any(line.startswith("confusion on test") for line in lines)


def test_page_tells_what_happened_and_from_where_each_attempt_went_on(store: Store) -> None:
    (trial,) = some_trials(1)
    store.submit(trial)
    lost = claim_one(store.queue).lease
    store.results.record([(lost, TrialBegun(trial.id, 0, 0)), (lost, saved(trial.id, "last"))])
    store.queue.lose(lost, "the worker was\nkilled")
    again = claim_one(store.queue).lease
    store.results.record([(again, TrialBegun(trial.id, 1, 10))])

    lines = store.page(width=300).splitlines()

    attempts = [line for line in lines if line.startswith("attempt")]
    assert attempts[0].startswith("attempt  1: expired on w1, ")
    assert "went on" not in attempts[0]
    assert attempts[1].startswith("attempt  2: running on w1, went on from epoch 1")
    (told,) = (line for line in lines if line.startswith("incident"))
    assert "killed" in told


def test_page_of_a_reused_trial_names_the_trial_that_was_trained(store: Store) -> None:
    (trial,) = some_trials(1)
    store.submit(trial)
    page = store.page(source="exp0-0003 of first[red]")
    assert "reused   from exp0-0003 of first[red], which was trained with the same " in page


def test_page_says_where_weights_come_from(store: Store) -> None:
    (trial,) = some_trials(1)
    init = InitConfig("exp0-0003", "a" * 64, "best.pt", num_layers=6, num_frozen=4)
    store.submit(replace(trial, config=replace(trial.config, init=init)))

    assert (
        "weights  the first 6 layers start from exp0-0003, 4 of them are not trained"
        in store.page().splitlines()
    )


def test_curve_that_ends_in_no_number_is_drawn_and_no_result_made_up(store: Store) -> None:
    (trial,) = some_trials(1)
    store.submit(trial)
    lease = claim_one(store.queue).lease
    store.results.record([(lease, points_of(trial.id, 1.0, 3.0, math.inf, math.nan))])
    store.queue.fail(lease, NOT_FINITE)

    page = store.page()

    assert "curve    train/loss ▁█xx 1.000 to nan" in page.splitlines()
    assert "result" not in page
    assert "failure  not_finite: NotFinite: loss is nan at step 7" in page


def test_curves_take_a_line_each_on_a_narrow_terminal(store: Store) -> None:
    (trial,) = some_trials(1)
    store.submit(trial)
    lease = claim_one(store.queue).lease
    for name in ("val/loss", "train/pixel_accuracy"):
        values = [1 / n for n in range(1, 501)]
        store.results.record([(lease, points_of(trial.id, *values, metric=name))])

    curves = [line for line in store.page(width=60).splitlines() if line.startswith("curve")]

    assert len(curves) == 2
    assert all(
        40 < len(line) <= 60 and line.endswith((" 1.000 to 0.002000", " 1.0000 to 0.0020"))
        for line in curves
    )
