import pytest

from experiments.architectures.geometry import Reach, ReceptiveField, Window, shape_text


def test_shapes_are_written_as_people_do() -> None:
    assert shape_text((16, 4, 4)) == "16x4x4"


# systems.md: a 7x7 input and a 3x3 filter.
@pytest.mark.parametrize(
    ("stride", "size", "lost"), [(1, 5, 0), (2, 3, 0), (3, 2, 1)], ids=["1", "2", "3"]
)
def test_filter_on_seven_pixels_counts_places_and_lost_border(
    stride: int, size: int, lost: int
) -> None:
    window = Window((3, 3), (stride, stride))
    assert window.output_size((7, 7)) == (size, size)
    assert window.lost_border((7, 7)) == (lost, lost)


def test_directions_do_not_mix() -> None:
    window = Window((3, 1), stride=(2, 3), padding=(1, 0))
    assert window.output_size((7, 10)) == (4, 4)
    assert window.smallest_input == (1, 1)


def test_dilation_widens_the_window() -> None:
    assert Window((3, 3), dilation=(2, 4)).extent == (5, 9)


def test_lost_padding_is_no_lost_border() -> None:
    # ResNet's 3x3/2 pooling of 112 pixels: the one row left over is padding.
    assert Window((3, 3), (2, 2), (1, 1)).lost_border((112, 112)) == (0, 0)


def test_stride_beyond_the_window_loses_no_border() -> None:
    # ResNet's 1x1/2 shortcut skips every second pixel anyway.
    assert Window((1, 1), (2, 2)).lost_border((56, 56)) == (0, 0)


def test_receptive_field_grows_by_window_and_stride() -> None:
    field = ReceptiveField()
    for window in (Window((3, 1)), Window((2, 1), (2, 1)), Window((3, 1)), Window((3, 1))):
        field = field.through(window)
    # 1 + 2, + 1, then twice + 2 neighbours that stand 2 pixels apart.
    assert field == ReceptiveField(Reach(12, 2), Reach(1, 1))
    assert field.size == (12, 1)


def test_union_takes_the_wider_branch_in_each_direction() -> None:
    union = ReceptiveField(Reach(3, 2), Reach(9, 2)).union(ReceptiveField(Reach(5, 2), Reach(1, 2)))
    assert union == ReceptiveField(Reach(5, 2), Reach(9, 2))


def test_pixel_of_an_upsampled_image_sees_whole_pixels_of_the_one_before() -> None:
    reach = Reach().through(8, 8).upsampled(4, 4)  # 8 pixels, each painted four times
    assert reach.pixels == 8
    assert reach.through(2, 1).pixels == 16  # two neighbours may come from two pixels
    assert reach.through(5, 1).pixels == 16
    assert reach.through(6, 1).pixels == 24


def test_bilinear_interpolation_sees_two_neighbours_through_all_levels() -> None:
    reach = Reach().upsampled(4, 2).upsampled(4, 2)
    assert (reach.below, reach.pixels) == (Reach().upsampled(4, 2), 3)


def test_transposed_window_that_keeps_the_size_is_a_window() -> None:
    assert Reach(3, 2).upsampled(3, 1) == Reach(3, 2).through(3, 1)


def test_upsampling_loses_no_border() -> None:
    assert Window((2, 2), (4, 3), transposed=True).lost_border((7, 7)) == (0, 0)
