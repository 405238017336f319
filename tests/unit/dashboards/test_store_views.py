"""What people read in a terminal, drawn from a real store."""

import dataclasses
import math
import os
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from dashboards.incident_view import incident_lines
from dashboards.pace import pace
from dashboards.progress import ProgressLog, ProgressView, progress_text
from dashboards.store_views import leaderboard_view, status_view, trials_table
from experiments.comparison.leaderboard import Outcome, rank
from experiments.events import Failure, TrialSucceeded
from experiments.records import Execution, Objective
from experiments.states import FailureKind, IncidentKind
from experiments.tasks import natural_goal
from orchestrator.instance import own_process
from orchestrator.measurements.results import Results
from orchestrator.mirroring.mirror import Untold
from orchestrator.queueing.queue import Queue
from orchestrator.store.database import open_store
from tests.samples import (
    NOT_FINITE,
    SettableClock,
    an_experiment,
    claim_one,
    learn_one,
    some_trials,
    submit,
    success_of,
)
from trainyard.workplace import num_under_way

NOW = 1_000_000.0


class Store:
    def __init__(self, folder: Path) -> None:
        self.engine = open_store(f"sqlite:///{folder / 'store.db'}", create=True)
        self.clock = SettableClock()
        self.queue = Queue(self.engine, now=self.clock)
        self.results = Results(self.engine, now=self.clock)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.engine.dispose()


def text_of(parts: Iterable[RenderableType], *, width: int = 200) -> str:
    out = StringIO()
    console = Console(file=out, width=width, color_system=None)
    for part in parts:
        console.print(part)
    return out.getvalue()


def test_status_counts_every_state_and_says_why_an_experiment_paused(store: Store) -> None:
    submit(store.queue, 3, an_experiment(execution=Execution(max_failed_trials=1)))
    store.queue.fail(claim_one(store.queue).lease, NOT_FINITE)
    shown = text_of(status_view(store.results.overviews(), now=NOW, width=200))
    row = next(line for line in shown.splitlines() if line.startswith("grid "))
    assert row.split()[:8] == ["grid", "exp1", "paused", "2", "-", "-", "1", "-"]
    assert "grid paused: 1 trial failed (execution.max_failed_trials: 1)" in shown


def test_status_counts_what_was_reused_and_what_waits_for_a_person(store: Store) -> None:
    submit(store.queue, 1)
    learn_one(store.queue, store.results)
    again = [replace(trial, content_key="exp1-key-0") for trial in some_trials(1, of="exp2")]
    others = [replace(trial, number=trial.number + 1) for trial in some_trials(3, of="exp2")[1:]]
    store.queue.submit(an_experiment("exp2", name="wide"), [*again, *others])
    store.queue.pause(trial_id=others[0].id)
    lines = text_of(status_view(store.results.overviews(), now=NOW, width=200)).splitlines()
    heads, wide = lines[0].split(), lines[2].split()
    row = dict(zip(heads, wide, strict=False))
    assert (row["succeeded"], row["reused"], row["paused"], row["queued"]) == ("1", "1", "1", "2")
    table = trials_table(store.results.experiment("exp2"), store.results.trials("exp2"), width=200)
    states = [" ".join(line.split()[3:5]) for line in text_of([table]).splitlines()[1:]]
    assert states[0] == "succeeded (reused)"
    assert states[1].startswith("paused")
    assert states[2].startswith("queued")


def test_status_tells_of_each_kind_of_trouble_how_often_and_what_came_of_it_last(
    store: Store,
) -> None:
    store.clock.seconds = seconds_of("2026-11-22 12:29")
    for number in (1, 2):
        store.clock.seconds += 60 * number
        store.queue.note(IncidentKind.WORKER_LOST, f"killed; queued again ({number})")
    store.clock.seconds += 60
    store.queue.note(IncidentKind.CLUSTER_LOST, "raylet\ndied \x1b[2J[red]")
    told = list(incident_lines(store.results.incidents(), now=store.clock.seconds))
    assert told == [
        "1 loss of Ray, 12:33: raylet died \\x1b[2J[red]",
        "2 workers lost, last 12:32: killed; queued again (2)",
    ]
    tomorrow = store.clock.seconds + 86_400
    (_, lost) = incident_lines(store.results.incidents(), now=tomorrow)
    assert "last 22 Nov 12:32: " in lost


def test_every_kind_of_trouble_has_its_words(store: Store) -> None:
    for kind in IncidentKind:
        store.queue.note(kind, kind.value)
    assert len(list(incident_lines(store.results.incidents(), now=NOW))) == len(IncidentKind)


def seconds_of(moment: str) -> float:
    return time.mktime(time.strptime(moment, "%Y-%m-%d %H:%M"))


def test_status_says_who_works_and_what_to_do_where_nobody_does(store: Store) -> None:
    def told() -> str:
        return text_of(
            status_view(
                store.results.overviews(),
                orchestrators=store.results.orchestrators(),
                num_left=num_under_way(store.results),
                now=store.clock.seconds,
                width=200,
            )
        )

    start_one = "No orchestrator is working on this store: start one with trainyard up."
    submit(store.queue, 1)
    assert start_one in told()
    here = Queue(store.engine, now=store.clock, orchestrator="a1")
    here.enter(host=socket.gethostname(), process=own_process())
    assert f"An orchestrator works on this store: process {os.getpid()}, since" in told()
    assert start_one not in told()
    here.enter(host=socket.gethostname(), process=own_process())
    here.leave()
    here.enter(host=socket.gethostname(), process="1:0")  # as of an earlier boot
    assert "An orchestrator is gone: process 1, since" in told()
    assert start_one in told()
    here.leave()
    Queue(store.engine, now=store.clock, orchestrator="b2").enter(host="box", process="7:7")
    assert "An orchestrator works on this store: process 7 on box, since" in told()
    store.clock.seconds += 300
    assert "process 7 on box, since" in told()
    assert "not heard of for 5 min 00 s; it left no trial under way." in told()
    assert start_one in told()
    lease = claim_one(Queue(store.engine, now=store.clock, orchestrator="b2")).lease
    left = "it left 1 trial under way"
    assert f"{left}; `trainyard up --until-idle` takes them up." in told()
    here.enter(host=socket.gethostname(), process=own_process())
    assert f"{left}." in told()
    here.leave()
    store.queue.fail(lease, NOT_FINITE)
    assert left not in told()
    assert start_one not in told()


def test_a_table_of_trials_shows_why_one_failed_on_one_line(store: Store) -> None:
    submit(store.queue, 1)
    message = "[bold]no such \x1b]0;title\x07file\nsecond line"
    failure = Failure(FailureKind.DATA, "DatasetError", message, "...")
    store.queue.fail(claim_one(store.queue).lease, failure)
    shown = table_of(store, width=200)
    # Text: neither a style of ours nor a command to the terminal.
    assert "[bold]no such \\x1b]0;title\\x07file" in shown
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 2


def table_of(store: Store, *, width: int) -> str:
    (experiment,) = store.results.experiments()
    table = trials_table(experiment, store.results.trials(experiment.id), width=width)
    return text_of([table], width=width)


@pytest.mark.parametrize(
    ("task", "metric", "measured", "head", "row"),
    [
        (
            "classification",
            "val/accuracy",
            {"val/accuracy": 0.97, "val/loss": 0.1, "test/accuracy": 0.9612},
            ["val/accuracy", "val/loss", "test/accuracy"],
            ["0.9700", "0.1000", "0.9612"],
        ),
        (
            "regression",
            "val/r2",
            {"val/rmse": 12345.6, "val/r2": -0.5, "val/loss": 1.5e8, "test/r2": math.nan},
            ["val/r2", "val/rmse", "val/loss", "test/r2"],
            ["-0.5000", "12,346", "1.5e+08", "nan"],
        ),
        (
            "reconstruction",
            "val/loss",
            {"val/psnr": 31.25, "val/loss": 7.5e-4, "test/loss": 0.00125},
            ["val/loss", "val/psnr", "test/loss"],
            ["0.00075", "31.25", "0.001250"],
        ),
    ],
)
def test_trials_are_shown_with_what_their_experiment_is_judged_by(
    store: Store,
    task: str,
    metric: str,
    measured: dict[str, float],
    head: list[str],
    row: list[str],
) -> None:
    objective = Objective(metric=metric, goal=natural_goal(metric))
    (trial,) = some_trials(1)
    trial = dataclasses.replace(trial, config=dataclasses.replace(trial.config, task=task))
    store.queue.submit(an_experiment(objective=objective), [trial])
    store.queue.succeed(claim_one(store.queue).lease, TrialSucceeded(trial.id, measured, 1, 2.0))

    first, second = table_of(store, width=200).splitlines()
    assert first.split() == ["trial", "variant", "seed", "state", "attempts", *head, "seconds"]
    assert second.split()[5:] == [*row, "2.0"]


def test_ids_are_whole_on_a_narrow_terminal(store: Store) -> None:
    experiment = an_experiment("d1b3ba00351c")
    trials = [
        dataclasses.replace(each, id=f"d1b3ba00-{each.number:04d}", variant="a long variant " * 3)
        for each in some_trials(2)
    ]
    store.queue.submit(
        experiment, [dataclasses.replace(t, variant=f"{t.variant}{t.number}") for t in trials]
    )
    narrow = table_of(store, width=60)
    assert "d1b3ba00-0001" in narrow
    assert "d1b3ba00-0002" in narrow
    assert "d1b3ba00351c" in text_of(
        status_view(store.results.overviews(), now=NOW, width=60), width=60
    )


def test_the_leaderboard_says_what_its_numbers_can_bear() -> None:
    objective = Objective()
    outcomes = [
        Outcome("a", {}, 0, {"val/accuracy": 0.9, "test/accuracy": 0.8}),
        Outcome("b", {}, 0, {}),
    ]
    shown = text_of(leaderboard_view("grid", objective, rank(outcomes, objective), width=200))
    assert "One seed tells nothing of the spread" in shown
    assert "1 variant lacks the result of some seeds" in shown
    assert "no result" in shown
    assert "fewer seeds than n" not in shown


def test_the_leaderboard_says_where_a_test_figure_has_fewer_seeds() -> None:
    outcomes = [
        Outcome("a", {}, 0, {"val/accuracy": 0.9}),
        Outcome("a", {}, 1, {"val/accuracy": 0.8, "test/accuracy": 0.7}),
    ]
    objective = Objective()
    shown = text_of(leaderboard_view("grid", objective, rank(outcomes, objective), width=200))
    assert "test/accuracy of 1 variant is over fewer seeds than n." in shown


def test_the_leaderboard_of_a_minimised_metric_begins_with_the_smallest() -> None:
    objective = Objective(metric="val/rmse", goal="minimize")
    outcomes = [
        Outcome(variant, {}, 0, {"val/rmse": value, "test/rmse": value + 1, "test/r2": 0.5})
        for variant, value in (("far", 1312.0), ("near", 12.34), ("near", 12.44))
    ]
    _, head, first, second, *_ = text_of(
        leaderboard_view("grid", objective, rank(outcomes, objective), width=200)
    ).splitlines()
    assert head.split() == ["variant", "val/rmse", "std", "95%", "interval", "n", "test/rmse"]
    assert first.split()[:4] == ["1", "near", "12.39", "0.07071"]
    assert first.split()[-2:] == ["2", "13.39"]
    assert second.split() == ["2", "far", "1,312", "1", "1,313"]


def test_pace_is_unknown_until_a_trial_has_ended(store: Store) -> None:
    submit(store.queue, 4)
    (overview,) = store.results.overviews()
    assert pace(overview) == (None, None)
    lease = claim_one(store.queue).lease
    store.clock.seconds += 30
    store.queue.succeed(lease, success_of(lease.trial_id))
    (overview,) = store.results.overviews()
    assert pace(overview) == (2.0, 90.0)
    assert progress_text(overview) == (
        "1 of 4 trials, 2 a minute, 1 min 30 s left, best val/accuracy 0.9 (v1, seed 0)"
    )


def test_known_results_are_no_work_done(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    def submit_some(num: int, name: str) -> None:
        trials = [
            replace(each, content_key=f"key-{each.number}") for each in some_trials(num, of=name)
        ]
        store.queue.submit(an_experiment(name), trials)

    submit_some(1, "one")
    learn_one(store.queue, store.results)

    submit_some(1, "all-known")
    (overview,) = store.results.overviews(["all-known"])
    with ProgressView() as view:
        view.show(overview)
    assert "starting workers" not in capsys.readouterr().err
    assert progress_text(overview).startswith("1 of 1 trials, best ")

    submit_some(3, "half-known")
    store.clock.seconds += 30
    (overview,) = store.results.overviews(["half-known"])
    assert pace(overview) == (None, None)
    claim_one(store.queue)
    store.clock.seconds += 30
    (overview,) = store.results.overviews(["half-known"])
    assert (overview.num_open, pace(overview)) == (2, (None, None))


def test_progress_off_a_terminal_is_lines_without_repetition(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(store.queue, 1)
    with ProgressView() as view:
        view.show(store.results.overviews()[0])
        view.show(store.results.overviews()[0])
        lease = claim_one(store.queue).lease
        store.clock.seconds += 1
        store.queue.succeed(lease, success_of(lease.trial_id))
        view.show(store.results.overviews()[0])
        view.show_mirror(3)
        view.show_mirror(2)
        view.show_untold(Untold(2, goes_on=False))
        view.show_untold(Untold(1, goes_on=True))
    said = capsys.readouterr()
    assert said.out == ""
    *lines, late, going_on = said.err.splitlines()
    assert lines == [
        "starting workers",
        "1 of 1 trials, 60 a minute, best val/accuracy 0.9 (v1, seed 0)",
        "telling MLflow: 3 runs and models left",
    ]
    assert late.startswith("MLflow has not been told of 2 runs and models yet")
    assert going_on.startswith(
        "MLflow has yet to be told of 1 run or model; that goes on by itself"
    )


def test_the_log_names_each_experiment_that_moves(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(store.queue, 1)
    log = ProgressLog()
    log.show(store.results.overviews())
    lease = claim_one(store.queue).lease
    store.queue.succeed(lease, success_of(lease.trial_id))
    log.show(store.results.overviews())
    log.show(store.results.overviews())
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "grid: 0 of 1 trials"
    assert said[1].startswith("grid: 1 of 1 trials")
    assert len(said) == 2
