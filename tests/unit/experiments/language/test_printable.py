import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import Fault
from experiments.language.printable import number_text, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, größer, 漢字", "plain, größer, 漢字"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\x9bb\x7f", "a\\x9bb\\x7f"),
        ("left \u202e right", "left \\u202e right"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\udcff.png", "\\udcff.png"),
        ("tag \U000e0001", "tag \\U000e0001"),
        ("two\nlines", "two\\x0alines"),
        ("two\u2028lines", "two\\u2028lines"),
        ("un\ud7ffassigned", "un\\ud7ffassigned"),
        ("50\u00a0%", "50\u00a0%"),
    ],
)
def test_what_steers_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_line_breaks_stay_where_they_are_asked_for() -> None:
    assert printable("two\nlines\x1b", keep="\n") == "two\nlines\\x1b"


@given(st.text(st.characters()), st.text(st.characters()), st.text(st.characters()))
def test_no_fault_can_carry_what_steers_a_terminal(source: str, path: str, message: str) -> None:
    shown = str(Fault(source, None, path, message))
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (5e-4, "0.0005"),
        (1e-5, "1e-05"),
        (1.0, "1"),
        (0.0, "0"),
        (64, "64"),
        (1_000_000, "1000000"),
        (0.1234567, "0.1234567"),
    ],
)
def test_numbers_are_as_short_as_tells_them_apart(value: float, text: str) -> None:
    assert number_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_different_numbers_are_written_differently(value: float) -> None:
    assert float(number_text(value)) == value
