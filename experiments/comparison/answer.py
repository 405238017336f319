"""The answer of an experiment in three sentences, with the caveats that they need.

The first says what won, and by how much over the next and over the best of another
architecture; the second how sure that is; the third at what cost, and what mattered most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.comparison.comparison import Pair, compare
from experiments.comparison.effects import ANALYSIS_OF_VARIANCE, RELIABLE_R2, Effects, effects
from experiments.comparison.leaderboard import Outcome, rank
from experiments.comparison.matched_cells import VARIANT
from experiments.comparison.selection import Selection, select
from experiments.comparison.statistics import Summary
from experiments.comparison.verdicts import ALPHA, FEWEST_SEEDS, Verdict
from experiments.comparison.wording import (
    amount_text,
    count,
    interval_text,
    large,
    level_text,
    listed,
    p_text,
    percent,
    rough_count,
)
from experiments.language.printable import printable
from experiments.records import Objective


@dataclass(frozen=True, slots=True)
class Cost:
    """What a variant takes: its network, and the mean seconds of one of its trainings."""

    parameters: int | None = None
    multiply_adds: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Exactly three sentences, and the caveats that belong to them.

    `selection`, `against_next`, `against_other` and `effects` are the numbers behind them; each is
    None where there was nothing to compute it from.
    """

    sentences: tuple[str, str, str]
    caveats: tuple[str, ...]
    selection: Selection | None
    against_next: Pair | None
    against_other: Pair | None
    effects: Effects | None


def answer(
    outcomes: Sequence[Outcome], *, objective: Objective, costs: Mapping[str, Cost] | None = None
) -> Answer:
    """Answer an experiment's question; `costs` are by variant."""
    selection = select(outcomes, objective=objective)
    if selection is None:
        return _no_answer(outcomes, objective)
    against_next, against_other = _rivals(outcomes, selection, objective)
    mattered = effects(outcomes, metric=objective.metric)
    sentences = (
        _what_won(selection, against_next, against_other, objective),
        _how_sure(selection, against_next, against_other, objective),
        _at_what_cost(selection, (costs or {}).get(selection.variant, Cost()), mattered),
    )
    caveats = _caveats(outcomes, selection, against_next, objective)
    return Answer(sentences, tuple(caveats), selection, against_next, against_other, mattered)


def _no_answer(outcomes: Sequence[Outcome], objective: Objective) -> Answer:
    """Say that no trial has given a number, and why as far as that is known."""
    metric, total = objective.metric, len(outcomes)
    failed = sum(o.ended and not o.metrics for o in outcomes)
    unnumbered = sum(bool(o.metrics) for o in outcomes)
    waiting = total - failed - unnumbered
    parts = [
        f"{failed:,} failed or were given up" * bool(failed),
        f"{unnumbered:,} ended without a finite {metric}" * bool(unnumbered),
        f"{waiting:,} {'has' if waiting == 1 else 'have'} yet to finish" * bool(waiting),
    ]
    trials = count(total, "trial") if total else "no trials"
    why = ", ".join(part for part in parts if part)
    sentences = (
        f"There is no answer yet: none of {trials} has given {metric}."
        if total
        else "There is no answer: the experiment has no trials.",
        f"Of these, {why}." if why else "Nothing has been trained.",
        "Wait for the first trials to finish."
        if waiting
        else "Find out why before anything is compared."
        if total
        else "Submit some, and ask again.",
    )
    return Answer(sentences, (), None, None, None, None)


def _rivals(
    outcomes: Sequence[Outcome], selection: Selection, objective: Objective
) -> tuple[Pair | None, Pair | None]:
    """Compare the winner with the next variant, and with the best one of another architecture.

    Of an architecture with many variants the best is lucky: that comparison pays for the pick. The
    next variant was picked as well, and is as lucky as the winner almost.
    """
    others = [
        standing
        for standing in rank(outcomes, objective)
        if standing.objective is not None and standing.variant != selection.variant
    ]
    model = selection.params.get("model")
    elsewhere = [standing for standing in others if standing.params.get("model") != model]

    def against(variant: str, picked_from: int = 1) -> Pair:
        two = [o for o in outcomes if o.variant in {selection.variant, variant}]
        found = compare(two, by=VARIANT, objective=objective, picked_from=picked_from)
        return found.pairs[0]

    following = against(others[0].variant) if others else None
    if not elsewhere or elsewhere[0] is others[0]:
        return following, None
    return following, against(elsewhere[0].variant, len(others) - len(elsewhere) + 1)


def _what_won(
    selection: Selection, following: Pair | None, other: Pair | None, objective: Objective
) -> str:
    metric, validation = objective.metric, selection.validation
    mean = level_text(validation.mean, metric, spread=validation.width)
    name = printable(selection.variant)
    if following is None:
        return f"{name} is the only variant with a result: {metric} {mean} (n = {validation.n})."
    said = f"{name} came first with {metric} {mean} (mean of n = {validation.n})"
    said = f"{said}, {_lead(following, objective)}"
    if other is not None:
        said = f"{said} and {_lead(other, objective)}, the best of another architecture"
    return f"{said}."


def _lead(pair: Pair, objective: Objective) -> str:
    """Say how far the winner is ahead: in means as matched, or level."""
    name = printable(str(pair.b))
    if pair.difference is None or pair.difference == 0.0:
        return f"level with {name}" if pair.difference == 0.0 else f"ahead of {name}"
    spread = pair.high - pair.low if pair.low is not None and pair.high is not None else None
    gain = pair.difference if objective.goal == "maximize" else -pair.difference
    size = amount_text(abs(gain), objective.metric, spread=spread)
    return f"{size} {'ahead of' if gain > 0 else 'behind, on shared seeds,'} {name}"


def _how_sure(
    selection: Selection, following: Pair | None, other: Pair | None, objective: Objective
) -> str:
    said = _how_sure_of_next(selection, following, objective)
    if other is None or other.low is None or other.high is None or other.raw_p_value is None:
        return f"{said}."
    lead = f"{_interval(other, objective)}, {p_text(other.p_value or 0.0)}, n = {other.num_seeds}"
    verdict = {
        Verdict.BETTER: "the lead over the other architecture is well supported",
        Verdict.WORSE: "the other architecture is better on the seeds that both have",
        Verdict.TIED: f"it is tied with the other architecture within "
        f"{amount_text(other.margin, objective.metric)}",
    }.get(other.verdict, "the lead over the other architecture needs more seeds, too")
    return f"{said}; {verdict} ({lead})."


def _how_sure_of_next(selection: Selection, following: Pair | None, objective: Objective) -> str:
    validation, metric = selection.validation, objective.metric
    if following is None:
        if validation.low is None or validation.high is None:
            return "One result shows no spread, and there is nothing to compare it with"
        bounds = _bounds(validation, metric)
        return f"Its mean lies in {bounds} (95 %), with nothing to compare it with"
    if following.low is None or following.high is None or following.raw_p_value is None:
        seeds = count(max(following.num_seeds, 1), "seed")
        return (
            f"How sure that is cannot be said: {seeds} a variant shows no spread, "
            f"and it takes {FEWEST_SEEDS} or more"
        )
    basis = (
        f"{_interval(following, objective)} for the lead, {p_text(following.raw_p_value)}, "
        f"n = {following.num_seeds}"
    )
    if following.verdict is Verdict.BETTER:
        return f"That it is better than the next is well supported ({basis})"
    if following.verdict is Verdict.WORSE:
        return f"On the seeds that both have, the next is better ({basis})"
    if following.verdict is Verdict.TIED:
        within = amount_text(following.margin, metric)
        return f"It is tied with the next within {within} ({basis})"
    ways = {
        "to tell which is better": following.seeds_needed,
        "to call them tied": following.seeds_to_tie,
    }
    more = " or ".join(
        f"{rough_count(number, 'seed')} {way}" for way, number in ways.items() if number is not None
    )
    more = f"; it would take about {more}" if more else ""
    return f"That is not enough to call it better than the next ({basis}){more}"


def _at_what_cost(selection: Selection, cost: Cost, mattered: Effects) -> str:
    parts = []
    if cost.parameters is not None:
        parts.append(f"{large(cost.parameters)} parameters")
    if cost.multiply_adds is not None:
        parts.append(f"{large(cost.multiply_adds)} multiply-adds an example")
    if cost.seconds is not None:
        parts.append(f"{cost.seconds:.3g} s of training")
    taken = f"It takes {listed(parts)}" if parts else "What it costs is not known"
    if selection.num_candidates == 1 and not mattered.shares:
        return f"{taken}; there is no other variant to say what mattered."
    return f"{taken}; {_what_mattered(mattered)}."


def _what_mattered(mattered: Effects) -> str:
    if not mattered.shares:
        return "nothing that was varied changed the result"
    if mattered.method == ANALYSIS_OF_VARIANCE:
        if mattered.seeds_share is None:
            return "what mattered most cannot be told with one seed"
        sure = [s for s in mattered.shares if s.p_value is not None and s.p_value < ALPHA]
        if not sure:
            return "nothing that was varied stands out from what the seeds do"
        first = sure[0]
        size = f"{percent(first.omega_squared or 0.0)} of the variance between trials"
    elif (mattered.out_of_bag_r2 or 0.0) < RELIABLE_R2:
        return "what mattered most cannot be told from these trials"
    else:
        first = mattered.shares[0]
        size = f"{percent(first.share)} of a random forest's importances"
    return f"what mattered most was {' with '.join(first.names)} ({size})"


def _caveats(
    outcomes: Sequence[Outcome],
    selection: Selection,
    following: Pair | None,
    objective: Objective,
) -> list[str]:
    metric = objective.metric
    said = [selection.words]
    failed = sum(o.ended and o.value(metric) is None for o in outcomes)
    if failed:
        said.append(
            f"{failed:,} of {count(len(outcomes), 'trial')} ended without a number; "
            "variants that lost seeds are judged by the rest, which flatters them."
        )
    waiting = sum(not o.ended for o in outcomes)
    if waiting:
        said.append(f"{count(waiting, 'trial')} {'has' if waiting == 1 else 'have'} yet to finish.")
    own = sum(o.variant == selection.variant for o in outcomes)
    if selection.validation.n < own:
        said.append(
            f"The winner has {selection.validation.n:,} of its {count(own, 'result')} only."
        )
    if following is not None and following.method == "unpaired":
        said.append("The first two share too few seeds to be paired.")
    return said


def _bounds(summary: Summary, metric: str) -> str:
    assert summary.low is not None
    assert summary.high is not None
    low, high = (level_text(v, metric, spread=summary.width) for v in (summary.low, summary.high))
    return f"{low} to {high}"


def _interval(pair: Pair, objective: Objective) -> str:
    assert pair.low is not None
    assert pair.high is not None
    maximize = objective.goal == "maximize"
    return interval_text(pair.low, pair.high, objective.metric, maximize=maximize)
