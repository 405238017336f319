"""The patch network and its convolutional form give equal scores (systems.md)."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from experiments.architectures.architecture import Architecture
from experiments.architectures.convolutional_form import as_convolutional
from experiments.architectures.geometry import Shape, Size
from experiments.architectures.layers import Activation, BatchNorm, Dropout, Flatten, Linear
from experiments.architectures.templates import Template, fill, patches
from experiments.architectures.window_layers import AvgPool2d, Conv2d, MaxPool2d
from experiments.architectures.zoo import build, read_model
from experiments.language.kinds import Faults
from experiments.language.source import from_values
from workers.modules import build_module

RELU = Activation("relu")
# A network for patches, the shape of a patch, and the distance between two.
NETWORKS: list[tuple[list[Template], Shape, Size]] = [
    ([Flatten(), Linear(5)], (1, 4, 4), (1, 1)),
    ([Conv2d(4, (3, 3)), RELU, Flatten(), Linear(8), RELU, Linear(3)], (3, 8, 6), (5, 2)),
    (
        [
            Conv2d(4, (3, 3)),
            BatchNorm(),
            Activation("tanh"),
            MaxPool2d((2, 2)),
            Conv2d(6, (2, 2), stride=(1, 2)),
            AvgPool2d((2, 1), stride=(1, 1)),
            Flatten(),
            Linear(8, bias=False),
            BatchNorm(),
            Dropout(0.0),
            Linear(3),
            Activation("softmax"),
        ],
        (2, 10, 14),
        (4, 8),
    ),
]


def filled(layers: list[Template]) -> Any:
    return fill(layers, activation=RELU, dropout=0.0, output_shape=(1,))


def carry_over(source: nn.Module, target: nn.Module) -> None:
    """Give `target` the numbers of `source`, in order; a linear layer's become a kernel's."""
    values = list(source.state_dict().values())
    wanted = target.state_dict()
    assert [v.numel() for v in values] == [w.numel() for w in wanted.values()]
    target.load_state_dict(
        {name: v.reshape(w.shape) for (name, w), v in zip(wanted.items(), values, strict=True)}
    )


def seeded_images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("layers", "patch", "stride"), NETWORKS, ids=["linear", "two", "deep"])
def test_convolutional_form_gives_the_scores_of_every_patch(
    layers: list[Template], patch: Shape, stride: Size
) -> None:
    image = (patch[0], 32, 34)
    generator = torch.Generator().manual_seed(0)
    by_patch = build_module(
        Architecture("p", image, filled([patches((patch[1], patch[2]), stride, layers)])),
        generator=generator,
    )
    at_once = build_module(
        Architecture("c", image, filled(as_convolutional(layers, patch, stride=stride))),
        generator=generator,
    )
    by_patch(seeded_images(16, *image))  # batch norm gets statistics of its own
    carry_over(by_patch, at_once)
    images = seeded_images(2, *image)
    wanted, scores = by_patch.eval()(images), at_once.eval()(images)
    assert scores.shape == wanted.shape
    torch.testing.assert_close(scores, wanted, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"patch": 10, "stride": 6}, {"patch": 12, "stride": 12}])
def test_patch_network_s_two_forms_are_one_network(options: dict[str, int]) -> None:
    side = options.get("patch", 16) + 4 * options.get("stride", 8)

    def module(form: str) -> nn.Sequential:
        faults = Faults("model")
        choice = read_model(
            from_values({"name": "patch_network", "form": form, **options}), "model", faults
        )
        faults.raise_any()
        architecture = build(choice, input_shape=(1, side, side), output_shape=(11, side, side))
        whole = build_module(architecture, generator=torch.Generator().manual_seed(0)).eval()
        assert isinstance(whole, nn.Sequential)
        return whole

    by_patch, at_once = module("patches"), module("convolutional")
    carry_over(by_patch, at_once)
    images = seeded_images(3, 1, side, side)
    scores = [nn.Sequential(*list(whole)[:-1])(images) for whole in (by_patch, at_once)]
    assert scores[0].shape[2:] == (5, 5)
    torch.testing.assert_close(scores[0], scores[1], rtol=0.0, atol=1e-5)
    torch.testing.assert_close(by_patch(images), at_once(images), rtol=0.0, atol=1e-5)
