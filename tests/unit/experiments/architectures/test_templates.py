from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.layers import Activation, Dropout, Flatten, Linear
from experiments.architectures.templates import (
    ConvHead,
    Head,
    HiddenActivation,
    PatchesTemplate,
    ResidualTemplate,
    TrialDropout,
    contains,
    fill,
    patches,
    residual,
)
from experiments.architectures.upsampling_layers import ConvTranspose2d
from experiments.architectures.window_layers import Conv2d

RELU = Activation("relu")


def test_blocks_of_layers_are_layers_at_once() -> None:
    assert residual([Flatten()]) == Residual((Flatten(),))
    assert patches((3, 3), (1, 1), [Flatten()]) == Patches((3, 3), (1, 1), (Flatten(),))


def test_blocks_with_placeholders_wait_for_them() -> None:
    assert residual([], [Head()]) == ResidualTemplate((), (Head(),))
    waiting = PatchesTemplate((3, 3), (2, 2), (Flatten(), Head()))
    assert patches((3, 3), (2, 2), [Flatten(), Head()]) == waiting


def test_heads_are_sized_by_their_place_and_the_task() -> None:
    # Segmentation into 4 classes of 2x3 pixels.
    upsampling = ConvTranspose2d(1, (4, 4), (2, 2), init="bilinear")
    filled = fill(
        [
            Head(),
            ConvHead(Conv2d(1, (1, 1), bias=False)),
            ConvHead(upsampling),
            patches((3, 3), (1, 1), [residual([Flatten(), Head()]), Head(bias=False)]),
        ],
        activation=RELU,
        dropout=0.0,
        output_shape=(4, 2, 3),
    )
    assert filled == (
        Linear(24),
        Conv2d(4, (1, 1), bias=False),
        ConvTranspose2d(4, (4, 4), (2, 2), init="bilinear"),
        Patches((3, 3), (1, 1), (Residual((Flatten(), Linear(4))), Linear(4, bias=False))),
    )


def test_trial_s_choices_reach_into_patches() -> None:
    inner = [residual([HiddenActivation()]), TrialDropout()]
    (filled,) = fill(
        [patches((3, 3), (1, 1), inner)], activation=RELU, dropout=0.5, output_shape=(9,)
    )
    assert filled == Patches((3, 3), (1, 1), (Residual((RELU,)), Dropout(0.5)))


def test_placeholders_are_found_inside_blocks() -> None:
    templates = [patches((3, 3), (1, 1), [residual([], [TrialDropout()])])]
    assert contains(templates, TrialDropout)
    assert not contains(templates, HiddenActivation)
