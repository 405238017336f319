import pytest

from experiments.errors import SpecError
from experiments.language.compound_kinds import Either, ListOf, Pair
from experiments.language.kinds import INVALID, MAX_FAULTS, Faults, Integer, Text, nearest
from experiments.language.source import Node, from_values
from experiments.language.yaml_text import parse


def read(kind: ListOf | Either | Pair, value: object) -> list[str]:
    """Give the faults of reading a value that is at fault."""
    faults = Faults("s")
    assert kind.read(from_values({"a": value}).entries()["a"].value, "a", faults) is INVALID
    with pytest.raises(SpecError) as caught:
        faults.raise_any()
    return str(caught.value).splitlines()


def test_reading_ends_with_the_hundredth_fault_and_says_so() -> None:
    faults = Faults("s")
    many = parse("[" + "x, " * 1000 + "]", source="s")
    with pytest.raises(SpecError) as caught:
        ListOf(Integer()).read(many, "a", faults)
    lines = str(caught.value).splitlines()
    assert len(lines) == MAX_FAULTS + 1
    assert lines[-1] == "s:1:299: only the first 100 faults are listed; there may be more"


def test_a_form_that_does_not_fit_may_hold_any_number_of_faults() -> None:
    wrong = ["x"] * 500
    assert read(Pair(), wrong) == [
        "s: a: must be an integer from 1 to 100000, or [height, width] of two, got "
        + str(wrong)[:77]
        + "..."
    ]
    assert len(read(Either((ListOf(Integer()), Text())), wrong)) == 1


def test_a_list_that_is_too_long_is_one_fault() -> None:
    assert read(ListOf(Integer(), max_length=3), ["x"] * 9) == [
        "s: a: takes at most 3 items, got 9"
    ]


def test_an_endless_name_is_like_no_other() -> None:
    assert nearest("relu" + "u" * 300_000, ["relu"]) == ""
    assert nearest("rleu", ["relu"]) == "; did you mean 'relu'?"


def test_a_fault_is_cut_where_nobody_would_read_on() -> None:
    faults = Faults("s")
    faults.add(Node("scalar", None, None), "p" * 5000, "m" * 5000)
    with pytest.raises(SpecError) as caught:
        faults.raise_any()
    (fault,) = caught.value.faults
    assert (len(fault.path), len(fault.message)) == (2000, 2000)
    assert fault.message.endswith("m...")
