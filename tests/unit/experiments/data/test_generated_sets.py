from pathlib import Path
from typing import Any

import pytest

from experiments.data.dataset_facts import DatasetFacts
from experiments.data.datasets import facts
from experiments.data.generated_sets import GENERATED_SETS, SUNSHINE_BIAS, SUNSHINE_WEIGHT

NOWHERE = Path("/nowhere")


def known(name: str, **options: Any) -> DatasetFacts:
    return facts(name, options, root=NOWHERE)


@pytest.mark.parametrize(
    ("name", "shape", "target", "classes", "targets"),
    [
        ("sunshine", (1,), "values", (), ("temperature",)),
        ("too_hot", (1,), "class", ("fine", "too hot"), ()),
        ("separable", (1, 20, 20), "class", ("minus", "plus"), ()),
        ("digit_scenes", (1, 64, 64), "mask", ("background", *"0123456789"), ()),
    ],
)
def test_generated_sets_are_known_beforehand(
    name: str,
    shape: tuple[int, ...],
    target: str,
    classes: tuple[str, ...],
    targets: tuple[str, ...],
) -> None:
    found = known(name, examples=30)
    assert (found.input_shape, found.target) == (shape, target)
    assert (found.class_names, found.target_names) == (classes, targets)
    assert (found.num_train, found.num_test) == (30, 30)


@pytest.mark.parametrize("name", GENERATED_SETS)
def test_a_generated_set_says_so(name: str) -> None:
    assert GENERATED_SETS[name].doc.startswith("generated: ")


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("sunshine", "examples", 7),
        ("sunshine", "scatter", 1.0),
        ("sunshine", "seed", 1),
        ("too_hot", "examples", 7),
        ("too_hot", "seed", 1),
        ("digit_scenes", "examples", 7),
        ("digit_scenes", "size", 48),
        ("digit_scenes", "digits", 1),
        ("digit_scenes", "seed", 1),
        ("separable", "examples", 7),
        ("separable", "margin", 0.2),
        ("separable", "seed", 1),
    ],
)
def test_every_option_changes_the_digest(name: str, option: str, value: float) -> None:
    assert known(name, **{option: value}).digest != known(name).digest


def test_the_rule_of_sunshine_stands_in_its_doc() -> None:
    rule = f"temperature = {SUNSHINE_WEIGHT:g} x hours + {SUNSHINE_BIAS:g}"
    assert rule in GENERATED_SETS["sunshine"].doc


@pytest.mark.parametrize(("scatter", "negative"), [(0.0, False), (0.5, False), (2.0, True)])
def test_temperatures_may_fall_below_zero_only_with_enough_scatter(
    scatter: float, negative: bool
) -> None:
    assert known("sunshine", scatter=scatter).negative_targets is negative
