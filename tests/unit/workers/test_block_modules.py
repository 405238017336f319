import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches
from experiments.architectures.geometry import Shape
from experiments.architectures.joins import Add, Concat, From, Tap
from experiments.architectures.layers import Activation, BatchNorm, Flatten, Layer, Linear
from experiments.architectures.upsampling_layers import Upsample
from experiments.architectures.window_layers import Conv2d, MaxPool2d
from workers import block_modules
from workers.block_modules import TappedNetwork
from workers.modules import build_module


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(shape: Shape, *stack: Layer) -> nn.Module:
    """Give a network of the layers in float64."""
    return build_module(Architecture("test", shape, stack), generator=seeded()).double()


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded(1), dtype=torch.float64)


class TwoJoins(nn.Module):
    """What the test network below is, as one would write it by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1)
        self.side = nn.Conv2d(8, 5, 1)
        self.last = nn.Conv2d(13, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        early = functional.relu(self.first(images))
        deep = functional.interpolate(
            self.deep(functional.max_pool2d(early, 2)), scale_factor=2.0, mode="nearest"
        )
        summed = deep + early
        side = self.side(early)
        scores: Tensor = self.last(torch.cat([side, summed], dim=1))
        return scores


TWO_JOINS = (
    *(Conv2d(8, (3, 3), padding=(1, 1)), Activation("relu"), Tap("early")),
    *(MaxPool2d((2, 2)), Conv2d(8, (3, 3), padding=(1, 1)), Upsample((2, 2)), Add(("early",))),
    *(Tap("summed"), From("early"), Conv2d(5, (1, 1)), Concat(("summed",)), Conv2d(4, (1, 1))),
)


# systems.md: a directed acyclic graph with two joins.
def test_network_with_two_joins_is_the_one_written_by_hand() -> None:
    architecture = Architecture("two-joins", (3, 6, 8), TWO_JOINS)
    module, written = made((3, 6, 8), *TWO_JOINS), TwoJoins().double()
    written.load_state_dict(
        dict(zip(written.state_dict(), module.state_dict().values(), strict=True))
    )
    images = normal(5, 3, 6, 8)
    outputs, expected = module(images), written(images)
    assert architecture.output_shape == expected.shape[1:] == (4, 6, 8)
    assert architecture.parameters == sum(p.numel() for p in written.parameters())
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0)
    weights = normal(*outputs.shape)
    ours, theirs = (
        torch.autograd.grad((out * weights).sum(), list(net.parameters()))
        for out, net in ((outputs, module), (expected, written))
    )
    torch.testing.assert_close(ours, theirs)


def test_network_with_taps_keeps_the_names_of_its_layers() -> None:
    module = made((3, 6, 8), *TWO_JOINS)
    assert isinstance(module, TappedNetwork)
    layers = [name.partition(".")[0] for name in module.state_dict()]
    assert layers == ["0", "0", "4", "4", "9", "9", "11", "11"]


INNER = (Conv2d(6, (3, 3)), Activation("tanh"), Flatten(), Linear(4))


def test_patches_are_looked_at_one_by_one() -> None:
    module = made((2, 9, 10), Patches((5, 4), (2, 3), INNER))
    images = normal(3, 2, 9, 10)
    outputs = module(images)
    assert outputs.shape == (3, 4, 3, 3)
    inner = module.get_submodule("0.layers")
    for row in range(3):
        for column in range(3):
            patch = images[:, :, 2 * row : 2 * row + 5, 3 * column : 3 * column + 4]
            torch.testing.assert_close(outputs[:, :, row, column], inner(patch))


# systems.md: the convolutional network gives the scores of the patch network it replaces.
def test_convolution_gives_the_scores_of_its_patch_network() -> None:
    patches = made((2, 9, 10), Patches((5, 5), (1, 1), INNER))
    convolutional = made((2, 9, 10), Conv2d(6, (3, 3)), Activation("tanh"), Conv2d(4, (3, 3)))
    state = zip(convolutional.state_dict().items(), patches.state_dict().values(), strict=True)
    convolutional.load_state_dict({name: value.view(old.shape) for (name, old), value in state})
    images = normal(3, 2, 9, 10)
    torch.testing.assert_close(convolutional(images), patches(images), rtol=0, atol=1e-12)


def test_batch_norm_in_a_patch_network_sees_all_patches_of_the_batch() -> None:
    module = made((1, 4, 5), Patches((1, 1), (1, 1), (BatchNorm(),)))
    outputs = module(3 + 2 * normal(6, 1, 4, 5))
    assert abs(outputs.mean().item()) < 1e-9
    assert outputs.var(unbiased=False).item() == pytest.approx(1, abs=1e-4)


def test_evaluation_in_parts_gives_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    module = made((2, 9, 10), Patches((5, 4), (2, 3), (*INNER, BatchNorm()))).eval()
    images = normal(5, 2, 9, 10)
    whole = module(images)
    numbers = 9 * 2 * 5 * 4  # of one image's patches
    sizes: list[int] = []
    module.get_submodule("0.layers").register_forward_hook(
        lambda _part, inputs, _outputs: sizes.append(len(inputs[0]))
    )
    monkeypatch.setattr(block_modules, "CHUNK_NUMBERS", 2 * numbers)
    torch.testing.assert_close(module(images), whole, rtol=0, atol=1e-14)
    assert sizes == [18, 18, 9]
    monkeypatch.setattr(block_modules, "CHUNK_NUMBERS", 1)
    assert module(images).shape == whole.shape
    assert sizes[3:] == [9] * 5
