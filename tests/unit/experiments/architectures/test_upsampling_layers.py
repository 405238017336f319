from typing import Any

import pytest

from experiments.architectures.geometry import ShapeError
from experiments.architectures.upsampling_layers import ConvTranspose2d, Upsample


def test_upsampling_multiplies_the_size_and_learns_nothing() -> None:
    measure = Upsample((2, 3), "bilinear").measure((21, 5, 7))
    assert measure.output_shape == (21, 10, 21)
    assert (measure.parameters, measure.multiply_adds) == (0, 0)


def test_transposed_convolution_undoes_the_size_of_the_convolution() -> None:
    # systems.md: W' = (W - F + 2P) / S + 1, solved for W.
    layer = ConvTranspose2d(8, (4, 3), stride=(2, 1), padding=(1, 0))
    assert layer.output_shape((16, 7, 7)) == (8, 14, 9)


def test_transposed_convolution_counts_a_filter_at_every_input_pixel() -> None:
    layer = ConvTranspose2d(8, (4, 4), stride=(2, 2), padding=(1, 1))
    assert layer.parameters((16, 7, 5)) == 16 * 16 * 8 + 8
    assert layer.multiply_adds((16, 7, 5)) == 16 * 8 * 16 * 35


@pytest.mark.parametrize("stride", [1, 2, 3, 8, 32])
def test_bilinear_start_keeps_to_the_scale_with_the_padding_that_fits(stride: int) -> None:
    kernel = 2 * stride - stride % 2
    padding = (kernel - stride) // 2
    layer = ConvTranspose2d(
        21, (kernel, kernel), (stride, stride), (padding, padding), bias=False, init="bilinear"
    )
    assert layer.output_shape((21, 4, 6)) == (21, 4 * stride, 6 * stride)


def test_bilinear_start_refuses_a_kernel_that_cannot_interpolate() -> None:
    message = r"init: bilinear with stride 2x3 needs kernel_size 4x5 \(.*\), got 4x4"
    with pytest.raises(ValueError, match=message):
        ConvTranspose2d(21, (4, 4), (2, 3), init="bilinear")


def test_bilinear_start_refuses_to_mix_channels() -> None:
    layer = ConvTranspose2d(21, (4, 4), (2, 2), init="bilinear")
    with pytest.raises(ShapeError, match=r"as many input channels as outputs, got 512x7x7"):
        layer.measure((512, 7, 7))


def test_padding_that_cuts_a_pixel_off_whole_is_refused() -> None:
    with pytest.raises(ValueError, match=r"less than kernel_size, got padding 3x1, kernel_size 3"):
        ConvTranspose2d(8, (3, 3), padding=(3, 1))
    with pytest.raises(ShapeError, match=r"cuts all of an input of 8x1x1 off"):
        ConvTranspose2d(8, (3, 3), padding=(2, 2)).measure((8, 1, 1))


@pytest.mark.parametrize(
    "layer", [Upsample((2, 2)), ConvTranspose2d(8, (2, 2))], ids=["upsample", "transposed"]
)
def test_vector_is_refused(layer: Any) -> None:
    with pytest.raises(ShapeError, match="needs an image"):
        layer.measure((64,))


def test_text_names_what_is_not_the_default() -> None:
    assert Upsample((2, 2)).text == "upsample 2x2 nearest"
    layer = ConvTranspose2d(21, (4, 4), (2, 2), (1, 1), init="bilinear")
    assert layer.text == "conv_transpose2d 21 4x4, stride 2x2, padding 1x1, bilinear"
    assert ConvTranspose2d(21, (2, 2)).text == "conv_transpose2d 21 2x2"
