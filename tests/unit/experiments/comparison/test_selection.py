import random

import pytest

from experiments.comparison.leaderboard import Outcome
from experiments.comparison.selection import Selection, select
from experiments.records import Objective

ACCURACY = Objective()
LUCK = [0.010, -0.004, 0.003, -0.009, 0.000]


def variants(*means: float, seeds: int = 5) -> list[Outcome]:
    """Variants with the same luck by seed; of every second one the seeds are turned round."""
    return [
        Outcome(
            chr(ord("a") + i), {"lr": i}, seed,
            {"val/accuracy": mean + LUCK[::-1][seed] if i % 2 else mean + LUCK[seed],
             "test/accuracy": mean - 0.02},
        )
        for i, mean in enumerate(means)
        for seed in range(seeds)
    ]  # fmt: skip


def picked(outcomes: list[Outcome]) -> Selection:
    found = select(outcomes, objective=ACCURACY)
    assert found is not None
    return found


def test_the_winner_is_picked_on_validation_and_told_on_test() -> None:
    found = picked(variants(0.90, 0.95, 0.93))
    assert (found.variant, found.num_candidates) == ("b", 3)
    assert found.test is not None
    assert found.test.mean == pytest.approx(0.93)
    assert "best epoch" in found.words


def test_the_luck_of_picking_grows_with_the_candidates() -> None:
    def drop(candidates: int) -> float:
        total = 0.0
        for seed in range(20):
            chance = random.Random(seed)
            found = select(
                [
                    Outcome(str(v), {}, s, {"val/accuracy": chance.gauss(0.5, 0.01)})
                    for v in range(candidates)
                    for s in range(5)
                ],
                objective=ACCURACY,
            )
            assert found is not None
            assert found.expected_drop is not None
            total += found.expected_drop
        return total / 20

    # The mean of the largest of 20 normals is 1.87 standard errors (0.00447) above them.
    few, many = drop(2), drop(20)
    assert 0 < few < many
    assert 0.3 * 1.87 * 0.00447 < many < 1.5 * 1.87 * 0.00447


def test_one_seed_shows_no_luck() -> None:
    found = picked(variants(0.9, 0.8, seeds=1))
    assert found.expected_drop is found.win_share is None


def test_one_seed_of_one_variant_is_told_as_that() -> None:
    found = picked(variants(0.9, 0.8)[:-4])
    assert (found.validation.n, found.expected_drop) == (5, None)
    assert "Since a variant has one seed, how much" in found.words


@pytest.mark.parametrize("shift", [0, 5])
def test_ties_share_the_wins(shift: int) -> None:
    """Also where the variants have not the same seeds, and each is resampled by itself."""
    tied = [o for o in variants(0.9, 0.9, 0.9, 0.9) if o.variant in "ac"]
    tied += [Outcome("z", {}, o.seed + shift, o.metrics) for o in tied if o.variant == "a"]
    found = picked(tied)
    assert found.win_share == pytest.approx(1 / 3, abs=0.05 if shift else 1e-9)
    assert found.expected_drop is not None
    assert (found.expected_drop > 0.001) == bool(shift)


def test_next_to_nothing_is_less_than_a_tenth_of_the_standard_error() -> None:
    far, near = picked(variants(0.95, 0.90, seeds=3)), picked(variants(0.950, 0.951, seeds=3))
    assert "next to nothing" in far.words
    assert near.expected_drop is not None
    assert near.validation.std is not None
    assert near.validation.width is not None
    error = near.validation.std / 3**0.5
    assert 0.1 * error < near.expected_drop < near.validation.width / 20  # of so few seeds, wide
    assert "worth at least about" in near.words
