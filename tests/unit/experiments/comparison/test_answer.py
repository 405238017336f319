import math
import random
import re

import pytest

from experiments.comparison.answer import Answer, Cost, answer
from experiments.comparison.leaderboard import Outcome
from experiments.records import Objective

ACCURACY = Objective()


def grid(*, seeds: int, noise: float = 0.004) -> list[Outcome]:
    chance = random.Random(1)
    return [
        Outcome(
            f"{model} lr={lr}", {"model": model, "lr": lr}, seed,
            {"val/accuracy": base - lr / 10 + chance.gauss(0, noise), "test/accuracy": base - 0.02},
        )
        for model, base in (("lenet5", 0.95), ("mlp", 0.90))
        for lr in (0.05, 0.5)
        for seed in range(seeds)
    ]  # fmt: skip


def trials(*values: float | None, ended: bool = True) -> list[Outcome]:
    return [
        Outcome("a", {"lr": 1}, seed, {} if v is None else {"val/accuracy": v}, ended)
        for seed, v in enumerate(values)
    ]


def ask(outcomes: list[Outcome], objective: Objective = ACCURACY) -> Answer:
    return answer(outcomes, objective=objective)


def test_the_answer_names_winner_lead_certainty_cost_and_what_mattered() -> None:
    costs = {"lenet5 lr=0.05": Cost(61_706, 416_520, 12.34)}
    found = answer(grid(seeds=5), objective=ACCURACY, costs=costs)
    won, sure, cost = found.sentences
    assert won.startswith("lenet5 lr=0.05 came first with val/accuracy 94.")
    assert "ahead of lenet5 lr=0.5" in won
    assert "ahead of mlp lr=0.05, the best of another architecture" in won
    assert "well supported (95 % interval" in sure
    assert "n = 5" in sure
    assert cost.startswith("It takes 61.7 thousand parameters, 417 thousand multiply-adds an ex")
    assert "and 12.3 s of training; what mattered most was model (" in cost
    assert "test/accuracy took no part in picking" in found.caveats[0]


CASES = {
    "one seed": grid(seeds=1),
    "one variant": trials(0.9, 0.91, 0.92),
    "one trial": trials(0.9),
    "all failed": trials(None, None),
    "not finished": trials(None, None, ended=False),
    "no trials": [],
    "no numbers": trials(math.nan, math.inf),
    "some failed": [*grid(seeds=3), Outcome("dead", {"model": "x"}, 0, {})],
    "ties": [Outcome(v, {"lr": v}, s, {"val/accuracy": 0.9}) for v in "abc" for s in range(3)],
    "noise": grid(seeds=3, noise=0.05),
    "only noise": grid(seeds=3, noise=0.5),
}


@pytest.mark.parametrize("outcomes", CASES.values(), ids=CASES.keys())
def test_every_experiment_gets_three_whole_sentences(outcomes: list[Outcome]) -> None:
    found = ask(outcomes)
    assert len(found.sentences) == 3
    for sentence in (*found.sentences, *found.caveats):
        assert re.fullmatch(r"\S.*\.", sentence)
        assert not re.search(r"nan|inf\b|None|\(\)|\.\.|  |, \.|-0 ", sentence), sentence


@pytest.mark.parametrize(
    ("case", "place", "words"),
    [
        ("one seed", 1, "it takes 3 or more"),
        ("one variant", 0, "is the only variant with a result"),
        ("one trial", 1, "One result shows no spread"),
        ("all failed", 1, "2 failed or were given up"),
        ("not finished", 1, "2 have yet to finish"),
        ("no trials", 0, "has no trials"),
        ("no numbers", 1, "2 ended without a finite val/accuracy"),
        ("ties", 0, "level with b"),
        ("ties", 1, "tied with the next within 1 point"),
        ("noise", 1, "not enough to call it better"),
        ("only noise", 2, "nothing that was varied stands out from what the seeds do"),
        ("one seed", 2, "what mattered most cannot be told with one seed"),
    ],
)  # fmt: skip
def test_what_is_lacking_is_said(case: str, place: int, words: str) -> None:
    assert words in ask(CASES[case]).sentences[place]


def test_failures_are_among_the_caveats() -> None:
    assert any(
        "1 of 13 trials ended without a number" in said
        for said in ask(CASES["some failed"]).caveats
    )


def test_a_smaller_error_wins_and_leads_by_a_positive_number() -> None:
    objective = Objective("val/rmse", "minimize")
    outcomes = [
        Outcome(v, {"lr": v}, s, {"val/rmse": m + 0.1 * (s * (1 + (v == "x")) % 3)})
        for v, m in (("y", 14.0), ("x", 12.0))
        for s in range(5)
    ]
    won, sure, _ = ask(outcomes, objective).sentences
    assert won.startswith("x came first")
    assert re.search(r"\d ahead of y\.$", won)
    assert "well supported" in sure
