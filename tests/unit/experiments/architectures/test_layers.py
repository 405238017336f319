import pytest

from experiments.architectures.geometry import ShapeError
from experiments.architectures.layers import (
    Activation,
    BatchNorm,
    Dropout,
    Flatten,
    Layer,
    Linear,
    Reshape,
)
from experiments.architectures.window_layers import Conv2d


# systems.md, "Arithmetic the plan must get right".
def test_dense_thousand_on_a_video_frame_has_921_601_000_parameters() -> None:
    assert Linear(1000).parameters((3 * 480 * 640,)) == 921_601_000


def test_map_into_4096_units_has_268_435_456_weights() -> None:
    features = Flatten().output_shape((256, 16, 16))
    assert Linear(4096, bias=False).parameters(features) == 268_435_456


def test_linear_costs_one_multiply_add_a_weight() -> None:
    assert Linear(10).multiply_adds((84,)) == 840
    assert Linear(10).parameters((84,)) == 850


def test_linear_refuses_an_image_and_says_what_to_do() -> None:
    message = r"linear 10 needs a vector, got 16x5x5; put flatten before it"
    with pytest.raises(ShapeError, match=message):
        Linear(10).measure((16, 5, 5))


def test_batch_norm_learns_two_numbers_a_channel() -> None:
    assert BatchNorm().parameters((64, 7, 7)) == 128
    assert BatchNorm().parameters((500,)) == 1000


@pytest.mark.parametrize("layer", [Activation("relu"), Dropout(0.5)], ids=["relu", "dropout"])
def test_pointwise_layers_change_no_shape_and_learn_nothing(layer: Layer) -> None:
    measure = layer.measure((16, 5, 7))
    assert (measure.output_shape, measure.parameters) == ((16, 5, 7), 0)


def test_flatten_keeps_every_element_and_sees_the_whole_map() -> None:
    measure = Flatten().measure((16, 5, 7))
    assert measure.output_shape == (560,)
    assert measure.window.kernel == (5, 7)
    assert Flatten().output_shape((560,)) == (560,)


def test_alpha_takes_its_function_s_default() -> None:
    assert Activation("leaky_relu") == Activation("leaky_relu", 0.01)
    assert Activation("elu").alpha == 1.0
    assert Activation("relu").alpha is None


def test_alpha_is_refused_where_the_function_has_none() -> None:
    with pytest.raises(ValueError, match=r"relu has no alpha, got alpha=0.2"):
        Activation("relu", 0.2)


def test_activation_s_text_shows_alpha_only_where_it_was_chosen() -> None:
    assert Activation("leaky_relu").text == "leaky_relu"
    assert Activation("leaky_relu", 0.2).text == "leaky_relu 0.2"


def test_reshape_gives_the_same_numbers_as_an_image() -> None:
    measure = Reshape((1, 4, 6)).measure((24,))
    assert (measure.output_shape, measure.parameters) == ((1, 4, 6), 0)
    with pytest.raises(ShapeError, match=r"reshape 1x4x6 needs 24 numbers, got 27 in 3x3x3"):
        Reshape((1, 4, 6)).measure((3, 3, 3))


def test_output_is_held_in_memory_unless_it_is_a_view() -> None:
    layers = (Linear(10), Activation("relu"), Flatten(), Reshape((2, 5, 1)))
    assert [layer.measure((10,)).activation_bytes for layer in layers] == [40, 40, 0, 0]


def test_data_leaves_defaults_out() -> None:
    assert Linear(10).to_data() == {"linear": {"out_features": 10}}
    assert Linear(10, bias=False).to_data() == {"linear": {"out_features": 10, "bias": False}}
    assert Flatten().to_data() == "flatten"
    assert Activation("linear").to_data() == {"activation": "linear"}
    assert Conv2d(8, (3, 5), padding=(1, 1)).to_data() == {
        "conv2d": {"out_channels": 8, "kernel_size": [3, 5], "padding": 1}
    }


def test_data_of_a_shape_is_whole() -> None:
    assert Reshape((8, 8, 8)).to_data() == {"reshape": {"shape": [8, 8, 8]}}
