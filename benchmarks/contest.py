"""Trainyard and its peers on one workload, in turns: ours, a peer, ours, the next peer, ...

Every run is a command in a process of its own and, for trainyard, a home of its own. All find
the data prepared. Two times are taken: of the whole command from cold, and of the work, from
the first trial's start to the last one's end. Each peer's ratios are to our run just before.
"""

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

from benchmarks.record import Goal, at_least, at_most, measured
from benchmarks.workloads import Workload, export
from orchestrator.mirroring.mirror_lock import teller

COMMAND: Final = str(Path(sys.executable).with_name("trainyard"))
REPOSITORY: Final = Path(__file__).resolve().parent.parent
OURS: Final = "trainyard"
_TELLER_STARTS_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A program of `benchmarks/peers`.

    One that is very slow runs `only` so many trials; its work is scaled up to all of them.
    """

    label: str
    module: str
    only: int | None = None


PLAIN_LOOP: Final = Peer("plain loop", "plain_loop")
PROCESS_POOL: Final = Peer("process pool", "process_pool")
OPTUNA: Final = Peer("Optuna, SQLite, processes", "optuna_processes")
RAY_TUNE_REUSED: Final = Peer("Ray Tune, reused actors", "ray_tune_reused")


def ray_tune(*, only: int | None) -> Peer:
    """Give Ray Tune as it is shipped, which takes a quarter of an hour for 64 small trials."""
    return Peer("Ray Tune as shipped", "ray_tune", only)


@dataclass(frozen=True, slots=True)
class Run:
    """What one command did. `idle_share` is None for peers, which do not say.

    `test_accuracy` is the mean of the trials; a few that learned nothing, as ReLU does at a
    high rate with some seeds, move it more than anything that the contestants do differently,
    and `middle_accuracy`, the median, not at all.
    """

    whole_seconds: float
    work_seconds: float
    num_trials: int
    test_accuracy: float
    middle_accuracy: float
    idle_share: float | None = None


def contest(
    workload: Workload, peers: Sequence[Peer], *, repeats: int, data_root: Path, folder: Path
) -> dict[str, Any]:
    """Run everybody so many times; give each one's times and accuracy, and the ratios to ours.

    `data_root` is where trainyard looks for data, and prepares it; `folder` takes all else.
    """
    data = folder / "data.pt"
    export(workload, data_root=data_root, to=data)
    ours: list[Run] = []
    theirs: dict[str, list[Run]] = {peer.label: [] for peer in peers}
    opponents: dict[str, list[Run]] = {peer.label: [] for peer in peers}
    for repeat in range(repeats):
        for peer in peers:
            name = f"{peer.module}-{repeat}"
            ours.append(run_ours(workload, folder / f"home-{name}", data_root=data_root))
            theirs[peer.label].append(run_peer(peer, workload, folder / name, data=data))
            opponents[peer.label].append(ours[-1])
            print(f"{name}: {ours[-1]} against {theirs[peer.label][-1]}", file=sys.stderr)
    told: dict[str, Any] = {OURS: summary(ours)}
    told[OURS]["idle_share"] = measured([run.idle_share or 0.0 for run in ours])
    for peer in peers:
        told[peer.label] = summary(theirs[peer.label]) | ratios(
            theirs[peer.label], opponents[peer.label]
        )
        if peer.only is not None:
            told[peer.label]["scaled_from_trials"] = peer.only
    return {"workload": workload.describe(), "contestants": told}


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Give a contestant's seconds and accuracy."""
    return {
        "work_seconds": measured([run.work_seconds for run in runs]),
        "whole_seconds": measured([run.whole_seconds for run in runs]),
        "test_accuracy": measured([run.test_accuracy for run in runs]),
        "middle_accuracy": measured([run.middle_accuracy for run in runs]),
        "num_trials": runs[0].num_trials,
    }


def ratios(theirs: Sequence[Run], ours: Sequence[Run]) -> dict[str, Any]:
    """Say how many times as long as ours each run of a peer took; pairs ran one after the other."""
    pairs = list(zip(theirs, ours, strict=True))
    return {
        "work_ratio": measured([peer.work_seconds / our.work_seconds for peer, our in pairs]),
        "whole_ratio": measured([peer.whole_seconds / our.whole_seconds for peer, our in pairs]),
    }


def goals(
    contestants: Mapping[str, Mapping[str, Any]],
    *,
    work: float,
    whole: float | None = None,
    shipped: float | None = None,
    idle: float | None = None,
) -> list[Goal]:
    """Hold the figures to what was wanted: ratios to the best peer, and to Ray Tune as shipped."""
    peers = {label: each for label, each in contestants.items() if label != OURS}
    shipped_label = ray_tune(only=None).label
    found = []
    for wanted, what in ((work, "work"), (whole, "whole")):
        if wanted is not None:
            best = min(each[f"{what}_ratio"]["median"] for each in peers.values())
            found.append(at_least(f"{what} time, times the best peer", wanted, best))
    if shipped is not None and shipped_label in peers:
        seen = peers[shipped_label]["work_ratio"]["median"]
        found.append(at_least("work time, times Ray Tune as shipped", shipped, seen))
    if idle is not None:
        seen = contestants[OURS]["idle_share"]["median"]
        found.append(at_most("idle share of worker slots", idle, seen))
    return found


# --- one run


def run_ours(
    workload: Workload, home: Path, *, data_root: Path, is_mlflow_told: bool = True
) -> Run:
    """Run `trainyard run` in a new home, and read from its store what it did.

    Nothing of it goes on afterwards: MLflow hears the rest first, or never.

    Raises:
        AssertionError: Not every trial succeeded.
    """
    home.mkdir()
    (home / "spec.yaml").write_text(json.dumps(workload.spec()), encoding="utf-8")  # JSON is YAML
    variables = {"TRAINYARD_HOME": str(home), "TRAINYARD_DATA": str(data_root)}
    seconds = timed([COMMAND, "run", str(home / "spec.yaml")], variables)
    until_told(home) if is_mlflow_told else end_telling(home)
    with sqlite3.connect(home / "trainyard.db") as store:
        spans = store.execute("SELECT worker, started_at, ended_at FROM attempt").fetchall()
        (claimed,) = store.execute("SELECT min(started_at) FROM trial").fetchone()
        texts = store.execute("SELECT metrics FROM trial WHERE state = 'succeeded'").fetchall()
    store.close()
    assert len(texts) == workload.num_trials, f"only {len(texts)} trials succeeded"
    accuracies = [json.loads(text)["test/accuracy"] for (text,) in texts]
    return Run(
        whole_seconds=seconds,
        work_seconds=max(end for *_, end in spans) - claimed,
        num_trials=len(texts),
        test_accuracy=fmean(accuracies),
        middle_accuracy=median(accuracies),
        idle_share=idle_share(spans),
    )


def idle_share(spans: Sequence[tuple[str, float, float]]) -> float:
    """Give the share of the work's time in which a worker had no trial, over all workers.

    `spans` are the attempts: worker, start of the training and end. Those of one worker may
    overlap. Each worker's time runs from the first start of any to the last end of any.
    """
    first, last = min(start for _, start, _ in spans), max(end for *_, end in spans)
    idle = 0.0
    workers = {worker for worker, *_ in spans}
    for worker in workers:
        reached = first
        for _, start, end in sorted(span for span in spans if span[0] == worker):
            idle += max(0.0, start - reached)
            reached = max(reached, end)
        idle += last - reached
    return idle / (len(workers) * (last - first))


def run_peer(peer: Peer, workload: Workload, folder: Path, *, data: Path) -> Run:
    """Run a peer's program, and read its result file."""
    job = workload.job(data, num_processes=num_cores(), num_trials=peer.only)
    seconds, result = run_job(peer.module, asdict(job), folder)
    work_seconds = result["work_seconds"] * workload.num_trials / job.num_trials
    return Run(
        whole_seconds=seconds - result["work_seconds"] + work_seconds,  # it starts only once
        work_seconds=work_seconds,
        num_trials=result["num_trials"],
        test_accuracy=result["test_accuracy"],
        middle_accuracy=result["middle_accuracy"],
    )


def run_job(
    module: str, job: Mapping[str, Any], folder: Path, variables: Mapping[str, str] | None = None
) -> tuple[float, dict[str, Any]]:
    """Run a program of `benchmarks/peers` on a job; give its seconds and its result.

    `variables` are added to its environment.
    """
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    result = folder / "result.json"
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", str(folder / "job.json")]
    seconds = timed([*command, str(result)], variables or {})
    return seconds, json.loads(result.read_text(encoding="utf-8"))


def timed(command: Sequence[str], variables: Mapping[str, str]) -> float:
    """Run a command from the top of the clone, and give its seconds.

    Nobody is told how many threads to use but by its own program; a Ray lets in nobody else.

    Raises:
        RuntimeError: It failed; the message has the end of what it said.
    """
    ours = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": str(REPOSITORY),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    environment = {**os.environ, **ours, **variables}
    for name in ("MKL_NUM_THREADS", "MLFLOW_TRACKING_URI", "OMP_NUM_THREADS", "RAY_ADDRESS"):
        environment.pop(name, None)
    started = time.perf_counter()
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return seconds


def until_told(home: Path) -> None:
    """Wait for the process that goes on telling MLflow: it is not to slow what is timed next."""
    if started_teller(home) is not None:
        until_gone(home)


def end_telling(home: Path) -> None:
    """End the process that tells MLflow, which for very many runs would take half an hour."""
    if (process := started_teller(home)) is not None:
        os.kill(process, signal.SIGTERM)
        until_gone(home)


def started_teller(home: Path) -> int | None:
    """Give the process that tells MLflow, which may be only starting; None where all is told."""
    deadline = time.monotonic() + _TELLER_STARTS_SECONDS
    while (process := teller(_store_of(home))) is None and has_untold(home):
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return process


def until_gone(home: Path) -> None:
    """Wait until nobody tells MLflow any more."""
    while teller(_store_of(home)) is not None:
        time.sleep(0.1)


def has_untold(home: Path) -> bool:
    """Say whether there is anything that MLflow has not been told."""
    with closing(sqlite3.connect(home / "trainyard.db")) as store:
        return store.execute("SELECT 1 FROM outbox LIMIT 1").fetchone() is not None


def _store_of(home: Path) -> str:
    return f"sqlite:///{home / 'trainyard.db'}"


def num_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))
