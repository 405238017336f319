import math
import random

import pytest

from benchmarks.simulated_grids import Grid, simulate
from experiments.comparison.comparison import compare
from experiments.comparison.leaderboard import Outcome
from experiments.comparison.verdicts import Verdict
from experiments.records import Objective

ACCURACY = Objective()
LUCK = [0.000, 0.004, -0.003, 0.001, -0.002]


def trial(value: float | None, seed: int = 0, *, ended: bool = True, **params: object) -> Outcome:
    metrics = {} if value is None else {"val/accuracy": value}
    return Outcome(" ".join(map(str, params.values())), params, seed, metrics, ended)


def two_levels(gap: float, *, seeds: int = 5, noise: float = 1.0) -> list[Outcome]:
    """Two activations at two rates; what luck does to relu changes with the seed."""
    return [
        trial(
            0.9 + (activation == "relu") * (gap + noise * LUCK[seed]) - lr / 10,
            seed, activation=activation, lr=lr,
        )
        for activation in ("tanh", "relu")
        for lr in (0.1, 0.5)
        for seed in range(seeds)
    ]  # fmt: skip


def test_a_clear_difference_is_called_better() -> None:
    found = compare(two_levels(0.03), by="activation", objective=ACCURACY)
    assert [level.level for level in found.levels] == ["relu", "tanh"]
    (pair,) = found.pairs
    assert (pair.a, pair.b, pair.verdict) == ("relu", "tanh", Verdict.BETTER)
    assert pair.difference == pytest.approx(0.03)
    assert (pair.num_cells, pair.num_seeds, pair.num_pairs, pair.win_rate) == (2, 5, 10, 1.0)
    assert pair.words == (
        "relu is better than tanh by 3.00 points (95 % interval 2.66 to 3.34 points, p < 0.001, "
        "5 seeds); the mean over 2 matched settings, better in 2"
    )


def test_cells_that_differ_by_far_more_than_levels_change_nothing() -> None:
    near = compare(two_levels(0.03), by="activation", objective=ACCURACY).pairs[0]
    far = [
        trial(outcome.metrics["val/accuracy"] - 0.5 * (outcome.params["lr"] == 0.5), outcome.seed,
              **outcome.params)
        for outcome in two_levels(0.03)
    ]  # fmt: skip
    pair = compare(far, by="activation", objective=ACCURACY).pairs[0]
    assert pair.p_value == pytest.approx(near.p_value)


def test_a_small_interval_about_nothing_is_a_tie() -> None:
    (pair,) = compare(two_levels(0.0), by="activation", objective=ACCURACY).pairs
    assert pair.verdict is Verdict.TIED
    assert "tied within 1 point" in pair.words
    (strict,) = compare(two_levels(0.0), by="activation", objective=ACCURACY, margin=0.001).pairs
    assert strict.verdict is Verdict.NOT_ENOUGH_SEEDS


def test_what_is_not_known_says_how_many_seeds_would_tell() -> None:
    outcomes = two_levels(0.01, noise=4.0)
    (pair,) = compare(outcomes, by="activation", objective=ACCURACY).pairs
    assert pair.verdict is Verdict.NOT_ENOUGH_SEEDS
    assert pair.seeds_needed is not None
    assert pair.seeds_needed > 5
    assert f"about {pair.seeds_needed} seeds" in pair.words


def test_what_will_tie_says_how_many_seeds_that_takes() -> None:
    (pair,) = compare(two_levels(0.002, noise=5.0), by="activation", objective=ACCURACY).pairs
    assert pair.verdict is Verdict.NOT_ENOUGH_SEEDS
    assert pair.seeds_to_tie is not None
    assert 5 < pair.seeds_to_tie < (pair.seeds_needed or 0)
    assert f"call them tied within 1 point about {pair.seeds_to_tie} seeds" in pair.words


def test_an_interval_beside_a_corrected_p_value_says_whose_it_is() -> None:
    chance = random.Random(1)
    outcomes = [
        trial(0.5 + gap + chance.gauss(0, 0.004), seed, lr=place)
        for place, gap in enumerate((0.0, 0.003, 0.009, 0.006))
        for seed in range(5)
    ]
    pairs = compare(outcomes, by="lr", objective=ACCURACY).pairs
    told = [pair for pair in pairs if "the interval is of this pair alone, p of all" in pair.words]
    for pair in pairs:
        assert pair.p_value is not None
        assert pair.low is not None
        assert pair.high is not None
        leaves_out_0 = not pair.low <= 0 <= pair.high
        undecided = pair.verdict is Verdict.NOT_ENOUGH_SEEDS
        assert (pair in told) == (leaves_out_0 and undecided)
    assert told


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_seed_or_two_are_never_enough(seeds: int) -> None:
    (pair,) = compare(two_levels(0.3, seeds=seeds), by="activation", objective=ACCURACY).pairs
    assert pair.verdict is Verdict.NOT_ENOUGH_SEEDS
    assert (pair.low is None) == (seeds == 1)


def test_a_setting_with_one_seed_leaves_the_verdict_open_and_is_told() -> None:
    outcomes = two_levels(0.3)
    for activation, value in (("relu", 0.1), ("tanh", 0.9)):
        outcomes.append(trial(value, 0, activation=activation, lr=0.9))
    (pair,) = compare(outcomes, by="activation", objective=ACCURACY).pairs
    assert (pair.num_cells, pair.verdict, pair.low) == (3, Verdict.NOT_ENOUGH_SEEDS, None)
    assert pair.difference == pytest.approx((0.3 + 0.3 - 0.8) / 3)
    assert pair.words.startswith(
        "Not enough seeds: tanh is 6.67 points better than relu; 1 of 3 matched settings has 1 "
        "seed in common, which shows no spread; run 3 seeds or more of each"
    ) or pair.words.startswith("Not enough seeds: relu is 6.67 points worse than tanh; 1 of 3")


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ((0.1,), "they share 1 seed, which shows no spread; run 3 seeds or more"),
        ((0.1, 0.5), "each of 2 matched settings has 1 seed in common, which shows no spread"),
    ],
)
def test_one_seed_is_told_as_what_it_is(rates: tuple[float, ...], words: str) -> None:
    outcomes = [o for o in two_levels(0.3, seeds=1) if o.params["lr"] in rates]
    assert words in compare(outcomes, by="activation", objective=ACCURACY).pairs[0].words


def test_a_smaller_loss_is_better() -> None:
    objective = Objective("val/loss", "minimize")
    outcomes = [
        Outcome(name, {"loss": name}, seed, {"val/loss": loss + LUCK[seed] * loss})
        for name, loss in (("a", 2.0), ("b", 1.0))
        for seed in range(5)
    ]
    (pair,) = compare(outcomes, by="loss", objective=objective).pairs
    assert (pair.a, pair.verdict, pair.win_rate, pair.num_cells_better) == (
        "b",
        Verdict.BETTER,
        1.0,
        1,
    )
    assert pair.difference is not None
    assert pair.difference < 0


def test_a_level_that_diverged_makes_no_ties_of_others() -> None:
    objective = Objective("val/loss", "minimize")
    losses = {"a": 1.0, "b": 1.1, "c": 1.01, "diverged": 1e6}
    outcomes = [
        Outcome(
            name, {"lr": name}, seed, {"val/loss": loss + (ord(name[0]) % 3 + 1) * LUCK[seed] / 5}
        )
        for name, loss in losses.items()
        for seed in range(5)
    ]
    pairs = {(p.a, p.b): p for p in compare(outcomes, by="lr", objective=objective).pairs}
    assert pairs["a", "b"].margin == pytest.approx(0.02, rel=1e-3)
    assert pairs["b", "diverged"].margin == pytest.approx(0.022, rel=1e-3)
    assert "too little to matter" not in pairs["a", "b"].words
    assert pairs["a", "b"].verdict is pairs["a", "diverged"].verdict is Verdict.BETTER


LEVELS: list[object] = [[2, 2], [3, 3, 3], {"width": [8]}, True, 1, None, math.nan, "1"]


def test_levels_may_be_of_any_kind() -> None:
    outcomes = [
        trial(0.5 + i / 50 + luck / (i + 1), seed, stages=level, other=other)
        for i, level in enumerate(LEVELS)
        for other in ([1], {"a": 2})
        for seed, luck in enumerate(LUCK)
    ]
    found = compare(outcomes, by="stages", objective=ACCURACY)
    assert [level.level for level in found.levels] == LEVELS[::-1]
    assert {(level.n, level.num_seeds) for level in found.levels} == {(10, 5)}
    assert {(pair.num_cells, pair.num_pairs, pair.verdict) for pair in found.pairs} == {
        (2, 10, Verdict.BETTER)
    }


def test_levels_that_differ_by_rounding_are_level() -> None:
    outcomes = [
        trial(value + step, seed, lr=name)
        for name, step in (("a", 0.0), ("b", 0.03))
        for seed, value in enumerate((0.3, 0.2, 1.1))
    ]
    shifted = [trial(o.metrics["val/accuracy"] - 0.03, o.seed, **o.params) for o in outcomes[3:]]
    (pair,) = compare([*outcomes[:3], *shifted], by="lr", objective=ACCURACY).pairs
    assert (pair.difference, pair.win_rate, pair.p_value) == (0.0, 0.5, 1.0)
    assert pair.verdict is Verdict.TIED


def test_numbers_whose_squares_do_not_fit_are_compared() -> None:
    objective = Objective("val/loss", "minimize")
    outcomes = [
        Outcome(name, {"lr": name}, seed, {"val/loss": 1e200 * (loss + luck * loss)})
        for name, loss in (("a", 1.0), ("b", 2.0))
        for seed, luck in enumerate(LUCK)
    ]
    (pair,) = compare(outcomes, by="lr", objective=objective).pairs
    assert (pair.a, pair.verdict) == ("a", Verdict.BETTER)


def test_what_only_one_level_has_is_averaged_and_told() -> None:
    outcomes = [trial(0.8 + LUCK[seed], seed, optimizer="adam", lr=0.1) for seed in range(5)]
    outcomes += [
        trial(0.7 + momentum / 10, seed, optimizer="sgd", lr=0.1, momentum=momentum)
        for momentum in (0.0, 0.9)
        for seed in range(5)
    ]
    (pair,) = compare(outcomes, by="optimizer", objective=ACCURACY).pairs
    assert (pair.bound, pair.num_cells, pair.num_pairs) == (("momentum",), 1, 5)
    assert pair.difference == pytest.approx(0.8 - 0.745)
    assert "momentum changed with it and may be why" in pair.words


def test_cells_of_one_level_only_are_counted() -> None:
    outcomes = [o for o in two_levels(0.03) if o.params != {"activation": "relu", "lr": 0.5}]
    (pair,) = compare(outcomes, by="activation", objective=ACCURACY).pairs
    assert (pair.num_cells, pair.num_unmatched) == (1, 1)
    assert "1 setting only one of the two has" in pair.words


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_failed_trials_are_told_not_dropped(value: float | None) -> None:
    outcomes = two_levels(0.03)
    outcomes[5] = trial(value, 0, activation="tanh", lr=0.5)
    found = compare(outcomes, by="activation", objective=ACCURACY)
    assert [(level.n, level.num_failed) for level in found.levels] == [(10, 0), (9, 1)]
    assert (found.pairs[0].num_pairs, found.pairs[0].num_incomplete) == (9, 1)
    assert "1 setting lacks results" in found.pairs[0].words
    (caveat,) = found.caveats
    assert caveat.startswith("activation tanh: 1 of 10 trials gave no number; its mean is that of")


def test_trials_under_way_are_no_failures() -> None:
    outcomes = [*two_levels(0.03), trial(None, 6, ended=False, activation="tanh", lr=0.5)]
    found = compare(outcomes, by="activation", objective=ACCURACY)
    assert found.caveats == ("1 trial has yet to finish.",)


def test_a_level_without_any_result_comes_last() -> None:
    outcomes = [*two_levels(0.03), trial(None, 0, activation="selu", lr=0.1)]
    found = compare(outcomes, by="activation", objective=ACCURACY)
    assert found.levels[-1].mean is None
    assert found.pairs[-1].verdict is Verdict.NOT_MATCHED
    assert "cannot be compared" in found.pairs[-1].words


def test_variants_are_paired_by_seed_or_stand_as_two_samples() -> None:
    shared = compare(two_levels(0.03), by="variant", objective=ACCURACY)
    assert {pair.method for pair in shared.pairs} == {"paired"}
    outcomes = [trial(0.9 + LUCK[s], s, model="a") for s in range(5)]
    outcomes += [trial(0.7 + LUCK[s], s + 5, model="b") for s in range(5)]
    (pair,) = compare(outcomes, by="variant", objective=ACCURACY).pairs
    assert (pair.method, pair.verdict) == ("unpaired", Verdict.BETTER)
    assert "not paired" in pair.words


def test_an_unknown_key_names_the_nearest_one() -> None:
    with pytest.raises(ValueError, match="did you mean 'activation'"):
        compare(two_levels(0.0), by="activations", objective=ACCURACY)


def test_names_cannot_steer_a_terminal() -> None:
    outcomes = [trial(0.5 + LUCK[s], s, model=name) for name in ("\x1b[2J", "b") for s in range(3)]
    assert "\x1b" not in compare(outcomes, by="model", objective=ACCURACY).pairs[0].words


@pytest.mark.parametrize(
    "grid",
    [
        Grid(seeds=3, cell_std=10.0),
        Grid(cells=4, interaction_std=3.0, shared_seed_std=1.0, spreads=(3.0, 1.0)),
        Grid(levels=2, cells=2, tails="heavy", missing=0.05),
    ],
    ids=["cells", "interactions", "tails"],
)
def test_levels_without_a_difference_are_seldom_called_better(grid: Grid) -> None:
    # 200 grids: 5 % and three standard errors; benchmarks/verdicts.py takes 1,000 of more kinds.
    seen = simulate(grid, num_grids=200)
    assert seen.decided <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert 0.9 <= seen.coverage <= 0.99


def test_a_difference_that_is_there_is_found() -> None:
    assert simulate(Grid(levels=2, cells=4, effect=2.0), num_grids=50).power >= 0.9


def test_a_level_that_was_picked_from_many_pays_for_that() -> None:
    alone = compare(two_levels(0.01), by="activation", objective=ACCURACY).pairs[0]
    picked = compare(two_levels(0.01), by="activation", objective=ACCURACY, picked_from=200).pairs[
        0
    ]
    assert alone.p_value is not None
    assert picked.p_value == pytest.approx(min(1.0, 200 * alone.p_value))
    assert picked.raw_p_value == alone.raw_p_value
    assert (alone.verdict, picked.verdict) == (Verdict.BETTER, Verdict.NOT_ENOUGH_SEEDS)


def test_of_very_many_levels_the_best_is_compared_and_pays_for_all_pairs() -> None:
    chance = random.Random(1)
    outcomes = [
        trial(0.5 + (i == 7) / 10 + chance.gauss(0, 0.01), seed, lr=i)
        for i in range(100)
        for seed in range(5)
    ]
    many = compare(outcomes, by="lr", objective=ACCURACY)
    assert len(many.levels) == 100
    assert {(pair.a, pair.b) for pair in many.pairs} == {(7, i) for i in range(100) if i != 7}
    assert "Of 100 levels only the best is compared" in many.caveats[0]
    raw, p_value, words = min((p.raw_p_value or 1.0, p.p_value, p.words) for p in many.pairs)
    assert p_value == pytest.approx(min(1.0, 4950 * raw))
    assert "after Holm for 4,950 pairs" in words
    few = compare(outcomes[:15], by="lr", objective=ACCURACY)
    assert (len(few.pairs), few.caveats) == (3, ())
