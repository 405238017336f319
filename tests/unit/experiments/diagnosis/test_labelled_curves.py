"""The doctor against real training runs with known faults (benchmarks/labelled_curves).

Run with -s to see the table; docs/diagnosis.md has it too.
"""

from pathlib import Path

import pytest

from benchmarks.labelled_curves.cases import HELD_OUT, TUNED, cases
from benchmarks.labelled_curves.curve_file import FILE, LabelledCurve, read
from benchmarks.labelled_curves.scores import PAGE, disturbed, page, scores, table
from experiments.diagnosis.finding import Code

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def curves() -> list[LabelledCurve]:
    return read(ROOT / FILE)


def test_the_curves_are_those_of_the_cases(curves: list[LabelledCurve]) -> None:
    assert [each.name for each in curves] == [case.name for case in cases()]
    assert len(curves) >= 60
    assert disturbed(curves)[0] >= 20


@pytest.mark.parametrize("code", Code)
def test_a_finding_is_right_nine_times_of_ten_and_misses_one_of_ten(
    curves: list[LabelledCurve], code: Code
) -> None:
    (score,) = (each for each in scores(curves) if each.code is code)
    assert len(score.hits) >= 5
    assert score.precision >= 0.9, score.false
    assert score.recall >= 0.9, score.missed


def test_healthy_curves_are_left_alone(curves: list[LabelledCurve]) -> None:
    num, sick = disturbed(curves)
    assert len(sick) <= 0.05 * num, sick


def test_the_page_has_the_table_of_these_curves(curves: list[LabelledCurve]) -> None:
    print(table(curves))
    text = (ROOT / PAGE).read_text()
    assert page(text, curves) == text, "python -m benchmarks.labelled_curves.scores writes it"


def test_both_halves_have_every_fault(curves: list[LabelledCurve]) -> None:
    faults = [{each.fault for each in curves if each.half == half} for half in (TUNED, HELD_OUT)]
    assert faults[0] == faults[1]
