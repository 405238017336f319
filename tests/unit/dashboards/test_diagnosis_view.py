"""What the curve doctor says of a recorded experiment: by trial, and as people read it."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dashboards.diagnoses import Diagnosis, diagnoses, diagnosis_of
from dashboards.diagnosis_view import diagnosis_view, finding_lines
from experiments.diagnosis.finding import Code
from experiments.events import MetricPoint, PointsMeasured
from experiments.records import Trial
from orchestrator.measurements.results import Results
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from tests.samples import an_experiment, claim_one, some_trials


class Store:
    """An experiment whose trials have the losses that a test gives them."""

    def __init__(self, folder: Path) -> None:
        self.engine = open_store(f"sqlite:///{folder / 'store.db'}", create=True)
        self.queue = Queue(self.engine)
        self.results = Results(self.engine)

    def record(self, trials: list[Trial], losses: list[list[float]]) -> None:
        self.queue.submit(an_experiment(), trials, class_names=("cat", "dog"))
        for values in losses:
            claim = claim_one(self.queue)
            points = tuple(
                MetricPoint(metric, epoch, epoch * 10, value, 1000 * epoch)
                for epoch, value in enumerate(values, start=1)
                for metric in ("train/loss", "val/loss")
            )
            measured = PointsMeasured(claim.lease.trial_id, points)
            self.results.record([(claim.lease, measured)])

    def diagnoses(self) -> list[Diagnosis]:
        rows, configs = self.results.trials("exp1"), self.results.configs("exp1")
        return diagnoses(rows, configs, self.results.curve_columns("exp1"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.engine.dispose()


def page(found: list[Diagnosis], *, width: int = 160, name: str = "one") -> str:
    out = StringIO()
    console = Console(file=out, width=width, color_system=None)
    for part in diagnosis_view(name, found, width=width):
        console.print(part)
    return out.getvalue()


STUCK = [2.3, 2.3, 2.3, 2.3]
FINE = [1.0, 0.4, 0.4, 0.4]


def test_each_trial_has_its_own_findings_and_one_without_points_has_none(store: Store) -> None:
    store.record(some_trials(3), [STUCK, FINE])
    one, two, three = store.diagnoses()
    assert [finding.code for finding in one.findings] == [Code.STUCK_AT_CHANCE]
    assert (one.is_read, one.is_sick) == (True, True)
    assert (two.is_read, two.is_sick) == (True, False)
    assert (three.is_read, three.findings) == (False, ())


def test_one_trial_alone_is_diagnosed_as_among_others(store: Store) -> None:
    store.record(some_trials(2), [STUCK, FINE])
    for each in store.diagnoses():
        trial = each.trial
        config, points = store.results.config(trial.id), store.results.curves(trial_id=trial.id)
        assert diagnosis_of(trial, config, points).findings == each.findings


def test_the_configs_of_an_experiment_are_those_of_its_trials(store: Store) -> None:
    store.record(some_trials(3), [])
    configs = store.results.configs("exp1")
    assert configs == {row.id: store.results.config(row.id) for row in store.results.trials("exp1")}


def test_the_page_names_the_finding_its_trial_and_what_to_try(store: Store) -> None:
    store.record(some_trials(2), [STUCK, FINE])
    shown = page(store.diagnoses())
    assert "2 curves read, 1 sick" in shown
    assert "stuck at chance (1 curve)" in shown
    assert "lr: " in shown
    assert "exp1-0001" in shown
    assert "exp1-0002" not in shown


def test_the_page_says_so_where_nothing_was_measured(store: Store) -> None:
    store.record(some_trials(1), [])
    assert page(store.diagnoses()) == "one: no trial has a curve yet\n"


def test_names_with_markup_are_shown_as_they_are(store: Store) -> None:
    store.record(some_trials(1), [STUCK])
    assert "[red]x" in page(store.diagnoses(), name="[red]x")


def test_a_finding_of_one_trial_is_a_line_with_its_change(store: Store) -> None:
    store.record(some_trials(1), [STUCK])
    (each,) = store.diagnoses()
    (line,) = finding_lines(each.findings)
    assert line.startswith("stuck at chance: ")
    assert line.endswith(f"(lr: {each.findings[0].suggestion.change['lr']:g})")
