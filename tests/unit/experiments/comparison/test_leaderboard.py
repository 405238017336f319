import math

import pytest

from experiments.comparison.leaderboard import Outcome, rank
from experiments.records import Objective

ACCURACY = Objective()


def outcome(variant: str, value: float | None, test: float = 0.5) -> Outcome:
    metrics = {} if value is None else {"val/accuracy": value, "test/accuracy": test}
    return Outcome(variant, {"model": variant}, 0, metrics)


def test_the_best_mean_comes_first() -> None:
    board = rank(
        [outcome("a", 0.8), outcome("b", 0.7), outcome("a", 0.9), outcome("b", 0.99)], ACCURACY
    )
    assert [standing.variant for standing in board] == ["a", "b"]
    assert [s.objective.mean for s in board if s.objective] == pytest.approx([0.85, 0.845])


def test_a_smaller_loss_comes_first_when_the_goal_is_to_minimise() -> None:
    objective = Objective("val/loss", "minimize")
    outcomes = [Outcome(name, {}, 0, {"val/loss": loss}) for name, loss in [("a", 0.5), ("b", 0.2)]]
    assert [standing.variant for standing in rank(outcomes, objective)] == ["b", "a"]


def test_variants_without_a_result_come_last_and_say_so() -> None:
    board = rank([outcome("dead", None), outcome("alive", 0.1)], ACCURACY)
    assert [(s.variant, s.objective is None, s.num_trials) for s in board] == [
        ("alive", False, 1),
        ("dead", True, 1),
    ]


def test_a_failed_seed_lowers_n_but_not_the_number_of_trials() -> None:
    (standing,) = rank([outcome("a", 0.8), outcome("a", None)], ACCURACY)
    assert standing.objective is not None
    assert (standing.objective.n, standing.num_trials) == (1, 2)


def test_other_metrics_are_averaged_over_seeds() -> None:
    (standing,) = rank([outcome("a", 0.8, test=0.6), outcome("a", 0.9, test=0.7)], ACCURACY)
    assert standing.others == {"test/accuracy": pytest.approx(0.65)}


def test_a_metric_that_some_seeds_lack_is_averaged_over_the_rest() -> None:
    metrics = [
        {"val/accuracy": 0.8},
        {"val/accuracy": 0.9, "test/accuracy": 0.7, "test/loss": math.nan},
        {"val/accuracy": 0.7, "test/accuracy": math.inf, "val/loss": 2.0},
        {"val/accuracy": 0.6, "test/accuracy": 0.5, "val/loss": 1.0},
    ]
    (standing,) = rank([Outcome("a", {}, seed, m) for seed, m in enumerate(metrics)], ACCURACY)
    assert standing.others == pytest.approx({"test/accuracy": 0.6, "val/loss": 1.5})
    assert standing.others_n == {"test/accuracy": 2, "val/loss": 2}


def test_equal_means_keep_the_order_of_the_spec() -> None:
    board = rank([outcome(name, 0.5) for name in "zab"], ACCURACY)
    assert [standing.variant for standing in board] == ["z", "a", "b"]


def test_what_is_no_number_does_not_count() -> None:
    (standing,) = rank([outcome("a", 0.8), outcome("a", math.nan)], ACCURACY)
    assert standing.objective is not None
    assert (standing.objective.mean, standing.objective.n, standing.num_trials) == (0.8, 1, 2)


def test_the_interval_of_a_share_stays_within_0_and_1() -> None:
    (standing,) = rank([outcome("a", 0.99), outcome("a", 1.0)], ACCURACY)
    assert standing.objective is not None
    assert (standing.objective.high, round(standing.objective.mean, 3)) == (1.0, 0.995)
