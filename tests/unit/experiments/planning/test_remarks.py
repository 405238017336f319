"""What a plan warns of: each row of the table is a network with one mistake."""

from pathlib import Path

import pytest

from experiments.planning.plan import make_plan
from experiments.spec import read_spec
from tests.fuzz.installation import KNOWLEDGE

SEVENS = "{name: fake, image_shape: [1, 7, 7], classes: 4, examples: 100}"


def warnings(
    model: str, *, data: str = SEVENS, more: str = "", task: str = "classification"
) -> list[str]:
    text = (
        f"name: t\ntask: {task}\ndata: {data}\n"
        f"defaults: {{lr: 0.1, batch_size: 8, model: {model}{more}}}\n"
    )
    return list(make_plan(read_spec(text), data_root=Path("data")).warnings)


def written(*layers: str) -> str:
    return f"{{name: n, layers: [{', '.join(layers)}]}}"


CONV = "conv2d: {out_channels: 4, kernel_size: 3}"
SAME = "conv2d: {out_channels: 4, kernel_size: 3, padding: same}"
HEAD = ("flatten", "{linear: classes}")


def test_a_stride_that_does_not_fit_is_told_with_the_border_that_is_lost() -> None:
    strided = "{conv2d: {out_channels: 64, kernel_size: 3, stride: %s}}"
    assert warnings(written(strided % 1, "flatten", "{linear: 4}")) != []  # top-heavy
    for fits in (1, 2):
        assert not any("stride" in text for text in warnings(written(strided % fits, *HEAD)))
    assert warnings(written(strided % 3, *HEAD))[0] == (
        "n, layer 0 (conv2d 64 3x3, stride 3x3): the stride does not fit its 7x7 input, so the "
        "last row and column are never seen; change size, stride or padding"
    )


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("max_pool2d: {kernel_size: [2, 1]}", "the last row is"),
        ("max_pool2d: {kernel_size: [1, 2]}", "the last column is"),
        ("max_pool2d: {kernel_size: [4, 1]}", "the last 3 rows are"),
    ],
)
def test_lost_rows_and_columns_are_counted(lost: str, told: str) -> None:
    assert f"so {told} never seen;" in warnings(written(f"{{{lost}}}", *HEAD))[0]


def test_one_remark_names_all_layers_with_the_fault() -> None:
    pool = "{max_pool2d: 2}"
    remark = warnings(written(pool, pool, *HEAD))[0]
    assert remark.startswith("n, layer 0 (max_pool2d 2x2): the stride does not fit its 7x7 input")
    assert "never seen (so in layer 1); change" in remark


def test_windows_over_a_single_pixel_are_told() -> None:
    (remark,) = warnings(
        written("{max_pool2d: 7}", "{conv2d: {out_channels: 2, kernel_size: 3, padding: 1}}", *HEAD)
    )
    assert remark == (
        "n, layer 1 (conv2d 2 3x3, padding 1x1): the map has shrunk to 1x1 before it, so most of "
        "its window meets nothing but padding; shrink less, use larger images, or fewer layers"
    )
    assert not warnings(
        written("{max_pool2d: 7}", "{conv2d: {out_channels: 2, kernel_size: 1}}", *HEAD)
    )


def test_a_pool_over_places_that_see_little_is_told_but_not_a_flatten() -> None:
    average = written(f"{{{SAME}}}", "{adaptive_avg_pool2d: 1}", *HEAD)
    assert warnings(average) == [
        (
            "n, layer 1 (adaptive_avg_pool2d 1x1): each place that it pools sees 3x3 of 7x7 "
            "pixels, so parts that lie further apart are never compared; add layers or strides "
            "before it, or put flatten in its place"
        )
    ]
    deeper = written(*[f"{{{SAME}}}"] * 3, "{adaptive_avg_pool2d: 1}", *HEAD)
    assert warnings(deeper) == []
    flat = written(f"{{{SAME}}}", "{max_pool2d: 3}", *HEAD)
    assert not any("sees" in text for text in warnings(flat))


def test_pixels_answered_from_a_small_part_of_the_image_are_told() -> None:
    scenes = "{name: digit_scenes, examples: 100}"
    narrow = written(f"{{{SAME}}}", "{conv2d: {out_channels: classes, kernel_size: 1}}")
    (remark,) = warnings(narrow, data=scenes, task="segmentation")
    assert "each output sees 3x3 of 64x64 pixels, so what is larger" in remark
    assert warnings("fcn8s", data=scenes, task="segmentation") == []


def test_a_fully_connected_layer_with_nearly_all_parameters_is_told() -> None:
    (remark,) = warnings(
        written(f"{{{CONV}}}", "flatten", "{linear: 64}", "relu", "{linear: classes}")
    )
    assert remark == (
        "n, layer 2 (linear 64): it holds 95 % of the 6,764 parameters; pool more before it, or "
        "make it smaller, and the convolutions can have more"
    )
    assert warnings("{name: mlp, hidden: [4000]}") == []


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (("{dropout: 0.5}", "{linear: 8}", "batch_norm"), True),
        (("{linear: 8}", "batch_norm", "{dropout: 0.5}"), False),
        (("{dropout: 0}", "{linear: 8}", "batch_norm"), False),
        (("{linear: 8}", "{dropout: 0.5}", "{linear: 8}", "relu", "batch_norm"), True),
        (("{residual: {body: [{linear: 49}, {dropout: 0.5}]}}", "batch_norm"), True),
        (
            (
                (
                    "{residual: {body: [{linear: 8}, {dropout: 0.5}], "
                    "shortcut: [{linear: 8}, batch_norm]}}"
                ),
            ),
            False,
        ),
    ],
)
def test_dropout_before_batch_norm_is_told(layers: tuple[str, ...], told: bool) -> None:
    found = warnings(written("flatten", *layers, "{linear: classes}"))
    assert ["(dropout): the batch_norm behind it" in text for text in found] == [True] * told


def test_a_frozen_dropout_is_not_told_for_it_drops_nothing() -> None:
    def told(freeze: str) -> bool:
        text = (
            f"name: t\ndata: {{name: fake, image_shape: [1, 8, 8], classes: 4, examples: 300}}\n"
            f"defaults: {{lr: 0.1, init: {{from: normed, freeze: {freeze}}}, "
            f"model: {written('{linear: 8}', 'batch_norm', '{linear: classes}')}}}\n"
        )
        plan = make_plan(read_spec(text), data_root=Path("data"), knowledge=KNOWLEDGE)
        return any("(dropout): the batch_norm behind it" in remark for remark in plan.warnings)

    assert not told("features")
    assert told("none")


def test_a_step_before_learned_layers_is_told_but_not_before_fixed_ones() -> None:
    learned = written("flatten", "{linear: 8}", "{activation: step}", "{linear: classes}")
    assert warnings(learned) == [
        (
            "n, layer 2 (step): it passes no gradient back, so the layers before it stay as they "
            "were drawn; use another activation, or associative_units for fixed ones"
        )
    ]
    fixed = written("flatten", "{associative_units: 8}", "{activation: step}", "{linear: classes}")
    assert warnings(fixed) == []


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("softmax_regression", "{name: mnist}"),
        ("mlp", "{name: mnist}"),
        ("lenet5", "{name: mnist}"),
        ("vgg16", "{name: cifar10}"),
        ("alexnet", "{name: cifar10}"),
        ("resnet18", "{name: cifar10}"),
        ("resnet50", "{name: cifar10}"),
        ("plain34", "{name: cifar10}"),
        ("resnet18", "{name: mnist}"),
        ("vgg16", "{name: fake, image_shape: [3, 224, 224], classes: 10, examples: 100}"),
        ("resnet18", "{name: fake, image_shape: [3, 224, 224], classes: 10, examples: 100}"),
        ("alexnet", "{name: fake, image_shape: [3, 224, 224], classes: 10, examples: 100}"),
    ],
)
def test_networks_where_they_belong_are_not_remarked_on(model: str, data: str) -> None:
    assert warnings(model, data=data) == []
