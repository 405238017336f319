import math
from typing import Any

import pytest

from experiments.errors import SpecError
from experiments.language.source import MAX_KEY_LENGTH, MAX_VALUES, from_values


def test_python_values_give_the_same_plain_data() -> None:
    value = {"name": "x", "seeds": [0, 1], "data": {"limit": None}, "lr": -math.inf}
    assert from_values(value).plain() == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {"b": object()}}, "spec: a.b: a spec holds plain data, got <object"),
        ({"a": b"bytes"}, "spec: a: a spec holds plain data, got b'bytes'"),
        ({"a": {1: 2}}, "spec: a: keys are text, got 1"),
        ({"k" * (MAX_KEY_LENGTH + 1): 1}, "spec: a key has at most 200 characters, got 201"),
        ({"a": [10**300]}, "spec: a[0]: an integer has at most 300 digits"),
        ({"a": [None] * MAX_VALUES}, f"spec: a[{MAX_VALUES - 2}]: a spec holds at most 50000"),
    ],
)
def test_what_is_no_plain_data_is_refused(value: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_values(value)
    assert str(caught.value).startswith(message)


def test_values_that_contain_themselves_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(SpecError, match="nested deeper than 50 levels"):
        from_values({"a": endless})
