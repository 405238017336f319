import pytest

from experiments.architectures.geometry import ShapeError
from experiments.architectures.window_layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    LocallyConnected2d,
    MaxPool2d,
)


# systems.md, "Arithmetic the plan must get right".
def test_ten_padded_filters_on_cifar_have_760_parameters() -> None:
    layer = Conv2d(10, (5, 5), padding=(2, 2))
    assert layer.output_shape((3, 32, 32)) == (10, 32, 32)
    assert layer.parameters((3, 32, 32)) == 760


def test_four_filters_on_colour_mnist_have_304_parameters() -> None:
    layer = Conv2d(4, (5, 5))
    assert layer.output_shape((3, 28, 28)) == (4, 24, 24)
    assert layer.parameters((3, 28, 28)) == 304


def test_multiply_adds_are_weights_times_places() -> None:
    assert Conv2d(4, (5, 5)).multiply_adds((3, 28, 28)) == 4 * 3 * 25 * 24 * 24


def test_bias_costs_no_multiply_adds() -> None:
    with_bias, without = Conv2d(4, (5, 5)), Conv2d(4, (5, 5), bias=False)
    assert with_bias.multiply_adds((3, 28, 28)) == without.multiply_adds((3, 28, 28))
    assert with_bias.parameters((3, 28, 28)) - without.parameters((3, 28, 28)) == 4


def test_groups_divide_the_weights() -> None:
    layer = Conv2d(8, (3, 3), groups=4, bias=False)
    assert layer.parameters((4, 9, 9)) == 8 * 1 * 9
    assert layer.multiply_adds((4, 9, 9)) == 8 * 1 * 9 * 49


def test_same_padding_with_an_odd_kernel_is_the_layer_with_numbers() -> None:
    same = Conv2d(16, (3, 5), padding="same", dilation=(2, 1))
    numbers = Conv2d(16, (3, 5), padding=(2, 2), dilation=(2, 1))
    assert same == numbers
    assert same.to_data() == numbers.to_data()


def test_same_padding_refuses_an_even_kernel() -> None:
    with pytest.raises(ValueError, match=r"padding: same needs an odd kernel, got 3x2; give the"):
        Conv2d(16, (3, 2), padding="same")


def test_same_padding_refuses_a_stride() -> None:
    with pytest.raises(ValueError, match=r"padding: same needs stride 1, got stride 2x2"):
        Conv2d(16, (3, 3), stride=(2, 2), padding="same")


def test_conv2d_refuses_groups_that_do_not_divide_its_filters() -> None:
    with pytest.raises(ValueError, match=r"groups must divide out_channels, got groups=3"):
        Conv2d(16, (3, 3), groups=3)


def test_conv2d_refuses_input_channels_that_groups_do_not_divide() -> None:
    with pytest.raises(ShapeError, match=r"input channels that 4 divides, got 3x9x9"):
        Conv2d(16, (3, 3), groups=4).measure((3, 9, 9))


def test_window_larger_than_its_input_is_refused_with_both_sizes() -> None:
    message = r"conv2d 16 5x5 needs an input of at least 5x5, got 6x4x4"
    with pytest.raises(ShapeError, match=message):
        Conv2d(16, (5, 5)).measure((6, 4, 4))


def test_padding_lowers_the_smallest_input() -> None:
    with pytest.raises(ShapeError, match=r"at least 3x3, got 6x2x4"):
        Conv2d(16, (5, 5), padding=(1, 1)).measure((6, 2, 4))


def test_window_on_a_vector_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"max_pool2d 2x2 needs an image .* got a vector of 400"):
        MaxPool2d((2, 2)).measure((400,))


def test_locally_connected_layer_learns_a_convolution_at_every_place() -> None:
    layer, shared = LocallyConnected2d(4, (5, 5)), Conv2d(4, (5, 5))
    measure = layer.measure((3, 28, 28))
    assert measure.output_shape == (4, 24, 24)
    assert measure.parameters == 24 * 24 * shared.parameters((3, 28, 28))
    assert measure.multiply_adds == shared.multiply_adds((3, 28, 28))
    assert LocallyConnected2d(4, (5, 5), bias=False).parameters((3, 28, 28)) == 24 * 24 * 300


def test_locally_connected_layer_moves_by_its_stride() -> None:
    layer = LocallyConnected2d(4, (5, 3), stride=(2, 1))
    assert layer.output_shape((3, 28, 28)) == (4, 12, 26)
    assert layer.measure((3, 28, 28)).window.lost_border((28, 28)) == (1, 0)
    assert layer.text == "locally_connected2d 4 5x3, stride 2x1"


def test_pool_moves_by_its_kernel_unless_told() -> None:
    assert MaxPool2d((3, 2)).output_shape((5, 9, 9)) == (5, 3, 4)
    assert AvgPool2d((2, 2), stride=(1, 1)).output_shape((5, 9, 9)) == (5, 8, 8)


def test_pool_with_its_kernel_as_stride_is_the_plain_pool() -> None:
    assert MaxPool2d((2, 2), stride=(2, 2)) == MaxPool2d((2, 2))
    assert MaxPool2d((2, 2), stride=(2, 2)).to_data() == {"max_pool2d": {"kernel_size": 2}}


def test_pool_refuses_more_padding_than_half_its_kernel() -> None:
    with pytest.raises(ValueError, match=r"at most half of kernel_size, got padding 2x2"):
        MaxPool2d((3, 3), padding=(2, 2))


def test_max_and_average_pooling_differ() -> None:
    assert MaxPool2d((2, 2)).to_data() != AvgPool2d((2, 2)).to_data()


@pytest.mark.parametrize(
    ("size", "grid", "kernel"),
    [((14, 14), (7, 7), (2, 2)), ((5, 9), (1, 1), (5, 9)), ((5, 2), (3, 7), (3, 2))],
)
def test_adaptive_pooling_spreads_its_windows(
    size: tuple[int, int], grid: tuple[int, int], kernel: tuple[int, int]
) -> None:
    measure = AdaptiveAvgPool2d(grid).measure((8, *size))
    assert measure.output_shape == (8, *grid)
    assert measure.window.kernel == kernel


def test_adaptive_pooling_loses_no_border() -> None:
    measure = AdaptiveAvgPool2d((3, 2)).measure((8, 7, 5))
    assert measure.window.lost_border((7, 5)) == (0, 0)


@pytest.mark.parametrize("parts", range(1, 14))
def test_adaptive_pooling_knows_its_largest_window(parts: int) -> None:
    for length in range(1, 30):
        ends = [(i * length // parts, -(-(i + 1) * length // parts)) for i in range(parts)]
        kernel = AdaptiveAvgPool2d((parts, 1)).measure((1, length, 1)).window.kernel
        assert kernel == (max(end - start for start, end in ends), 1)


def test_locally_connected_layer_keeps_the_inputs_of_every_place() -> None:
    measure = LocallyConnected2d(4, (5, 5)).measure((3, 28, 28))
    assert measure.activation_bytes == 4 * 24 * 24 * (3 * 25 + 4)


def test_text_names_what_is_not_the_default() -> None:
    layer = Conv2d(16, (3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 1), groups=2)
    assert layer.text == "conv2d 16 3x3, stride 2x2, padding 1x1, dilation 2x1, groups 2"
    assert Conv2d(16, (3, 3)).text == "conv2d 16 3x3"
    assert MaxPool2d((3, 3), (2, 2), (1, 1)).text == "max_pool2d 3x3, stride 2x2, padding 1x1"
