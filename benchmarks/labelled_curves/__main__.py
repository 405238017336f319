"""Makes the labelled curves by training: `make bench BENCH=labelled_curves`, about ten minutes.

The curves are those of `workers.training.run_pack`, in the plain loop on one thread. `CASES=TEXT`
trains those whose names hold it, and leaves the others in the file as they are. The table on
docs/diagnosis.md is written from the file; where only the doctor has changed,
`python -m benchmarks.labelled_curves.scores` does that alone.
"""

import math
import os
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.labelled_curves.cases import Case, cases
from benchmarks.labelled_curves.curve_file import FILE, LabelledCurve, read, write
from benchmarks.labelled_curves.labels import labels_of
from benchmarks.labelled_curves.scores import PAGE, page
from benchmarks.labelled_curves.tricks import changed_data, played
from benchmarks.labelled_curves.truth import parted, truth_of
from dashboards.diagnoses import curve_of
from experiments.diagnosis.trial_curve import BATCH_LOSS, Series
from experiments.events import Event, MetricPoint, PointsMeasured, TrialFailed
from experiments.planning.plan import make_plan
from experiments.records import Assignment
from experiments.spec import read_spec
from experiments.states import FailureKind
from workers.staging import stage
from workers.training import run_pack


class Recorder:
    """A reporter that keeps the points of one trial, and what it failed by."""

    def __init__(self) -> None:
        self.points: list[MetricPoint] = []
        self.failure: FailureKind | None = None

    def report(self, event: Event) -> None:
        """Keep an event."""
        if isinstance(event, PointsMeasured):
            self.points += event.points
        elif isinstance(event, TrialFailed):
            self.failure = event.failure.kind

    def stop_requested(self, trial_id: str) -> bool:
        """Let it go on."""
        assert trial_id
        return False

    def series(self) -> dict[str, Series]:
        """Give what was measured, by metric."""
        found: dict[str, list[MetricPoint]] = {}
        for point in self.points:
            found.setdefault(point.metric, []).append(point)
        return {
            name: Series(
                tuple(p.step if name == BATCH_LOSS else p.epoch for p in points),
                tuple(p.value for p in points),
            )
            for name, points in found.items()
        }


def main() -> None:
    """Train all cases, and keep them."""
    torch.set_num_threads(1)
    wanted = os.environ.get("CASES", "")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        trained = [_train(case, Path(folder)) for case in cases() if wanted in case.name]
    known = {each.name: each for each in (read(FILE) if wanted and FILE.exists() else ())}
    known |= {each.name: each for each in trained}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    write([known[case.name] for case in cases() if case.name in known], FILE)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), read(FILE)), encoding="utf-8")


def _train(case: Case, root: Path) -> LabelledCurve:
    (trial,) = make_plan(read_spec(case.spec), data_root=root).trials
    data, fresh = parted(changed_data(case.trick, stage(trial.config.data, root=root)))
    recorder = Recorder()
    with played(case.trick, trial.config, data):
        run_pack([Assignment(trial.id, 1, trial.config)], data, recorder)
    if recorder.failure not in {None, FailureKind.NOT_FINITE}:
        sys.exit(f"{case.name} failed: {recorder.failure}")
    truth = truth_of(case, trial.config, data, fresh=fresh)
    num_steps = math.ceil(len(data.train) / trial.config.batch_size) * trial.config.epochs
    labelled = LabelledCurve(
        name=case.name,
        half=case.half,
        fault=case.fault,
        curve=curve_of(
            trial.config,
            recorder.series(),
            params=trial.params,
            is_not_finite=recorder.failure is not None,
        ),
        labels=labels_of(trial.config, case.trick, truth, num_steps=num_steps),
        truth=truth.to_data(),
    )
    said = [
        f"{code}{'' if yes else '?'}" for code, yes in labelled.labels.items() if yes is not False
    ]
    print(f"{case.name}: {', '.join(said) or 'nothing'}", flush=True)
    if not case.fault and not labelled.is_healthy:
        print(f"  {case.name} was meant to be healthy", flush=True)
    return labelled


if __name__ == "__main__":
    main()
