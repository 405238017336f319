import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulated_grids import simulate_effects
from benchmarks.verdicts import WITHOUT_DIFFERENCE
from experiments.comparison.effects import ANALYSIS_OF_VARIANCE, FOREST, effects
from experiments.comparison.leaderboard import Outcome
from experiments.comparison.multiplicity import holm

# Montgomery, Design and Analysis of Experiments, table 5.1: life of batteries in hours, by
# material (rows) and temperature (columns), four of each.
BATTERIES = {
    (1, 15): (130, 155, 74, 180), (1, 70): (34, 40, 80, 75), (1, 125): (20, 70, 82, 58),
    (2, 15): (150, 188, 159, 126), (2, 70): (136, 122, 106, 115), (2, 125): (25, 70, 58, 45),
    (3, 15): (138, 110, 168, 160), (3, 70): (174, 120, 150, 139), (3, 125): (96, 104, 82, 60),
}  # fmt: skip


def batteries() -> list[Outcome]:
    return [
        Outcome(
            f"{m} {t}", {"material": m, "temperature": t, "plant": "A"}, seed, {"life": float(v)}
        )
        for (m, t), values in BATTERIES.items()
        for seed, v in enumerate(values)
    ]


def test_a_balanced_grid_agrees_with_montgomerys_batteries() -> None:
    # Table 5.5: sums of squares 10,683.72, 39,118.72, 9,613.78, error 18,230.75, total 77,646.97.
    found = effects(batteries(), metric="life")
    assert found.method == ANALYSIS_OF_VARIANCE
    shares = {share.names: share for share in found.shares}
    assert shares[("temperature",)].share == pytest.approx(39118.72 / 77646.97, abs=1e-6)
    assert shares[("material",)].share == pytest.approx(10683.72 / 77646.97, abs=1e-6)
    assert shares[("material", "temperature")].share == pytest.approx(9613.78 / 77646.97, abs=1e-6)
    assert found.seeds_share == pytest.approx(18230.75 / 77646.97, abs=1e-6)


def test_effects_are_ordered_without_what_chance_has_added() -> None:
    """Of many levels chance makes much: their share is large, and next to nothing is left of it."""
    chance = random.Random(3)
    outcomes = [
        Outcome("v", {"many": many, "two": two}, seed, {"x": two * 0.6 + chance.gauss(0, 1)})
        for many in range(30)
        for two in (0, 1)
        for seed in range(3)
    ]
    found = effects(outcomes, metric="x")
    shares = {share.names: share for share in found.shares}
    assert shares[("many",)].share > 2 * shares[("two",)].share
    assert found.shares[0].names == ("two",)
    assert all((share.omega_squared or 0.0) <= share.share for share in found.shares)


def test_p_values_pay_for_the_number_of_effects() -> None:
    found = effects(batteries(), metric="life")
    raw = [share.raw_p_value or 0.0 for share in found.shares]
    assert [share.p_value for share in found.shares] == pytest.approx(holm(raw))
    assert max(raw) > 0


def test_what_seeds_do_to_a_level_is_no_effect_of_it() -> None:
    """One seed is lucky at one rate, in every cell: many trials, and three observations."""
    luck = {(0.5, 1): 3.0, (0.1, 2): 2.5}
    outcomes = [
        Outcome("v", {"lr": lr, "width": width}, seed,
                {"x": luck.get((lr, seed), 0.0) + 0.01 * ((7 * width + seed) % 5)})
        for lr in (0.1, 0.5)
        for width in range(10)
        for seed in range(3)
    ]  # fmt: skip
    shares = {share.names: share for share in effects(outcomes, metric="x").shares}
    assert (shares[("lr",)].raw_p_value or 0.0) > 0.5


@pytest.mark.parametrize("kind", ["three seeds", "unequal spreads", "seeds favour levels"])
def test_where_nothing_matters_little_is_said_to(kind: str) -> None:
    called = simulate_effects(WITHOUT_DIFFERENCE[kind], num_grids=60)
    assert called <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 60)


@given(st.floats(-1000, 1000), st.sampled_from([0.01, -1.0, 7.0]))
def test_units_change_no_share(shift: float, factor: float) -> None:
    moved = [
        Outcome(o.variant, o.params, o.seed, {"life": shift + factor * o.metrics["life"]})
        for o in batteries()
    ]
    plain, other = effects(batteries(), metric="life"), effects(moved, metric="life")
    assert [s.share for s in other.shares] == pytest.approx([s.share for s in plain.shares])


def test_a_lost_result_makes_it_a_forest_and_says_so() -> None:
    outcomes = [*batteries()[1:], Outcome("1 15", batteries()[0].params, 0, {})]
    found = effects(outcomes, metric="life")
    assert (found.method, found.num_trials) == (FOREST, 35)
    assert sum(share.share for share in found.shares) == pytest.approx(1.0)
    assert found.shares[0].names == ("temperature",)
    assert found.out_of_bag_r2 is not None
    assert 0.3 < found.out_of_bag_r2 < 1
    assert "results are lacking" in found.words


def test_a_forest_does_not_trust_noise() -> None:
    chance = random.Random(1)
    outcomes = [
        Outcome(str(i), {"lr": i / 40, "width": i * 7 % 11}, 0, {"life": chance.gauss(0, 1)})
        for i in range(40)
    ]
    found = effects(outcomes, metric="life")
    assert found.out_of_bag_r2 is not None
    assert found.out_of_bag_r2 < 0.3
    assert "too little to rely on" in found.words


def test_what_changes_with_another_one_is_not_told_apart() -> None:
    outcomes = [
        Outcome(
            loss,
            {"loss": loss, "output": "softmax" if loss == "ce" else "none"},
            seed,
            {"x": x + seed},
        )
        for loss, x in (("ce", 1.0), ("mse", 5.0), ("mae", 9.0))
        for seed in range(3)
    ]
    found = effects(outcomes, metric="x")
    assert found.merged == {"output": "loss"}
    assert [share.names for share in found.shares] == [("loss",)]


def test_one_seed_has_no_error_to_test_against() -> None:
    outcomes = [o for o in batteries() if o.seed == 0]
    found = effects(outcomes, metric="life")
    assert found.seeds_share is None
    assert {share.p_value for share in found.shares} == {None}
    assert {share.omega_squared for share in found.shares} == {None}
    assert "with one seed chance cannot be told from effect" in found.words


@pytest.mark.parametrize("whole", [True, False])
def test_values_of_any_kind_are_factors(whole: bool) -> None:
    stages: list[object] = [[2, 2], {"a": [1]}, True, 1, math.nan]
    outcomes = [
        Outcome("v", {"stages": stage, "lr": lr}, seed, {"x": 1e200 * (i + (lr > 1) + seed / 10)})
        for i, stage in enumerate(stages)
        for lr in (0.1, 1e200)
        for seed in range(3)
    ][not whole :]
    found = effects(outcomes, metric="x")
    assert found.method == (ANALYSIS_OF_VARIANCE if whole else FOREST)
    assert {share.names for share in found.shares} >= {("stages",), ("lr",)}
    assert all(math.isfinite(share.share) for share in found.shares)


def test_nothing_is_said_where_nothing_varies() -> None:
    one = effects(batteries()[:4], metric="life")
    assert (one.method, one.words) == ("none", "No effects: nothing varies.")
    assert effects([], metric="life").method == "none"
