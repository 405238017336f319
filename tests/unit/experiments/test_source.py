import pytest

from experiments.errors import SpecError
from experiments.source import from_values


def test_python_values_give_the_same_plain_data() -> None:
    value = {"name": "x", "seeds": [0, 1], "data": {"limit": None}}
    assert from_values(value).plain() == value


def test_python_objects_are_refused() -> None:
    with pytest.raises(SpecError, match=r"spec: a\.b: a spec holds plain data, got <object"):
        from_values({"a": {"b": object()}})
