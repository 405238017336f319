import pytest

from experiments.data.augmentation import default_pixels, smallest_window


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [((3, 32, 32), 4), ((1, 28, 28), 3), ((1, 8, 8), 1), ((1, 4, 4), 1), ((3, 64, 32), 4)],
)
def test_images_move_by_an_eighth_of_the_shorter_side(shape: tuple[int, ...], pixels: int) -> None:
    assert default_pixels(shape) == pixels


@pytest.mark.parametrize(("side", "least"), [(4, 3), (5, 4), (32, 24), (1, 1)])
def test_a_window_keeps_three_quarters_of_a_side_rounded_up(side: int, least: int) -> None:
    assert smallest_window(side) == least
