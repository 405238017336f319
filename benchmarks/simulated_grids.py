"""Grids of results whose truth is known, for what comparisons claim of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from experiments.comparison.answer import answer
from experiments.comparison.comparison import Comparison, compare
from experiments.comparison.effects import effects
from experiments.comparison.leaderboard import Outcome
from experiments.comparison.verdicts import ALPHA, Verdict
from experiments.records import Objective

OBJECTIVE: Final = Objective()
_NOISE: Final = 0.01
_DECIDED: Final = (Verdict.BETTER, Verdict.WORSE)


@dataclass(frozen=True, slots=True)
class Grid:
    """How results come about: a level's effect, its cell's, both together, and chance.

    Standard deviations are in units of the noise of one trial.

    Attributes:
        effect: How much better the first level is than all others.
        cell_std: Of the cells' effects, the same for all levels.
        interaction_std: Of what cells do to single levels, 0 on average over the cells.
        shared_seed_std: Of what a seed does to a level in all cells alike.
        spreads: A factor of the noise for each level; 1 for those that are not named.
        tails: "normal", "heavy" (Student's t with 3 degrees), "skewed" (exponential) or "counts"
            (right answers of 180 examples).
        cell_spreads: A factor of the noise for each cell; 1 for those that are not named.
        seeds_of_cells: How many of the seeds each cell has; all for those that are not named.
        missing: Share of trials without a result.
    """

    levels: int = 3
    cells: int = 8
    seeds: int = 5
    effect: float = 0.0
    cell_std: float = 0.0
    interaction_std: float = 0.0
    shared_seed_std: float = 0.0
    spreads: tuple[float, ...] = ()
    tails: str = "normal"
    cell_spreads: tuple[float, ...] = ()
    seeds_of_cells: tuple[int, ...] = ()
    missing: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What many grids of a kind gave.

    Attributes:
        coverage: Share of all pairs' intervals that hold the true difference.
        decided: Share of grids with a pair that is called better or worse.
        power: Share of the first level's pairs in which it is called better.
    """

    grids: int
    coverage: float
    decided: float
    power: float


def simulate(grid: Grid, *, num_grids: int, seed: int = 0) -> Seen:
    """Compare the levels of many grids of a kind."""
    generator = np.random.default_rng(seed)
    covered = pairs = decided = found = first = 0
    for _ in range(num_grids):
        comparison = compare(list(outcomes(grid, generator)), by="level", objective=OBJECTIVE)
        decided += any(pair.verdict in _DECIDED for pair in comparison.pairs)
        for difference, low, high in _intervals(comparison, grid):
            pairs += 1
            covered += low <= difference <= high
        for pair in comparison.pairs:
            if 0 in (pair.a, pair.b):
                first += 1
                better = Verdict.BETTER if pair.a == 0 else Verdict.WORSE
                found += pair.verdict is better
    return Seen(num_grids, covered / pairs, decided / num_grids, found / first)


def simulate_winners(grid: Grid, *, num_grids: int, seed: int = 0) -> float:
    """Give the share of grids whose answer calls the winner better than the next variant."""
    generator = np.random.default_rng(seed)
    called = 0
    for _ in range(num_grids):
        found = answer(list(outcomes(grid, generator)), objective=OBJECTIVE).against_next
        called += found is not None and found.verdict in _DECIDED
    return called / num_grids


def simulate_effects(grid: Grid, *, num_grids: int, seed: int = 0) -> float:
    """Give the share of grids in which something is said to have mattered, where nothing does."""
    generator = np.random.default_rng(seed)
    called = 0
    for _ in range(num_grids):
        found = effects(list(outcomes(grid, generator)), metric=OBJECTIVE.metric)
        called += any(s.p_value is not None and s.p_value < ALPHA for s in found.shares)
    return called / num_grids


def outcomes(grid: Grid, generator: np.random.Generator) -> Iterator[Outcome]:
    """Draw the results of one grid."""
    shape = (grid.levels, grid.cells, grid.seeds)
    cell = generator.normal(0, grid.cell_std, (1, grid.cells, 1))
    both = generator.normal(0, grid.interaction_std, (grid.levels, grid.cells, 1))
    both -= both.mean(axis=1, keepdims=True)
    shared = generator.normal(0, grid.shared_seed_std, (grid.levels, 1, grid.seeds))
    spreads = np.ones((grid.levels, 1, 1))
    spreads[: len(grid.spreads), 0, 0] = grid.spreads
    of_cells = np.ones((1, grid.cells, 1))
    of_cells[0, : len(grid.cell_spreads), 0] = grid.cell_spreads
    values = cell + both + shared + spreads * of_cells * _noise(grid, generator, shape)
    values[0] += grid.effect
    results = 0.5 + _NOISE * values
    if grid.tails == "counts":
        results = generator.binomial(180, np.clip(0.9 + _NOISE * values, 0, 1)) / 180
    there = generator.random(shape) >= grid.missing
    num_seeds = dict(enumerate(grid.seeds_of_cells))
    for level, setting, seed in np.ndindex(shape):
        if seed >= num_seeds.get(setting, grid.seeds):
            continue
        metrics = {"val/accuracy": float(results[level, setting, seed])}
        yield Outcome(
            f"{level} {setting}",
            {"level": level, "setting": setting},
            seed,
            metrics if there[level, setting, seed] else {},
        )


def _noise(grid: Grid, generator: np.random.Generator, shape: tuple[int, ...]) -> "np.ndarray":
    if grid.tails == "heavy":
        return np.asarray(generator.standard_t(3, shape) / np.sqrt(3))
    if grid.tails == "skewed":
        return generator.exponential(1.0, shape) - 1.0
    if grid.tails == "counts":
        return np.zeros(shape)
    return generator.normal(0, 1, shape)


def _intervals(comparison: Comparison, grid: Grid) -> Iterator[tuple[float, float, float]]:
    for pair in comparison.pairs:
        if pair.low is not None and pair.high is not None:
            sign = (pair.a == 0) - (pair.b == 0)
            yield sign * grid.effect * _NOISE, pair.low, pair.high
