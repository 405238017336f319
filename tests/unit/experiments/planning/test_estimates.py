from dataclasses import replace
from pathlib import Path

import pytest

from experiments.planning.cost import CostSample
from experiments.planning.estimates import (
    START_UP_SECONDS,
    base_memory_bytes,
    estimate,
    workers_that_fit,
)
from experiments.planning.plan import make_plan
from experiments.records import Resources, Trial
from experiments.spec import read_spec

SPEC = "name: t\nparameters: {model: [mlp, softmax_regression], lr: 0.1}\nseeds: 3\n"


@pytest.fixture
def trials() -> tuple[Trial, ...]:
    return make_plan(read_spec(SPEC), data_root=Path("data")).trials


def took(trials: tuple[Trial, ...], **seconds: float) -> list[CostSample]:
    return [
        CostSample(trial.work, seconds[trial.config.architecture.name], None) for trial in trials
    ]


def test_without_finished_trials_only_the_memory_is_known(trials: tuple[Trial, ...]) -> None:
    guess = estimate(trials, [], num_workers=2)
    assert (guess.seconds, guess.learned_from, guess.trial_seconds) == (None, 0, {})
    assert guess.base_memory_bytes is None
    assert guess.peak_memory_bytes == max(trial.work.memory_bytes for trial in trials)


def test_trials_that_are_trained_together_all_need_memory(trials: tuple[Trial, ...]) -> None:
    largest = max(trials, key=lambda trial: trial.work.memory_bytes)
    guess = estimate(trials, [], num_workers=2, members=lambda trial: 3 if trial is largest else 1)
    assert guess.peak_memory_bytes == 3 * largest.work.memory_bytes


@pytest.mark.parametrize(
    ("num_workers", "seconds"),
    [
        (1, 3 * 10 + 3 * 4),
        (2, 22),  # 10 and 10; then 10 and 4, 4, 4
        (6, 10),
        (100, 10),
    ],
)
def test_workers_share_the_trials_as_they_become_free(
    trials: tuple[Trial, ...], num_workers: int, seconds: float
) -> None:
    seen = took(trials, mlp=10.0, softmax_regression=4.0)
    guess = estimate(trials, seen, num_workers=num_workers)
    assert guess.seconds is not None
    assert guess.seconds.seconds == pytest.approx(START_UP_SECONDS + seconds)
    assert START_UP_SECONDS < guess.seconds.low < guess.seconds.seconds < guess.seconds.high
    assert guess.trial_seconds == {"mlp": 10.0, "softmax_regression": 4.0}
    assert guess.learned_from == 6


def test_a_worker_holds_its_trial_beside_the_smaller_rests_of_peaks(
    trials: tuple[Trial, ...],
) -> None:
    mlp, softmax = trials[0].work, trials[-1].work
    samples = [
        CostSample(mlp, 1.0, mlp.memory_bytes + 500),
        CostSample(softmax, 1.0, mlp.memory_bytes + 500),  # the peak of the trial before it
        CostSample(replace(softmax, epochs=99), 1.0, None),
    ]
    assert base_memory_bytes(samples) == 500
    guess = estimate(trials, samples, num_workers=1)
    assert guess.peak_memory_bytes == mlp.memory_bytes + 500
    assert base_memory_bytes(samples[2:]) is None


def test_trials_whose_arithmetic_says_too_much_do_not_hide_what_a_process_holds(
    trials: tuple[Trial, ...],
) -> None:
    work = trials[0].work
    rests = [-9000, 0, 10, 500, 501, 502, 503, 900, 901, 902]
    samples = [CostSample(work, 1.0, work.memory_bytes + rest) for rest in rests]
    assert base_memory_bytes(samples) == 500
    assert base_memory_bytes(samples[:2]) is None


@pytest.mark.parametrize(
    ("cpus", "gpus", "fit"), [(1, 0.0, 8), (3, 0.0, 2), (1, 0.5, 4), (1, 1.0, 2), (4, 0.1, 2)]
)
def test_as_many_workers_fit_as_have_their_share(cpus: int, gpus: float, fit: int) -> None:
    assert workers_that_fit(Resources(cpus=8, gpus=2.0), Resources(cpus=cpus, gpus=gpus)) == fit
