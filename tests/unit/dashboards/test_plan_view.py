"""What people read of a plan in a terminal."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from dashboards.plan_view import plan_view
from experiments.plan import make_plan
from experiments.spec import read_spec

SPEC = "name: t\nparameters: {model: [mlp, softmax_regression], lr: [0.1, 0.2]}\nseeds: 2\n"


def shown(text: str, *, layers: bool = False) -> str:
    out = StringIO()
    console = Console(file=out, width=200, color_system=None)
    for part in plan_view(make_plan(read_spec(text), data_root=Path("data")), layers=layers):
        console.print(part)
    return out.getvalue()


def test_the_images_shown_are_those_that_a_limit_leaves() -> None:
    limited = SPEC + "data: {name: digits, limit: 1000, val_fraction: 0.2}\n"
    assert "digits 1x8x8, 10 classes: 800 images to train, 200 to validate, 360 to test" in shown(
        limited
    )


def test_a_plan_says_what_is_not_known_of_its_cost() -> None:
    last = shown(SPEC).splitlines()[-1]
    assert last.startswith("cost    no estimate of time yet; memory: ")


def test_a_plan_counts_its_trials_and_names_what_varies() -> None:
    text = shown(SPEC)
    assert "t  4 variants x 2 seeds = 8 trials" in text
    assert "varies  model: mlp, softmax_regression" in text
    assert "varies  lr: 0.1, 0.2" in text


def test_layers_are_listed_where_they_are_asked_for() -> None:
    assert "linear 128" in shown(SPEC, layers=True)
    assert "linear 128" not in shown(SPEC)
