import pytest

from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import ShapeError
from experiments.architectures.layers import Activation, BatchNorm, Flatten, Layer, Linear
from experiments.architectures.trace import trace
from experiments.architectures.unit_layers import AssociativeUnits
from experiments.architectures.window_layers import Conv2d, MaxPool2d

SCORES = Patches((5, 3), (2, 1), (Conv2d(6, (3, 3)), Flatten(), Linear(4)))


def test_residual_adds_up_both_branches() -> None:
    body = (Conv2d(8, (3, 3), padding=(1, 1)), BatchNorm())
    shortcut = (Conv2d(8, (1, 1), bias=False),)
    measure = Residual(body, shortcut).measure((4, 6, 6))
    assert measure.output_shape == (8, 6, 6)
    assert measure.parameters == (9 * 4 + 1) * 8 + 16 + 4 * 8
    assert measure.multiply_adds == (9 * 4 * 8 + 4 * 8) * 36


def test_residual_refuses_branches_that_cannot_be_added() -> None:
    message = r"residual cannot add its body's 8x6x6 to its shortcut's 4x6x6"
    with pytest.raises(ShapeError, match=message):
        Residual((Conv2d(8, (1, 1)),)).measure((4, 6, 6))


def test_residual_s_data_leaves_an_empty_shortcut_out() -> None:
    assert Residual((MaxPool2d((1, 1)),)).to_data() == {
        "residual": {"body": [{"max_pool2d": {"kernel_size": 1}}]}
    }


def test_residual_holds_both_branches_and_their_sum() -> None:
    body = (Conv2d(4, (1, 1)), Activation("relu"))
    assert Residual(body).measure((4, 6, 6)).activation_bytes == 3 * 4 * 4 * 36


def test_patches_count_parameters_once_and_products_for_every_patch() -> None:
    measure = SCORES.measure((2, 9, 7))
    places = 3 * 5
    assert measure.output_shape == (4, 3, 5)
    assert measure.parameters == (9 * 2 + 1) * 6 + (6 * 3 + 1) * 4
    assert measure.multiply_adds == places * (9 * 2 * 6 * 3 + 18 * 4)
    assert measure.activation_bytes == 4 * places * (2 * 5 * 3 + 18 + 4 + 4)


@pytest.mark.parametrize(
    "block",
    [
        Residual((SCORES, Residual((BatchNorm(),))), (SCORES,)),
        Patches((5, 3), (2, 1), (Residual((Conv2d(2, (1, 1)),)), Flatten(), AssociativeUnits(4))),
    ],
    ids=["residual", "patches"],
)
def test_block_is_the_sum_of_its_rows(block: Layer) -> None:
    measure, rows = block.measure((2, 9, 7)), trace([block], (2, 9, 7))
    assert len(rows) > 4
    assert rows[-1].output_shape == measure.output_shape
    for count in ("parameters", "fixed_numbers", "multiply_adds", "activation_bytes"):
        assert getattr(measure, count) == sum(getattr(row, count) for row in rows)
    assert measure.parameters + measure.fixed_numbers > 0


def test_patches_lose_the_border_that_their_stride_does_not_reach() -> None:
    window = SCORES.measure((2, 10, 7)).window
    assert window.lost_border((10, 7)) == (1, 0)


def test_patches_take_one_pixel_of_scores_too() -> None:
    assert Patches((3, 3), (1, 1), (Conv2d(4, (3, 3)),)).output_shape((1, 5, 6)) == (4, 3, 4)


def test_patches_refuse_what_is_no_pixel_of_scores() -> None:
    message = r"patches 5x5 needs a network that makes a vector .* got 4x3x3; end it with flatten"
    with pytest.raises(ShapeError, match=message):
        Patches((5, 5), (1, 1), (Conv2d(4, (3, 3)),)).measure((1, 9, 9))


def test_patches_refuse_an_image_smaller_than_one() -> None:
    with pytest.raises(ShapeError, match=r"patches 5x3, stride 2x1 needs an input of at least 5x3"):
        SCORES.measure((2, 4, 7))


def test_data_of_patches_leaves_a_stride_of_one_out() -> None:
    inner = (Flatten(), Linear(4))
    assert Patches((5, 5), (1, 1), inner).to_data() == {
        "patches": {"size": 5, "layers": ["flatten", {"linear": {"out_features": 4}}]}
    }
    assert Patches((5, 3), (2, 2), inner).to_data()["patches"]["stride"] == 2
