from collections.abc import Sequence

import pytest

from experiments.architectures.geometry import Shape, ShapeError
from experiments.architectures.joins import (
    Add,
    Concat,
    From,
    Join,
    Tap,
    graph_faults,
    rename_taps,
    unused_taps,
)
from experiments.architectures.layers import Flatten, Layer


@pytest.mark.parametrize(
    ("join", "shapes", "joined"),
    [
        (Add(("a",)), [(8, 4, 4), (8, 4, 4)], (8, 4, 4)),
        (Concat(("a", "b")), [(8, 4, 4), (1, 4, 4), (2, 4, 4)], (11, 4, 4)),
        (Concat(("a",)), [(5,), (3,)], (8,)),
    ],
)
def test_join_gives_one_shape(join: Join, shapes: Sequence[Shape], joined: Shape) -> None:
    assert join.join(shapes) == joined


@pytest.mark.parametrize(
    ("join", "shapes", "message"),
    [
        (
            Add(("a", "b")),
            [(8, 4, 4), (8, 4, 4), (8, 5, 4)],
            "add needs signals of one shape, got 8x4x4 at its place, 8x4x4 at the tap a, 8x5x4 at",
        ),
        (
            Concat(("a",)),
            [(8, 4, 4), (8, 5, 4)],
            "concat needs images of one size, or vectors, got 8x4x4 at its place, 8x5x4 at the",
        ),
        (Concat(("a",)), [(8, 4, 4), (16,)], "got 8x4x4 at its place, 16 at the tap a"),
    ],
)
def test_unlike_shapes_are_refused_and_named(
    join: Join, shapes: Sequence[Shape], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        join.join(shapes)


def test_tap_named_twice_in_one_join_is_refused() -> None:
    with pytest.raises(ValueError, match="names a tap twice: a, b, a"):
        Add(("a", "b", "a"))


@pytest.mark.parametrize(
    ("layers", "faults"),
    [
        ([Tap("a"), Flatten(), Tap("b"), From("a"), Concat(("b",))], []),
        ([Flatten(), Add(("a",))], [(1, "there is no tap 'a' before it; there are: none")]),
        (
            [Tap("a"), Add(("b", "a")), Tap("b"), Add(("b",))],
            [(1, "there is no tap 'b' before it; there are: a")],
        ),
        (
            [Tap("a"), Tap("a"), Add(("a",))],
            [(1, "the tap 'a' exists already; each needs its own name")],
        ),
        (
            [Tap("a"), Flatten(), From("a")],
            [(2, "the signal before it is lost; give it a tap, and join it further on")],
        ),
    ],
)
def test_faults_of_a_graph_are_found(
    layers: Sequence[Layer], faults: list[tuple[int, str]]
) -> None:
    assert list(graph_faults(layers)) == faults


def test_taps_that_nothing_reads_are_found() -> None:
    layers = [Tap("b"), Tap("c"), Tap("a"), Flatten(), Add(("c",))]
    assert list(unused_taps(layers)) == [
        (0, "nothing uses the tap 'b'; take it out, or name it further on"),
        (2, "nothing uses the tap 'a'; take it out, or name it further on"),
    ]


def test_taps_get_their_new_names_wherever_they_are_read() -> None:
    layers = [Tap("a"), Tap("b"), From("a"), Add(("b",)), Concat(("a", "b")), Flatten()]
    assert rename_taps(layers, {"a": "c", "d": "e"}) == (
        *(Tap("c"), Tap("b"), From("c"), Add(("b",)), Concat(("c", "b")), Flatten()),
    )


@pytest.mark.parametrize("layer", [Tap("a"), From("a"), Add(("a",)), Concat(("a",))])
def test_inside_a_block_there_are_no_taps(layer: Layer) -> None:
    message = rf"{layer.text} stands inside a block, at 8x4x4; taps and joins work at the top level"
    with pytest.raises(ShapeError, match=message):
        layer.measure((8, 4, 4))


def test_texts_name_the_taps() -> None:
    texts = [layer.text for layer in (Tap("a"), From("a"), Add(("a", "b")))]
    assert texts == ["tap a", "from a", "add a, b"]
