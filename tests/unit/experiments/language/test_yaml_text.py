import math

import pytest

from experiments.errors import Position, SpecError
from experiments.language.source import MAX_VALUES
from experiments.language.yaml_text import MAX_BYTES, parse, scalar


def refusal(text: str | bytes) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text, source="s.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5.0e-4", 0.0005),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-3", -3),
        ("+3", 3),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("-.inf", -math.inf),
        ("1_000", "1_000"),
        ("relu", "relu"),
        ("9" * 400, "9" * 400),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(scalar(".nan"))  # type: ignore[arg-type]


def test_quoted_scalars_are_text() -> None:
    assert parse("a: '1'\nb: \"no\"\nc: |\n  2\n", source="s").plain() == {
        "a": "1",
        "b": "no",
        "c": "2\n",
    }


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse("on: 1\n2: b\nnull: c\n", source="s").plain() == {"on": 1, "2": "b", "null": "c"}


def test_every_node_knows_its_line_and_column() -> None:
    root = parse("a: 1\nlist:\n  - x\n  - {k: v}\n", source="s")
    items = root.entries()["list"].value.items()
    assert root.entries()["a"].value.position == Position(1, 4)
    assert items[0].position == Position(3, 5)
    assert items[1].entries()["k"].position == Position(4, 6)
    assert items[1].entries()["k"].value.position == Position(4, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml:1:1: the spec is empty"),
        ("# only a comment\n", "s.yaml:1:1: the spec is empty"),
        (
            "a: &x 1\nb: *x\n",
            (
                "s.yaml:1:4: a: anchors are not allowed, got &x; write the value out\n"
                "s.yaml:2:4: b: aliases are not allowed, got *x; write the value out"
            ),
        ),
        (
            "a: !!python/object:os.system x\n",
            "s.yaml:1:4: a: tags are not allowed, got !!python/object:os.system",
        ),
        ("a: !mine x\n", "s.yaml:1:4: a: tags are not allowed, got !mine"),
        ("a: 1\nb: {c: 2}\na: 3\n", "s.yaml:3:1: a: duplicate key: first given at 1:1"),
        (
            "p:\n  lr: 1\n  lr: 2\n",
            "s.yaml:3:3: p.lr: duplicate key: first given at 2:3",
        ),
        ("a: 1\n---\nb: 2\n", "s.yaml:2:1: one document a spec: a second one starts here"),
        ("a:\n\t- 1\n", "s.yaml:2:1: not YAML: a tab cannot indent YAML; use spaces"),
        (b"a: \xff\n", "s.yaml:1:4: not UTF-8: byte 0xff"),
        ("{a: 1, [b]: 2}\n", "s.yaml:1:8: keys are text, got a list"),
    ],
)
def test_what_a_spec_may_not_contain_is_refused_with_its_place(
    text: str | bytes, message: str
) -> None:
    assert refusal(text) == message


def test_unbalanced_brackets_are_a_spec_error_with_a_place() -> None:
    assert refusal("a: [1, 2\n").startswith("s.yaml:2:1: not YAML: ")


def test_a_text_over_one_mebibyte_is_refused() -> None:
    assert refusal("a: " + "x" * MAX_BYTES) == (
        f"s.yaml:1:1: a spec is at most {MAX_BYTES} bytes, got {MAX_BYTES + 3}"
    )


def test_deep_nesting_is_refused_before_it_can_exhaust_the_stack() -> None:
    assert "nested deeper than 50 levels" in refusal("[" * 10_000 + "]" * 10_000)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse(b"\xef\xbb\xbfname: x\n", source="s").plain() == {"name": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\x1b[2J\n", "s.yaml:1:8: not YAML: the character U+001B is not allowed"),
        ("a: 1\nb: ü\ud800\n", "s.yaml:2:5: not YAML: the character U+D800 is not allowed"),
        (b"\xef\xbb\xbfa: \xc3\xbc\0", "s.yaml:1:5: not YAML: the character U+0000 is not allowed"),
        (b"\xef\xbb\xbfa: 1\nb: \xc3\xbc\xff\n", "s.yaml:2:5: not UTF-8: byte 0xff"),
    ],
)  # fmt: skip
def test_a_character_that_no_text_may_hold_is_found_at_its_place(
    text: str | bytes, message: str
) -> None:
    assert refusal(text) == message


def test_a_tab_is_blamed_where_it_indents_and_nowhere_else() -> None:
    assert "a tab cannot indent" in refusal("a:\n  b: 1\n\tc: 2\n")
    assert "a tab" not in refusal("a:\t[1, 2\nb: 3\n")


def test_a_text_of_too_many_values_is_refused_before_it_takes_long() -> None:
    text = "[" + "{}," * MAX_VALUES + "]"
    assert refusal(text) == (
        f"s.yaml:1:{3 * MAX_VALUES - 1}: [{MAX_VALUES - 1}]: "
        f"a spec holds at most {MAX_VALUES} keys and values"
    )


def test_a_key_cannot_steer_the_terminal_that_shows_its_fault() -> None:
    found = refusal('"a\\e[2J\\u202e": 1\n"a\\e[2J\\u202e": 2\n')
    assert found == "s.yaml:2:1: a\\x1b[2J\\u202e: duplicate key: first given at 1:1"
