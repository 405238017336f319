"""Every benchmark on a scale of seconds: that it runs, and measures what it says."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks import cold_start, digits_grid, metrics, noop, queue
from benchmarks.contest import (
    OPTUNA,
    OURS,
    PLAIN_LOOP,
    PROCESS_POOL,
    RAY_TUNE_REUSED,
    Peer,
    contest,
    ray_tune,
    run_peer,
)
from benchmarks.workloads import Workload, export


def tiny() -> Workload:
    return replace(
        digits_grid.WORKLOAD,
        data={"name": "digits", "limit": 500},
        rates=[0.05],
        batch_sizes=[32],
        num_seeds=1,
        epochs=2,
    )


def store_of(folder: Path) -> tuple[str, Path]:
    """Give the URL of a new store on SQLite, and its home."""
    return f"sqlite:///{folder}/trainyard.db", folder


@pytest.mark.slow
def test_contest_measures_both_sides_on_all_trials(tmp_path: Path) -> None:
    found = contest(tiny(), [PROCESS_POOL], repeats=1, data_root=tmp_path / "data", folder=tmp_path)

    ours, peer = found["contestants"][OURS], found["contestants"][PROCESS_POOL.label]
    assert ours["num_trials"] == peer["num_trials"] == 2
    assert ours["work_seconds"]["median"] < ours["whole_seconds"]["median"]
    expected = peer["work_seconds"]["median"] / ours["work_seconds"]["median"]
    assert peer["work_ratio"]["median"] == pytest.approx(expected, rel=0.1)


def check_peer(peer: Peer, folder: Path) -> None:
    data = folder / "data.pt"
    export(tiny(), data_root=folder / "data", to=data)

    run = run_peer(peer, tiny(), folder / "peer", data=data)

    # The grid sampler may choose a point a second time.
    assert run.num_trials >= (peer.only or 2)
    assert run.test_accuracy > 0.3
    assert 0 < run.work_seconds < run.whole_seconds


@pytest.mark.slow
@pytest.mark.parametrize("peer", [OPTUNA, RAY_TUNE_REUSED], ids=lambda peer: peer.module)
def test_peer_trains_its_trials(peer: Peer, tmp_path: Path) -> None:
    check_peer(peer, tmp_path)


@pytest.mark.chaos
@pytest.mark.parametrize("peer", [PLAIN_LOOP, ray_tune(only=1)], ids=lambda peer: peer.module)
def test_other_peer_trains_its_trials(peer: Peer, tmp_path: Path) -> None:
    check_peer(peer, tmp_path)


def test_scheduler_is_timed_with_workers_that_only_report(tmp_path: Path) -> None:
    assert noop.reporting_rate(noop.grid(100), tmp_path / "home") > 0


@pytest.mark.chaos
def test_trials_with_nothing_to_do_are_timed_on_both_sides(tmp_path: Path) -> None:
    found = noop.measure(tmp_path, num_trials=20, num_peer=10, repeats=1)

    assert found["trials_per_second"].keys() == {"reporting", "training", *noop.RAY_TUNE}
    assert noop.goals(found)[1]["seen"] == found["ratios"]["reporting"]["Ray Tune"]["median"]


def test_points_come_back_as_they_went_in(tmp_path: Path) -> None:
    size = metrics.Size(num_trials=11, num_curves=2, num_steps=25, num_reads=1, num_many=2000)

    found = metrics.measure(size, *store_of(tmp_path))

    assert found["points_per_transaction"] == 200
    assert len(metrics.goals({"sqlite": found, "postgresql": {"left_out": "why"}})) == 3


def test_queue_is_filled_claimed_from_and_asked(tmp_path: Path) -> None:
    found = {}
    for size in (100, 200):
        folder = tmp_path / str(size)
        folder.mkdir()
        measure = partial(queue.measure, size, repeats=1)
        found[str(size)] = {"sqlite": measure(*store_of(folder))}

    claim, most = (found[size]["sqlite"]["claim_ms"]["median"] for size in ("100", "200"))
    assert queue.goals(found)[1]["seen"] == pytest.approx(most / claim, abs=1e-3)


def test_verbs_can_be_asked_round_after_round(tmp_path: Path) -> None:
    labels = ("submit of 48 trials", "cancel", "retry")
    verbs = {label: cold_start.VERBS[label] for label in labels}

    found = cold_start.verb_seconds(verbs, tmp_path, home=tmp_path / "home", repeats=2)

    assert [(label, each["n"]) for label, each in found.items()] == [(each, 2) for each in labels]
