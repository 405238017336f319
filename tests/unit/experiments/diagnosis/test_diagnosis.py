"""Each finding on a curve drawn for it, and none on curves that say too little."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from experiments.diagnosis.diagnosis import diagnose
from experiments.diagnosis.finding import TITLES, Code, Finding, Severity
from experiments.diagnosis.trial_curve import Series, TrialCurve, series_of
from experiments.hyperparameters import HYPERPARAMETERS

NAN, INF = math.nan, math.inf
HEALTHY = tuple(0.1 + 2.0 * math.exp(-epoch / 3) for epoch in range(25))
REGRESSION: dict[str, Any] = {
    "task": "regression",
    "loss": "mean_squared_error",
    "num_classes": None,
}


def drawn(
    train: Sequence[float] = (),
    val: Sequence[float] = (),
    *,
    batch: Sequence[float] = (),
    others: Mapping[str, Sequence[float]] | None = None,
    **facts: Any,
) -> TrialCurve:
    """Give a curve of a classifier of ten classes, values by epoch from 1."""
    named = {"train/loss": train, "val/loss": val, "train/batch_loss": batch, **(others or {})}
    known: dict[str, Any] = {"task": "classification", "loss": "cross_entropy", "num_classes": 10}
    known |= {"lr": 0.1, "epochs": max(len(train), 1), "batch_size": 64} | facts
    series = {name: series_of(enumerate(values, start=1)) for name, values in named.items()}
    return TrialCurve(series=series, **known)


def found(curve: TrialCurve) -> dict[Code, Finding]:
    return {finding.code: finding for finding in diagnose(curve)}


def shifted(values: Sequence[float], by: float) -> tuple[float, ...]:
    return tuple(value + by for value in values)


def test_a_loss_that_falls_and_flattens_is_healthy() -> None:
    assert diagnose(drawn(HEALTHY, shifted(HEALTHY, 0.05))) == ()


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_a_few_hundredths_is_healthy(seed: int) -> None:
    chance = random.Random(seed)
    train = [value * chance.uniform(0.97, 1.03) for value in HEALTHY]
    val = [(value + 0.05) * chance.uniform(0.97, 1.03) for value in HEALTHY]
    assert not [each for each in diagnose(drawn(train, val)) if each.is_sick]


@pytest.mark.parametrize(
    "curve",
    [
        drawn(),
        drawn(epochs=3),
        drawn((0.5,)),
        drawn((), (0.5,)),
        drawn((0.5,), (0.5,), **REGRESSION),
        drawn((0.0, 0.0), (0.0, 0.0), **REGRESSION),
        drawn((), (), others={"val/accuracy": (0.9,)}),
    ],
)
def test_curves_that_say_too_little_give_nothing(curve: TrialCurve) -> None:
    assert not [each for each in diagnose(curve) if each.is_sick]


@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_loss_that_is_no_number_diverged_at_its_first_bad_step(bad: float) -> None:
    curve = drawn((1.0, bad), (1.0, bad), batch=(2.3, 2.0, 40.0, bad, bad), epochs=5)
    (finding,) = diagnose(curve)
    assert (finding.code, finding.epoch, finding.step) == (Code.DIVERGED, 2, 4)
    assert finding.suggestion.change == {"lr": 0.01}
    assert finding.evidence["last_finite_batch_loss"] == 40.0


def test_a_trial_that_failed_by_its_loss_diverged_after_its_last_step() -> None:
    (finding,) = diagnose(drawn(batch=(2.3, 9.0), is_not_finite=True, epochs=5))
    assert (finding.code, finding.step) == (Code.DIVERGED, 3)


def test_a_loss_that_ends_above_its_start_diverged() -> None:
    values = (3.0, 8.0, 20.0, 50.0)
    finding = found(drawn(values, values))[Code.DIVERGED]
    assert finding.epoch == 2
    assert finding.evidence["end"] > 2 * math.log(10)


def test_a_loss_at_ln_of_the_classes_is_stuck_at_chance() -> None:
    (finding,) = diagnose(drawn((2.31, *[2.303] * 11), (2.304,) * 12))
    assert finding.code is Code.STUCK_AT_CHANCE
    assert finding.evidence["chance"] == pytest.approx(math.log(10))
    assert "ln(10) = 2.303" in finding.words


@pytest.mark.parametrize(("num", "loss"), [(2, "binary_cross_entropy"), (2, "cross_entropy")])
def test_chance_follows_from_the_number_of_classes(num: int, loss: str) -> None:
    task = "binary" if loss.startswith("binary") else "classification"
    values = (math.log(num),) * 10
    (finding,) = diagnose(drawn(values, values, task=task, loss=loss, num_classes=num))
    assert finding.code is Code.STUCK_AT_CHANCE


def test_a_flat_loss_that_knows_no_chance_is_not_learning() -> None:
    (finding,) = diagnose(drawn((5.0,) * 8, (5.0,) * 8, batch=(5.0,) * 50, **REGRESSION))
    assert finding.code is Code.NOT_LEARNING
    assert finding.suggestion.change == {"lr": 1.0}


def test_a_steady_fall_that_gets_nowhere_is_too_slow() -> None:
    values = [2.3 - 0.02 * epoch for epoch in range(20)]
    (finding,) = diagnose(drawn(values, values, batch=[2.3] * 200, lr=0.001))
    assert finding.code is Code.TOO_SLOW
    assert finding.suggestion.change == {"lr": 0.01}


def test_a_fall_that_nobody_can_see_is_stuck_and_not_slow() -> None:
    values = [2.303 - 1e-6 * epoch for epoch in range(20)]
    (finding,) = diagnose(drawn(values, values, batch=[2.303] * 200, lr=1e-7))
    assert finding.code is Code.STUCK_AT_CHANCE


def test_a_loss_that_reaches_zero_needs_nothing() -> None:
    values = (4.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    assert diagnose(drawn(values, values, batch=(4.0,) * 50, **REGRESSION)) == ()


def test_a_fall_that_is_not_over_wants_more_epochs() -> None:
    values = (2.2, 1.8, 1.5, 1.2, 1.0, 0.8, 0.65, 0.5)
    finding = found(drawn(values, shifted(values, 0.02)))[Code.STILL_FALLING]
    assert finding.suggestion.change == {"epochs": 16}
    assert finding.epoch == 8


def test_a_trial_under_way_is_not_told_to_train_longer() -> None:
    values = (2.2, 1.8, 1.5, 1.2)
    assert diagnose(drawn(values, shifted(values, 0.02), epochs=8)) == ()


def test_a_validation_loss_that_worsens_while_training_falls_is_overfitting() -> None:
    train = [2.0 * 0.8**epoch for epoch in range(30)]
    val = [1.0 + 0.05 * abs(epoch - 8) for epoch in range(30)]
    finding = found(drawn(train, val))[Code.OVERFITTING]
    assert finding.epoch in {8, 9}
    assert finding.evidence["best_val_loss"] < finding.evidence["val_loss"]


@pytest.mark.parametrize(
    ("facts", "change"),
    [
        ({"takes_dropout": True}, {"dropout": 0.5}),
        ({"is_image": True}, {"augmentation": "shift"}),
        ({"is_image": False}, {"weight_decay": 0.001}),
        ({"is_image": False, "weight_decay": 0.01}, {"weight_decay": 0.1}),
    ],
)
def test_overfitting_is_met_by_what_applies(facts: dict[str, Any], change: dict[str, Any]) -> None:
    train = [2.0 * 0.8**epoch for epoch in range(30)]
    val = [1.0 + 0.05 * abs(epoch - 8) for epoch in range(30)]
    assert found(drawn(train, val, **facts))[Code.OVERFITTING].suggestion.change == change


@pytest.mark.parametrize(("batch_size", "change"), [(64, {"lr": 0.033}), (4, {"batch_size": 16})])
def test_a_loss_that_swings_wants_a_lower_rate_or_larger_batches(
    batch_size: int, change: dict[str, Any]
) -> None:
    val = (1.0, 0.5, 0.9, 0.4, 0.8, 0.5, 0.9, 0.4, 0.8, 0.4, 0.9, 0.5)
    curve = drawn((0.6,) * len(val), val, batch_size=batch_size)
    assert found(curve)[Code.OSCILLATING].suggestion.change == change


@pytest.mark.parametrize(("function", "harmless"), [("relu", True), ("tanh", False)])
def test_one_high_epoch_is_a_jump_and_kinks_explain_it(function: str, *, harmless: bool) -> None:
    train, val = [*HEALTHY], [*shifted(HEALTHY, 0.05)]
    train[15] = val[15] = 1.5
    finding = found(drawn(train, val, activations=(function,)))[Code.JUMPS]
    assert (finding.epoch, finding.severity) == (16, Severity.NOTE)
    assert (finding.suggestion.change == {}) is harmless


def test_a_validation_loss_that_jumps_alone_is_scatter() -> None:
    val = [*shifted(HEALTHY, 0.05)]
    val[15] = 1.5
    assert diagnose(drawn(HEALTHY, val)) == ()


def test_a_jump_after_which_validation_says_nothing_is_read() -> None:
    train = [*HEALTHY[:10], 5.0, 0.2, 0.2]
    assert Code.JUMPS in found(drawn(train, HEALTHY[:10]))


def test_a_loss_on_its_way_back_from_a_jump_still_falls_and_one_that_is_back_does_not() -> None:
    before = [2.3 * 0.6**epoch + 0.1 for epoch in range(12)]
    on_its_way = [*before, *(4.0 / epoch for epoch in range(1, 9))]
    back = [*before, 9.0, 0.2, 0.12, *[0.1] * 5]
    codes = [{*found(drawn(values, values))} for values in (on_its_way, back)]
    assert codes == [{Code.STILL_FALLING, Code.JUMPS}, {Code.JUMPS}]


def test_a_regression_is_measured_by_the_variance_of_its_targets() -> None:
    val = (40.0, 5.0, *[4.0, 4.8] * 8)
    facts = {"others": {"val/r2": [1 - value / 41 for value in val]}, **REGRESSION}
    curve = drawn((60.0, 6.0, *[5.0] * 16), val, batch=(300.0,) * 10, **facts)
    assert Code.OSCILLATING in found(curve)
    unknown = drawn((60.0, 6.0, *[5.0] * 16), val, batch=(300.0,) * 10, **REGRESSION)
    assert Code.OSCILLATING not in found(unknown)


def test_validation_below_training_is_explained_by_what_there_is() -> None:
    curve = drawn(shifted(HEALTHY, 0.3), HEALTHY, dropout=0.5, augmentation="shift")
    (finding,) = diagnose(curve)
    assert (finding.code, finding.severity) == (Code.VAL_BELOW_TRAIN, Severity.NOTE)
    assert "dropout (0.5)" in finding.words
    assert "augmentation (shift)" in finding.words


@pytest.mark.parametrize(("share", "is_dead"), [(0.2, False), (0.9, True)])
def test_units_that_are_mostly_dead_are_found(share: float, *, is_dead: bool) -> None:
    others = {"val/dead_units": (0.1, *[share] * (len(HEALTHY) - 1))}
    curve = drawn(
        HEALTHY, shifted(HEALTHY, 0.05), others=others, activations=("relu",), takes_activation=True
    )
    finding = found(curve).get(Code.DEAD_UNITS)
    assert (finding is not None) is is_dead
    if finding is not None:
        assert finding.epoch == 2
        assert finding.suggestion.change == {"activation": "leaky_relu"}


def test_findings_come_the_worst_first() -> None:
    assert [*TITLES] == [*Code]
    others = {"val/dead_units": (0.9,) * 12}
    codes = [each.code for each in diagnose(drawn((2.3,) * 12, (2.3,) * 12, others=others))]
    assert codes == [Code.STUCK_AT_CHANCE, Code.DEAD_UNITS]


def test_a_change_is_in_the_keys_of_the_spec_and_all_of_it_is_json() -> None:
    values = (2.2, 1.8, 1.5, 1.2, 1.0, 0.8, 0.65, 0.5)
    for curve in (drawn(values, values), drawn((2.3,) * 9, (2.3,) * 9), drawn((1.0, NAN))):
        for finding in diagnose(curve):
            assert set(finding.suggestion.change) <= set(HYPERPARAMETERS)
            assert (
                json.loads(json.dumps(finding.to_data(), allow_nan=False))["code"] == finding.code
            )


@pytest.mark.parametrize("seed", range(200))
def test_no_curve_is_too_odd_to_be_read(seed: int) -> None:
    chance = random.Random(seed)

    def series() -> Series:
        places = sorted(chance.sample(range(1, 40), chance.choice([0, 1, 2, 3, 20])))
        values = [chance.choice([0.0, 1e-9, 1.0, 2.3, 1e30, INF, -INF, NAN]) for _ in places]
        return Series(tuple(places), tuple(values))

    names = ("train/loss", "val/loss", "train/batch_loss", "val/dead_units", "val/r2")
    task, loss, num = chance.choice(
        [
            ("classification", "hinge", 10),
            ("binary", "binary_cross_entropy", 2),
            ("regression", "mean_squared_error", None),
            ("reconstruction", "mean_squared_error", None),
            ("segmentation", "cross_entropy", 5),
        ]
    )
    there = {name: series() for name in names if chance.random() < 0.7}
    curve = TrialCurve(there, task, loss, 0.1, chance.choice([1, 2, 20]), 8, num_classes=num)
    for finding in diagnose(curve):
        json.dumps(finding.to_data(), allow_nan=False)
