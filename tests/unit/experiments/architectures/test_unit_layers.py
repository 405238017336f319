import pytest

from experiments.architectures.geometry import ShapeError
from experiments.architectures.layers import Layer, Linear
from experiments.architectures.unit_layers import AssociativeUnits, Maxout


def test_maxout_learns_as_much_as_its_linear_pieces() -> None:
    measure = Maxout(10, pieces=3).measure((84,))
    assert measure.output_shape == (10,)
    assert measure.parameters == 3 * Linear(10).parameters((84,))
    assert measure.multiply_adds == 3 * 840
    assert Maxout(10, pieces=3, bias=False).parameters((84,)) == 3 * 840


def test_maxout_keeps_its_pieces_for_the_gradient() -> None:
    assert Maxout(10, pieces=3).measure((84,)).activation_bytes == 4 * (30 + 10)


def test_associative_units_learn_nothing() -> None:
    measure = AssociativeUnits(512).measure((400,))
    assert (measure.output_shape, measure.parameters) == ((512,), 0)
    assert measure.multiply_adds == measure.fixed_numbers == 512 * 400


@pytest.mark.parametrize("layer", [Maxout(4), AssociativeUnits(4)], ids=["maxout", "units"])
def test_units_refuse_an_image_and_say_what_to_do(layer: Layer) -> None:
    message = rf"{layer.text} needs a vector, got 3x5x5; put flatten before it"
    with pytest.raises(ShapeError, match=message):
        layer.measure((3, 5, 5))


def test_texts_name_the_units() -> None:
    assert Maxout(64).text == "maxout 64 of 2"
    assert AssociativeUnits(512).text == "associative_units 512"
