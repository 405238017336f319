"""The evidence: who stands where, what each hyperparameter does, what it costs, how it learned."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

from dashboards.figures.chart import Cell, Figure, Table
from dashboards.figures.comparison_figures import (
    interaction_chart,
    leaderboard_chart,
    main_effects_chart,
    shares_chart,
)
from dashboards.figures.confusion_figure import confusion_chart
from dashboards.figures.cost_figures import cost_chart, with_speed
from dashboards.figures.curve_figures import batch_loss_chart, curves_chart
from dashboards.figures.parallel_figure import parallel_chart
from dashboards.figures.portrait_figures import portrait_galleries
from dashboards.figures.rate_figure import rate_chart
from dashboards.report.document import Block, Bullets, Folded, Grid, Notice, Paragraph, Part
from dashboards.report.evidence import Findings, Study, varied
from experiments.comparison.comparison import Comparison
from experiments.comparison.effects import ANALYSIS_OF_VARIANCE
from experiments.comparison.levels import level_label
from experiments.comparison.matched_cells import VARIANT
from experiments.comparison.verdicts import Verdict
from experiments.records import Objective

_TOLD = (Verdict.BETTER, Verdict.WORSE, Verdict.TIED)
_MOST_TOLD = 8
_COSTS = ("multiply_adds", "images_per_second", "batch_size")


def _goal(objective: Objective) -> Literal["maximize", "minimize"]:
    """Give which way is better, as figures take it."""
    return "maximize" if objective.goal == "maximize" else "minimize"


def evidence_parts(findings: Findings) -> Iterator[Part]:
    """Give the parts of the evidence that there is something for."""
    if findings.answer.selection is None:
        yield from _parts("Curves", _curves(findings))
        return
    yield from _parts("Leaderboard", _leaderboard(findings))
    for comparison in findings.comparisons:
        heading = (
            "The best variants against each other"
            if comparison.by == VARIANT
            else f"What {comparison.by} does"
        )
        yield from _parts(heading, _comparison(comparison))
    yield from _parts("What mattered most", _effects(findings))
    yield from _parts("Cost", _costs(findings))
    yield from _parts("Curves", _curves(findings))


def network_part(study: Study) -> Iterator[Part]:
    """Give the part that shows what the best trial's network does."""
    blocks: list[Block] = []
    if study.confusion is not None:
        blocks += _there(confusion_chart(study.confusion, of=f"trial {study.best_trial}"))
    if study.portrait is not None:
        blocks += portrait_galleries(study.portrait)
        if study.portrait.notes:
            blocks.append(Bullets(study.portrait.notes))
    elif study.portrait_note and study.best_trial is not None:
        blocks.append(Notice(study.portrait_note))
    yield from _parts("What the winner's network does", blocks)


def _parts(heading: str, blocks: "Iterator[Block] | Sequence[Block]") -> Iterator[Part]:
    found = tuple(blocks)
    if found:
        yield Part(heading, found)


def _there(*figures: Figure | None) -> list[Figure]:
    return [figure for figure in figures if figure is not None]


def _leaderboard(findings: Findings) -> Iterator[Block]:
    objective = findings.objective
    yield from _there(leaderboard_chart(findings.standings, objective))
    test = f"test/{objective.metric.rpartition('/')[2]}"
    rows: list[tuple[Cell, ...]] = []
    for place, standing in enumerate(findings.standings, start=1):
        summary = standing.objective
        rows.append(
            (
                standing.variant,
                place if summary else None,
                summary.mean if summary else None,
                summary.std if summary else None,
                summary.low if summary else None,
                summary.high if summary else None,
                summary.n if summary else 0,
                standing.others.get(test),
            )
        )
    columns = ("variant", "place", objective.metric, "std", "low", "high", "n", test)
    yield Grid(
        "ranks",
        f"Variants by {objective.metric}: mean over n seeds, 95 % t-interval, and {test}, which "
        "took no part in the ranking.",
        Table(columns, tuple(rows)),
    )


def _comparison(comparison: Comparison) -> Iterator[Block]:
    metric = comparison.metric
    told = [f"{pair.words}." for pair in comparison.pairs if pair.verdict in _TOLD]
    untold = [f"{pair.words}." for pair in comparison.pairs if pair.verdict not in _TOLD]
    if told:
        yield Bullets(tuple(told[:_MOST_TOLD]))
    elif untold:
        yield Paragraph("No pair is told apart, and none is called tied.")
    if untold:
        first = f", the first {_MOST_TOLD}" if len(untold) > _MOST_TOLD else ""
        yield Folded(
            f"Pairs that are not told apart ({len(untold)}{first}), and the seeds that would tell",
            tuple(untold[:_MOST_TOLD]),
        )
    for caveat in comparison.caveats:
        yield Notice(caveat)
    name = "".join(c if c.isalnum() and c.isascii() else "-" for c in comparison.by.lower())
    if comparison.by != VARIANT:  # they stand in the leaderboard
        yield _levels_grid(comparison, name)
    yield Grid(
        f"pairs-of-{name}",
        f"Pairs on matched settings: what a is, the difference of {metric} (a - b) with its 95 % "
        "interval, p after Holm's correction over these pairs, and the share of pairs in which a "
        "is better.",
        Table(
            ("a", "b", "a is", "difference", "low", "high", "p", "a wins", "seeds", "settings"),
            tuple(
                (
                    level_label(pair.a),
                    level_label(pair.b),
                    str(pair.verdict.value),
                    pair.difference,
                    pair.low,
                    pair.high,
                    pair.p_value,
                    pair.win_rate,
                    pair.num_seeds,
                    pair.num_cells,
                )
                for pair in comparison.pairs
            ),
        ),
        num_shown=10,
    )


def _levels_grid(comparison: Comparison, name: str) -> Grid:
    return Grid(
        f"levels-of-{name}",
        f"Levels of {comparison.by}, each with all its trials: mean {comparison.metric}, 95 % "
        "t-interval.",
        Table(
            (comparison.by, "mean", "low", "high", "seeds", "trials", "no number"),
            tuple(
                (
                    level_label(each.level),
                    each.mean,
                    each.low,
                    each.high,
                    each.num_seeds,
                    each.n,
                    each.num_failed,
                )
                for each in comparison.levels
            ),
        ),
    )


def _effects(findings: Findings) -> Iterator[Block]:
    objective, effects = findings.objective, findings.answer.effects
    metric, goal = objective.metric, _goal(objective)
    factors = list(varied(findings.outcomes))
    if effects is not None:
        yield Paragraph(effects.words)
        if effects.method == ANALYSIS_OF_VARIANCE:  # a forest's importances are no shares of it
            shares = {" with ".join(share.names): share.share for share in effects.shares}
            if effects.seeds_share is not None:
                shares["seeds"] = effects.seeds_share
            method = f"Method: {effects.method}."
            yield from _there(shares_chart(shares, metric=metric, method=method))
    if findings.uncompared:
        listed = ", ".join(f"{name} ({num:,} levels)" for name, num in findings.uncompared.items())
        yield Paragraph(f"Too many levels to compare pair by pair: {listed}.")
    if not factors:
        return
    yield from _there(
        main_effects_chart(findings.trials, factors=factors, metric=metric, goal=goal)
    )
    for one, other in itertools.islice(itertools.combinations(_leading(findings), 2), 1):
        chart = interaction_chart(
            findings.trials, rows=one, columns=other, metric=metric, goal=goal
        )
        yield from _there(chart)
    yield from _there(parallel_chart(findings.trials, factors=factors, metric=metric, goal=goal))


def _leading(findings: Findings) -> list[str]:
    """Give the two hyperparameters that mattered most, as far as that is known."""
    effects = findings.answer.effects
    shares = effects.shares if effects is not None else ()
    ranked = list(dict.fromkeys(name for share in shares for name in share.names))
    return ranked[:2]


def _costs(findings: Findings) -> Iterator[Block]:
    metric, goal = findings.objective.metric, _goal(findings.objective)
    trials = with_speed(findings.trials, findings.curves)
    for cost in _COSTS:
        if cost == "batch_size" and (cost not in trials or trials[cost].nunique(dropna=True) < 2):
            continue
        yield from _there(cost_chart(trials, cost=cost, metric=metric, goal=goal))
    for each in dict.fromkeys((metric, "val/loss")):
        yield from _there(rate_chart(trials, metric=each, objective=metric, goal=goal))


def _curves(findings: Findings) -> Iterator[Block]:
    objective = findings.objective
    metrics = dict.fromkeys((objective.metric, "val/loss", "train/loss"))
    for metric in metrics:
        yield from _there(
            curves_chart(
                findings.trials,
                findings.curves,
                metric=metric,
                objective=objective.metric,
                goal=_goal(objective),
            )
        )
    yield from _there(
        batch_loss_chart(
            findings.trials, findings.curves, objective=objective.metric, goal=_goal(objective)
        )
    )
