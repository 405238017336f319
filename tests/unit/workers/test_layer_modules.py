import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional

from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches
from experiments.architectures.geometry import Shape, Size
from experiments.architectures.layers import (
    Activation,
    BatchNorm,
    Dropout,
    Flatten,
    Layer,
    Linear,
    Reshape,
)
from experiments.architectures.unit_layers import AssociativeUnits, Maxout
from experiments.architectures.upsampling_layers import ConvTranspose2d, Upsample
from experiments.architectures.window_layers import Conv2d, LocallyConnected2d
from workers.layer_modules import BilinearUpsample, Step, StreamDropout
from workers.modules import build_module, set_dropout_generator


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(shape: Shape, *stack: Layer) -> nn.Module:
    """Give a network of the layers in float64."""
    return build_module(Architecture("test", shape, stack), generator=seeded()).double()


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(1), dtype=torch.float64)


# systems.md: maxout can implement relu and leaky relu.
@pytest.mark.parametrize("slope", [0.0, 0.2], ids=["relu", "leaky_relu"])
def test_maxout_implements_relu_and_leaky_relu_exactly(slope: float) -> None:
    module = made((5,), Maxout(3))
    rows, shifts = normal(3, 5), normal(3)
    with torch.no_grad():  # each unit's pieces: a linear function, and its share
        module.get_parameter("0.weight").copy_(torch.stack([rows, slope * rows], 1).flatten(0, 1))
        module.get_parameter("0.bias").copy_(torch.stack([shifts, slope * shifts], 1).flatten())
    inputs = normal(50, 5)
    expected = functional.leaky_relu(functional.linear(inputs, rows, shifts), slope)
    torch.testing.assert_close(module(inputs), expected, rtol=0, atol=1e-14)


def test_maxout_gives_the_largest_piece_of_each_unit() -> None:
    module = made((4,), Maxout(3, pieces=5))
    weight, bias = module.get_parameter("0.weight"), module.get_parameter("0.bias")
    inputs = normal(7, 4)
    for unit in range(3):
        pieces = [inputs @ weight[5 * unit + k] + bias[5 * unit + k] for k in range(5)]
        expected = torch.stack(pieces).max(dim=0).values
        torch.testing.assert_close(module(inputs)[:, unit], expected)


def test_associative_units_give_signs_and_are_not_learned() -> None:
    module = made((6,), AssociativeUnits(40), Linear(1))
    units = module.get_submodule("0")
    inputs = normal(30, 6)
    signs = units(inputs)
    weight = units.get_buffer("weight")
    assert torch.equal(signs, torch.where(inputs @ weight.T >= 0, 1.0, -1.0).double())
    assert 0 < signs.gt(0).double().mean() < 1
    assert [name for name, _ in module.named_parameters()] == ["1.weight", "1.bias"]
    assert "0.weight" in module.state_dict()


def test_step_is_one_from_zero_on_and_sends_no_gradient() -> None:
    inputs = torch.tensor([-torch.inf, -1e-30, -0.0, 0.0, 1e-30, 2.0], requires_grad=True)
    outputs = Step()(inputs)
    assert outputs.tolist() == [-1.0, -1.0, 1.0, 1.0, 1.0, 1.0]
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs)
    assert not gradient.any()


def test_step_does_not_hide_that_training_has_diverged() -> None:
    for module in (Step(), made((2,), AssociativeUnits(3))):
        assert module(torch.full((1, 2), torch.nan, dtype=torch.float64)).isnan().all()


# Torch's batch norm misreads the strides that some layers' outputs have for a batch of one.
@pytest.mark.parametrize("num_images", [1, 2])
@pytest.mark.parametrize(
    "stack",
    [
        (LocallyConnected2d(2, (2, 2)),),
        (LocallyConnected2d(3, (2, 1), stride=(1, 2), bias=False),),
        (Patches((2, 2), (1, 1), (Flatten(), Linear(2))),),
        (Patches((2, 3), (2, 1), (Conv2d(2, (2, 3)),)),),
        (Upsample((2, 1), "bilinear"),),
        (Flatten(), Maxout(8), Reshape((2, 2, 2))),
    ],
    ids=str,
)
def test_gradient_through_batch_norm_is_that_of_finite_differences(
    stack: tuple[Layer, ...], num_images: int
) -> None:
    module = made((3, 3, 4), *stack, BatchNorm()).train()
    images = normal(num_images, 3, 3, 4).requires_grad_()
    weights = normal(*module(images).shape)
    assert torch.autograd.gradcheck(lambda x: (module(x).pow(3) * weights).sum(), images)


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_locally_connected_layer_has_filters_of_its_own_at_every_place(stride: Size) -> None:
    module = made((2, 9, 10), LocallyConnected2d(3, (4, 2), stride=stride))
    weight, bias = module.get_parameter("0.weight"), module.get_parameter("0.bias")
    images = normal(5, 2, 9, 10)
    outputs = module(images)
    rows, columns = outputs.shape[2:]
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride[0], column * stride[1]
            patch = images[:, :, top : top + 4, left : left + 2].flatten(1)
            place = weight[row * columns + column]
            expected = patch @ place.T + bias[:, row, column]
            torch.testing.assert_close(outputs[:, :, row, column], expected)


def test_locally_connected_layer_with_equal_places_is_a_convolution() -> None:
    layer, shared = LocallyConnected2d(3, (3, 2), stride=(2, 1)), Conv2d(3, (3, 2), stride=(2, 1))
    module, convolution = made((2, 9, 8), layer), made((2, 9, 8), shared)
    with torch.no_grad():
        filters = convolution.get_parameter("0.weight").flatten(1)
        module.get_parameter("0.weight").copy_(filters.expand(28, -1, -1))
        constants = convolution.get_parameter("0.bias")[:, None, None]
        module.get_parameter("0.bias").copy_(constants.expand(-1, 4, 7))
    images = normal(5, 2, 9, 8)
    torch.testing.assert_close(module(images), convolution(images))


@pytest.mark.parametrize("scale", [(2, 2), (3, 1), (1, 5), (8, 32)])
def test_upsampling_interpolates_as_torch_does(scale: Size) -> None:
    images = normal(2, 3, 4, 5).requires_grad_()
    factors = tuple(map(float, scale))
    for mode in ("nearest", "bilinear"):
        ours = made((3, 4, 5), Upsample(scale, mode))(images)
        torchs = functional.interpolate(images, scale_factor=factors, mode=mode)
        torch.testing.assert_close(ours, torchs, rtol=0, atol=1e-12)
        weights = normal(*ours.shape)
        gradients = [torch.autograd.grad((out * weights).sum(), images) for out in (ours, torchs)]
        torch.testing.assert_close(*gradients)


# Long, Shelhamer and Darrell, 2015, section 4.1.
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_bilinear_start_interpolates_inside_the_image(factor: int) -> None:
    kernel = 2 * factor - factor % 2
    padding = (kernel - factor) // 2
    layer = ConvTranspose2d(
        4, (kernel, kernel), (factor, factor), (padding, padding), init="bilinear"
    )
    images = normal(2, 4, 6, 7)
    ours, exact = made((4, 6, 7), layer)(images), BilinearUpsample((factor, factor))(images)
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(ours[inside], exact[inside], rtol=0, atol=1e-6)


def test_softmax_gives_probabilities_over_classes_or_channels() -> None:
    for shape in ((7,), (7, 3, 2)):
        probabilities = made(shape, Activation("softmax"))(normal(4, *shape))
        torch.testing.assert_close(
            probabilities.sum(dim=1), torch.ones(4, *shape[1:], dtype=torch.float64)
        )


def dropout(p: float, seed: int = 0) -> StreamDropout:
    layer = StreamDropout(p)
    set_dropout_generator(nn.Sequential(nn.Sequential(layer)), seeded(seed))
    return layer


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    kept = dropout(0.3)(torch.ones(100_000))
    torch.testing.assert_close(kept.unique(), torch.tensor([0.0, 1 / 0.7]))
    assert (kept == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)


def test_dropout_draws_on_from_its_generator() -> None:
    layer, twin = dropout(0.5), dropout(0.5)
    first, second = layer(torch.ones(64)), layer(torch.ones(64))
    assert not torch.equal(first, second)
    assert torch.equal(first, twin(torch.ones(64)))


def test_reseeding_the_shared_generator_repeats_a_network_s_dropout() -> None:
    module = made((64,), Dropout(0.5), Activation("linear"), Dropout(0.5))
    generator = seeded(3)
    set_dropout_generator(module, generator)
    first = module(torch.ones(2, 64))
    generator.manual_seed(3)
    assert torch.equal(module(torch.ones(2, 64)), first)


def test_dropout_passes_the_gradient_of_what_it_keeps() -> None:
    inputs = torch.ones(64, requires_grad=True)
    outputs = dropout(0.5)(inputs)
    outputs.sum().backward()
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, outputs.detach())


def test_dropout_changes_nothing_in_evaluation_or_at_zero() -> None:
    inputs = torch.ones(64)
    assert StreamDropout(0.5).eval()(inputs) is inputs
    assert StreamDropout(0.0)(inputs) is inputs


def test_dropout_without_generator_says_what_to_call() -> None:
    with pytest.raises(RuntimeError, match="call set_dropout_generator"):
        StreamDropout(0.5)(torch.ones(4))


def test_module_with_dropout_can_be_copied_and_saved() -> None:
    module = made((8,), Linear(8), Dropout(0.5))
    set_dropout_generator(module, seeded())
    copied = copy.deepcopy(module).eval()
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False).eval()
    inputs = normal(2, 8)
    assert torch.equal(copied(inputs), module.eval()(inputs))
    assert torch.equal(loaded(inputs), module(inputs))
