"""What a plan warns of in settings: each row of a table is a spec with one mistake."""

from pathlib import Path

import pytest

from experiments.planning.plan import make_plan
from experiments.spec import read_spec
from tests.fuzz.installation import KNOWLEDGE

DATA = "{name: fake, image_shape: [1, 8, 8], classes: 4, examples: 300}"
BENDS = (
    "n, layer 2 (%s): as the last layer it bends the outputs that %s expects as they are, so some "
    "answers are out of reach; leave it out"
)


def warnings(
    settings: str = "model: mlp", *, data: str = DATA, more: str = "", task: str = "classification"
) -> list[str]:
    text = (
        f"name: t\ntask: {task}\ndata: {data}\ndefaults: {{lr: 0.1, batch_size: 8}}\n"
        f"parameters: {{{settings}}}\n{more}\n"
    )
    return list(make_plan(read_spec(text), data_root=Path("d"), knowledge=KNOWLEDGE).warnings)


def own(*layers: str) -> str:
    return f"model: {{name: n, layers: [{', '.join(layers)}]}}"


def test_batch_norm_with_a_batch_of_one_is_told_unless_it_is_frozen() -> None:
    pooled = own("{avg_pool2d: 2}", "batch_norm", "flatten", "{linear: classes}")
    assert warnings(f"batch_size: [1, 8], {pooled}") == [
        (
            "n, layer 1 (batch_norm): with batch_size 1 it takes mean and variance of a single "
            "example, which says little of the data; use a larger batch"
        )
    ]
    frozen = "init: {from: normed}, model: softmax_regression, batch_size: 1"
    assert warnings(frozen) == []
    (told,) = warnings(frozen.replace("normed", "normed, freeze: none"))
    assert "layer 1 (batch_norm): with batch_size 1" in told


@pytest.mark.parametrize(
    ("task", "data", "loss", "function", "told"),
    [
        ("classification", DATA, "cross_entropy", "relu", True),
        ("classification", DATA, "cross_entropy", "{activation: linear}", False),
        ("classification", DATA, "mean_squared_logarithmic_error", "relu", False),
        ("classification", DATA, "mean_squared_error", "softmax", False),
        ("classification", DATA, "hinge", "softmax", True),
        ("classification", DATA, "squared_hinge", "sigmoid", True),
        ("regression", "sunshine", "mean_squared_error", "sigmoid", True),
        ("regression", "sunshine", "mean_absolute_error", "relu", True),
        ("regression", "sunshine", "mean_absolute_error", "tanh", True),
    ],
)
def test_a_function_that_bends_what_the_loss_wants_as_it_is_is_told(
    task: str, data: str, loss: str, function: str, told: bool
) -> None:
    layers = own("flatten", "{linear: classes}", function, "{dropout: 0.1}")
    output = ", output_activation: linear" if function == "softmax" else ""
    found = warnings(f"{layers}, loss: {loss}{output}", data=data, task=task)
    assert found == ([BENDS % (function, loss)] if told else [])


@pytest.mark.parametrize(
    ("varies", "key"),
    [
        ("loss: [cross_entropy, hinge]", "loss (cross_entropy, hinge)"),
        ("output_activation: [softmax, sigmoid]", "output_activation (softmax, sigmoid)"),
        ("lr: [0.1, 0.2]", None),
    ],
)
def test_losses_of_different_scales_are_no_objective(varies: str, key: str | None) -> None:
    assert warnings(f"model: mlp, {varies}") == []
    found = warnings(f"model: mlp, {varies}", more="objective: {metric: val/loss}")
    told = (
        f"objective: val/loss means another thing for each {key}, so it does not compare them; "
        "judge by val/accuracy"
    )
    assert found == ([told] if key else [])


@pytest.mark.parametrize(("fraction", "told"), [(0.03, True), (0.04, False)])
def test_a_handful_of_examples_to_validate_on_is_told(fraction: float, told: bool) -> None:
    found = warnings(data=DATA.replace("}", f", val_fraction: {fraction}}}"))
    message = (
        "the validation split has 9 examples, so what variants are judged by is mostly chance; "
        "raise data.val_fraction, or use more data"
    )
    assert found == ([message] if told else [])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            "schedule: step, step_epochs: 10",
            (
                "schedule step never drops the rate: step_epochs 10 of 10 epochs; drop sooner, or "
                "train longer"
            ),
        ),
        ("schedule: step, step_epochs: 9", None),
        (
            "schedule: step, step_epochs: 9, step_factor: 1",
            "schedule step never drops the rate: step_factor 1 keeps it; use less than 1",
        ),
        (
            "schedule: cosine, warmup_epochs: 10",
            (
                "warmup_epochs 10 of 10 epochs: the rate still rises when the training ends; warm "
                "up for less, or train longer"
            ),
        ),
        ("schedule: cosine, warmup_epochs: 9.5", None),
        ("schedule: one_cycle", None),
    ],
)
def test_a_schedule_that_never_acts_is_told_once(settings: str, told: str | None) -> None:
    found = warnings(f"model: mlp, lr: [0.1, 0.2], epochs: 10, {settings}")
    assert found == ([told] if told else [])


@pytest.mark.parametrize(("init", "told"), [("none", False), ("{from: normed}", True)])
def test_a_scale_that_a_trained_network_replaces_is_told(init: str, told: bool) -> None:
    found = warnings(
        f"model: softmax_regression, init: {init}", data=DATA.replace("}", ", normalise: none}")
    )
    message = (
        "data.normalise is not used with init: inputs are brought to the scale on which the "
        "trained network has learned; leave it out"
    )
    assert found == ([message] if told else [])
