import pytest

from experiments.architectures.convolutional_form import as_convolutional
from experiments.architectures.geometry import ShapeError, Size
from experiments.architectures.layers import Activation, BatchNorm, Flatten, Linear
from experiments.architectures.templates import (
    ConvHead,
    Head,
    HiddenActivation,
    Template,
    TrialDropout,
)
from experiments.architectures.window_layers import AvgPool2d, Conv2d, MaxPool2d


def test_linear_layers_become_convolutions_and_all_else_stays() -> None:
    layers: list[Template] = [
        Conv2d(6, (5, 5)),
        HiddenActivation(),
        MaxPool2d((2, 2)),
        Flatten(),
        Linear(20, bias=False),
        BatchNorm(),
        HiddenActivation(),
        TrialDropout(),
        Head(),
    ]
    assert as_convolutional(layers, (3, 16, 12), stride=(8, 4)) == [
        *layers[:3],
        Conv2d(20, (6, 4), stride=(4, 2), bias=False),
        *layers[5:8],
        ConvHead(Conv2d(1, (1, 1))),
    ]


def test_head_right_behind_flatten_covers_the_whole_map() -> None:
    form = as_convolutional([AvgPool2d((2, 2)), Flatten(), Head()], (1, 8, 8), stride=(2, 2))
    assert form == [AvgPool2d((2, 2)), ConvHead(Conv2d(1, (4, 4)))]


@pytest.mark.parametrize(
    ("layers", "stride", "message"),
    [
        (
            [Conv2d(4, (3, 3), padding=(1, 1)), Flatten(), Head()],
            (1, 1),
            "conv2d 4 3x3, padding 1x1 pads, which differs between a patch and the middle",
        ),
        (
            [MaxPool2d((2, 2)), Flatten(), Head()],
            (3, 2),
            r"a stride of \(3, 2\) is no multiple of the layers' own, \(2, 2\)",
        ),
        ([Flatten(), BatchNorm(), Head()], (1, 1), "batch_norm has no form as a convolution"),
        ([Flatten(), Activation("softmax"), Head()], (1, 1), "softmax has no form"),
        ([Conv2d(4, (3, 3))], (1, 1), "needs flatten and a linear layer at its end"),
        ([Flatten()], (1, 1), "needs flatten and a linear layer at its end"),
        ([Linear(3)], (1, 1), "linear 3 has no form"),
    ],
    ids=str,
)
def test_what_has_no_convolutional_form_is_refused(
    layers: list[Template], stride: Size, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        as_convolutional(layers, (1, 8, 8), stride=stride)
