from typing import Any

import pytest

from experiments.architectures.activations import (
    ACTIVATIONS,
    ALPHA,
    FUNCTION,
    HIDDEN_ACTIVATIONS,
    HIDDEN_FUNCTION,
    NOT_HIDDEN,
)
from experiments.language.kinds import INVALID, Faults, Kind
from experiments.language.source import from_values


def read(kind: Kind, name: Any) -> tuple[Any, str]:
    faults = Faults("spec.yaml")
    value = kind.read(from_values(name), "activation", faults)
    return value, "; ".join(fault.message for fault in faults._found)


@pytest.mark.parametrize("name", HIDDEN_ACTIVATIONS)
def test_hidden_activation_is_read_and_is_a_function(name: str) -> None:
    assert read(HIDDEN_FUNCTION, name) == (name, "")
    assert name in ACTIVATIONS


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("softmax", "softmax makes all units of a layer compete"),
        ("maxout", "maxout has weights of its own, so it is a layer and no function; write it out"),
        ("tahn", "must be one of relu, leaky_relu"),
        (3, "must be one of relu"),
    ],
)
def test_what_is_no_hidden_activation_is_refused_with_the_reason(name: Any, why: str) -> None:
    value, message = read(HIDDEN_FUNCTION, name)
    assert value is INVALID
    assert message.startswith(why)


def test_softmax_is_a_layer_s_function_and_maxout_is_not() -> None:
    assert read(FUNCTION, "softmax") == ("softmax", "")
    assert read(FUNCTION, "maxout") == (INVALID, NOT_HIDDEN["maxout"])


def test_alpha_has_a_limit_far_beyond_use() -> None:
    assert read(ALPHA, 1e4) == (1e4, "")
    assert read(ALPHA, 1e300) == (INVALID, "must be a finite number >= 0 and <= 10000, got 1e+300")


def test_step_alone_has_no_gradient() -> None:
    assert [name for name, known in ACTIVATIONS.items() if not known.has_gradient] == ["step"]


def test_schema_offers_what_is_read() -> None:
    assert HIDDEN_FUNCTION.schema() == {"enum": list(HIDDEN_ACTIVATIONS)}
