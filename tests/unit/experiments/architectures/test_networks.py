from typing import Any

import pytest

from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape, ShapeError
from experiments.architectures.joins import Add
from experiments.architectures.zoo import build, read_model
from experiments.language.kinds import Faults
from experiments.language.source import from_values


def network(
    model: Any, input_shape: Shape = (1, 28, 28), output_shape: Shape = (10,)
) -> Architecture:
    faults = Faults("model")
    choice = read_model(from_values(model), "model", faults)
    faults.raise_any()
    return build(choice, input_shape=input_shape, output_shape=output_shape)


def parameters(architecture: Architecture) -> list[int]:
    return [row.parameters for row in architecture.trace() if row.parameters]


def test_linear_models_differ_in_nothing_but_their_task() -> None:
    names = ("linear_regression", "logistic_regression", "softmax_regression")
    assert len({network(name, (5,), (1,)).layers for name in names}) == 1
    assert network("linear_regression", (5,), (3,)).parameters == (5 + 1) * 3


def test_perceptron_learns_nothing_but_its_last_unit() -> None:
    assert parameters(network("perceptron", (1, 20, 20), (1,))) == [400 + 1]


def test_maxout_has_the_parameters_of_all_its_pieces() -> None:
    model = {"name": "maxout", "hidden": [32], "pieces": 3}
    assert parameters(network(model)) == [3 * 32 * (784 + 1), 10 * (32 + 1)]


# systems.md: "parameter counts side by side".
@pytest.mark.parametrize(
    ("form", "layers"),
    [
        # 13x13 places of 8 filters of 4x4, then 6x6 places of 16 filters of 3x3x8
        ("locally_connected", [13 * 13 * 8 * (16 + 1), 6 * 6 * 16 * (72 + 1)]),
        ("convolutional", [8 * (16 + 1), 16 * (72 + 1)]),
        ("fully_connected", [1352 * (784 + 1), 576 * (1352 + 1)]),
    ],
)
def test_the_three_forms_of_local_units_differ_in_what_they_share(
    form: str, layers: list[int]
) -> None:
    architecture = network({"name": "locally_connected", "form": form})
    assert parameters(architecture) == [*layers, 10 * (576 + 1)]
    assert not any(any(row.lost_border) for row in architecture.trace())


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_plain_network_is_the_residual_one_without_skips(depth: int) -> None:
    def rows(name: str) -> list[tuple[str, Shape]]:
        trace = network(f"{name}{depth}", (3, 32, 32)).trace()
        return [(row.text, row.output_shape) for row in trace if "shortcut" not in row.path]

    residual = [row for row in rows("resnet") if row[0] != "add"]
    assert rows("plain") == residual


def test_plain34_lacks_the_parameters_of_three_projections() -> None:
    projections = sum(a * b + 2 * b for a, b in ((64, 128), (128, 256), (256, 512)))
    whole = network("resnet34", (3, 224, 224), (1000,)).parameters
    assert network("plain34", (3, 224, 224), (1000,)).parameters == whole - projections


def test_small_alexnet_halves_an_image_of_cifar10_three_times() -> None:
    rows = network("alexnet", (3, 32, 32)).trace()
    pools = [row.output_shape[1:] for row in rows if row.kind == "max_pool2d"]
    assert pools == [(16, 16), (8, 8), (4, 4)]


@pytest.mark.parametrize("form", ["dense", "convolutional"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 48)], ids=str)
def test_autoencoder_goes_through_its_code(form: str, shape: Shape) -> None:
    architecture = network({"name": "autoencoder", "form": form, "code": 5}, shape, shape)
    vectors = [row.output_shape[0] for row in architecture.trace() if len(row.output_shape) == 1]
    assert min(vectors) == 5
    assert architecture.output_shape == shape


def test_fcn32s_scores_every_32nd_pixel_before_it_grows() -> None:
    rows = network("fcn32s", (3, 64, 96), (21, 64, 96)).trace()
    assert (rows[-2].output_shape, rows[-1].output_shape) == ((21, 2, 3), (21, 64, 96))


@pytest.mark.parametrize(
    ("model", "joined"),
    [("fcn32s", []), ("fcn16s", [(21, 4, 4)]), ("fcn8s", [(21, 4, 4), (21, 8, 8)])],
)
@pytest.mark.parametrize("upsampling", ["learned", "bilinear", "nearest"])
def test_fcn_adds_the_scores_of_finer_maps(
    model: str, joined: list[Shape], upsampling: str
) -> None:
    choice = {"name": model, "upsampling": upsampling}
    architecture = network(choice, (3, 64, 64), (21, 64, 64))
    sums = [row.output_shape for row in architecture.trace() if row.kind == Add.kind]
    assert sums == joined


# Simonyan and Zisserman's VGG-16 without its last layer has 138,357,544 - 4,097,000
# parameters; the rest is 21 scores for each of three maps and what makes them grow.
def test_published_fcn8s_is_vgg16_with_scores() -> None:
    choice = {"name": "fcn8s", "depth": 16, "width": 1, "batch_norm": False}
    scores = 21 * (4096 + 1) + 21 * (512 + 1) + 21 * (256 + 1)
    growth = 21 * 21 * (4 * 4 + 4 * 4 + 16 * 16)
    architecture = network(choice, (3, 224, 224), (21, 224, 224))
    assert architecture.parameters == 138_357_544 - 4_097_000 + scores + growth


@pytest.mark.parametrize("form", ["patches", "convolutional"])
@pytest.mark.parametrize(
    ("patch", "stride", "scores"),
    [(16, 8, (7, 11)), (16, 16, (4, 6)), (32, 16, (3, 5))],
)
def test_patch_network_spreads_a_score_a_patch_over_the_image(
    form: str, patch: int, stride: int, scores: Shape
) -> None:
    choice = {"name": "patch_network", "form": form, "patch": patch, "stride": stride}
    architecture = network(choice, (3, 64, 96), (5, 64, 96))
    *_, before, after = architecture.trace()
    assert (before.output_shape, after.output_shape) == ((5, *scores), (5, 64, 96))


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (
            "fcn8s",
            (1, 28, 28),
            "fcn8s needs an image whose sides 32 divides, got 28x28; bring the images to 32x32",
        ),
        ("fcn8s", (784,), "fcn8s needs an image (channels x height x width), got a vector of 784"),
        (
            "patch_network",
            (1, 28, 30),
            (
                "patches of 16 pixels every 8 do not fit 28x30; change patch or stride, or bring "
                "the images to 32x32"
            ),
        ),
        ("patch_network", (1, 8, 8), "every 8 do not fit 8x8; change patch or stride, or bring"),
        (
            {"name": "autoencoder", "form": "convolutional"},
            (1, 30, 28),
            (
                "autoencoder of 2 convolutions needs an image whose sides 4 divides, got 30x28; "
                "bring the images to 32x28"
            ),
        ),
        ("autoencoder", (7,), "autoencoder needs an image (channels x height x width), got"),
        ("locally_connected", (1, 4, 4), "conv2d 16 3x3, stride 2x2 needs an input of at least"),
    ],
)
def test_image_that_does_not_fit_is_refused_with_the_mend(
    model: Any, shape: Shape, message: str
) -> None:
    with pytest.raises(ShapeError) as caught:
        network(model, shape, (10, *shape[1:]))
    assert message in str(caught.value)
