"""Every layer of the catalogue, fused, gives each member what its plain module gives it."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import Shape, Window
from experiments.architectures.joins import Add, Concat, From, Tap
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
from experiments.architectures.window_layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    LocallyConnected2d,
    MaxPool2d,
)
from workers.devices import memory_layout
from workers.fusion import fused_layers
from workers.fusion.fused_network import (
    fuse,
    load_member,
    member_state,
    set_dropout_generators,
)
from workers.fusion.fused_products import (
    column_numbers,
    columns_of,
    convolve_columns,
    convolve_seen,
)
from workers.modules import build_module, set_dropout_generator

CPU = torch.device("cpu")
IMAGE: Shape = (4, 7, 6)
RELU, TANH = Activation("relu"), Activation("tanh")
STACKS: dict[str, tuple[Shape, tuple[Layer, ...]]] = {
    "conv": (IMAGE, (Conv2d(6, (3, 3)),)),
    "conv-same": (IMAGE, (Conv2d(6, (3, 5), padding="same"),)),
    "conv-of-one-channel": ((1, 7, 6), (Conv2d(6, (3, 3), padding=(1, 1)),)),
    "conv-of-many-channels": ((20, 5, 5), (Conv2d(3, (2, 3), padding=(1, 0)),)),
    "conv-stride": (IMAGE, (Conv2d(5, (3, 2), stride=(2, 3), padding=(1, 0)),)),
    "conv-dilation": (IMAGE, (Conv2d(5, (2, 3), dilation=(3, 2), padding=(0, 2)),)),
    "conv-all": (
        IMAGE,
        (Conv2d(5, (2, 3), dilation=(2, 1), stride=(2, 2), padding=(1, 3), bias=False),),
    ),
    "conv-point": (IMAGE, (Conv2d(5, (1, 1), bias=False),)),
    "conv-groups": (IMAGE, (Conv2d(6, (3, 3), groups=2, stride=(2, 1)),)),
    "conv-depthwise": (IMAGE, (Conv2d(4, (3, 3), groups=4, bias=False),)),
    "conv-after-conv": (IMAGE, (Conv2d(6, (3, 3), padding="same"), RELU, Conv2d(3, (2, 2)))),
    "local": (IMAGE, (LocallyConnected2d(3, (3, 2), stride=(2, 1)),)),
    "local-no-bias": (IMAGE, (LocallyConnected2d(3, (3, 2), bias=False),)),
    "transposed": (IMAGE, (ConvTranspose2d(3, (3, 2), stride=(2, 1), padding=(1, 0)),)),
    "transposed-no-bias": (IMAGE, (Conv2d(3, (1, 1)), ConvTranspose2d(2, (2, 2), bias=False))),
    "transposed-bilinear": (IMAGE, (ConvTranspose2d(4, (4, 4), (2, 2), init="bilinear"),)),
    "linear": ((9,), (Linear(5),)),
    "linear-no-bias": ((9,), (Linear(5, bias=False), TANH, Linear(2))),
    "maxout": ((9,), (Maxout(4, pieces=3),)),
    "maxout-no-bias": ((9,), (Maxout(4, bias=False),)),
    "units": ((9,), (AssociativeUnits(30), Linear(3))),
    "norm-of-vectors": ((9,), (BatchNorm(), Linear(3))),
    "norm-of-images": (IMAGE, (Conv2d(5, (3, 3), bias=False), BatchNorm(), RELU)),
    "norm-of-contiguous-images": (IMAGE, (LocallyConnected2d(3, (2, 2)), BatchNorm())),
    "pools": (
        IMAGE,
        (Conv2d(5, (3, 3), padding="same"), MaxPool2d((2, 2), (1, 1)), AvgPool2d((2, 2))),
    ),
    "adaptive": (IMAGE, (Conv2d(5, (2, 2)), AdaptiveAvgPool2d((2, 3)), Flatten(), Linear(2))),
    "nearest": (IMAGE, (Conv2d(2, (1, 1)), Upsample((2, 3)), Conv2d(2, (3, 3)))),
    "bilinear": (IMAGE, (Conv2d(2, (1, 1)), Upsample((2, 3), "bilinear"), Conv2d(2, (3, 3)))),
    "reshape": ((12,), (Linear(12), Reshape((3, 2, 2)), Conv2d(2, (2, 2)), Flatten())),
    "softmax": (IMAGE, (Conv2d(3, (1, 1)), Activation("softmax"))),
    "step": ((9,), (Linear(3), Activation("step"), Linear(2))),
    "residual": (
        IMAGE,
        (
            Conv2d(4, (3, 3), padding="same"),
            Residual((Conv2d(4, (3, 3), padding="same"), BatchNorm(), RELU)),
            Residual((Conv2d(6, (3, 3), (2, 2)), RELU), (Conv2d(6, (3, 3), (2, 2), bias=False),)),
        ),
    ),
    "patches": (
        IMAGE,
        (Patches((4, 3), (2, 1), (Conv2d(5, (2, 2)), BatchNorm(), RELU, Flatten(), Linear(3))),),
    ),
    "patches-of-vectors": (IMAGE, (Patches((3, 3), (2, 3), (Flatten(), Linear(3), TANH)),)),
    "taps": (
        IMAGE,
        (
            Conv2d(4, (3, 3), padding="same"),
            Tap("a"),
            RELU,
            Conv2d(4, (3, 3), padding="same"),
            Tap("b"),
            Add(("a",)),
            Tap("c"),
            From("a"),
            BatchNorm(),
            Concat(("b", "c")),
            Conv2d(2, (1, 1)),
        ),
    ),
}


def plain_members(architectures: Sequence[Architecture], dtype: torch.dtype) -> list[nn.Module]:
    """Give plain modules as the engine has them, each with weights of its own."""
    modules = []
    for seed, architecture in enumerate(architectures):
        module = build_module(architecture, generator=torch.Generator().manual_seed(seed))
        modules.append(module.to(dtype).to(memory_format=memory_layout(module, CPU)))
    return modules


def fused_from(
    architectures: Sequence[Architecture], plain: Sequence[nn.Module], dtype: torch.dtype
) -> nn.Module:
    """Fuse networks and give each member the weights of its plain module."""
    fused = fuse(architectures, device=CPU).to(dtype)
    for index, module in enumerate(plain):
        load_member(fused, index, module.state_dict())
    return fused


def drawn(
    *shape: int, dtype: torch.dtype = torch.float64, layout: nn.Module | None = None
) -> Tensor:
    """Draw inputs; images in the layout that the engine gives a network's."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(9), dtype=dtype)
    if layout is None or values.ndim < 4:
        return values
    return values.contiguous(memory_format=memory_layout(layout, CPU))


def stack(name: str, count: int) -> list[Architecture]:
    shape, layers = STACKS[name]
    return [Architecture(name, shape, layers)] * count


def outcome(module: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Give outputs, and the gradients of the inputs and of each parameter by name."""
    inputs = inputs.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    outputs = module(inputs)
    module.zero_grad()
    weights = torch.linspace(-1.0, 2.0, outputs[0].numel(), dtype=outputs.dtype)
    (outputs * weights.view(outputs.shape[1:]) + outputs**2).sum().backward()
    assert inputs.grad is not None
    gradients = {
        name: each.grad for name, each in module.named_parameters() if each.grad is not None
    }
    return outputs.detach(), inputs.grad, gradients


def assert_same_as_plain(
    architectures: Sequence[Architecture], *, size: int, training: bool
) -> None:
    """Hold two steps of the fused network against its members' plain ones."""
    count = len(architectures)
    plain = [module.train(training) for module in plain_members(architectures, torch.float64)]
    fused = fused_from(architectures, plain, torch.float64).train(training)
    set_dropout_generators(fused, [torch.Generator().manual_seed(k) for k in range(count)])
    for seed, module in enumerate(plain):
        set_dropout_generator(module, torch.Generator().manual_seed(seed))
    for step in range(2):  # the second one sees what the first has left in the buffers
        inputs = drawn(count * size, *architectures[0].input_shape, layout=plain[0]) + step
        outputs, of_inputs, gradients = outcome(fused, inputs)
        for index, module in enumerate(plain):
            own = slice(index * size, (index + 1) * size)
            wanted, wanted_inputs, wanted_gradients = outcome(module, inputs[own])
            torch.testing.assert_close(outputs[own], wanted, rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(of_inputs[own], wanted_inputs, rtol=1e-10, atol=1e-12)
            assert gradients.keys() == wanted_gradients.keys()
            for name, gradient in wanted_gradients.items():
                torch.testing.assert_close(
                    gradients[name][index], gradient, rtol=1e-10, atol=1e-12, msg=name
                )
            state = member_state(fused, index)
            assert list(state) == list(module.state_dict())
            for name, value in module.state_dict().items():
                assert state[name].is_contiguous()
                torch.testing.assert_close(state[name], value, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("by_columns", [True, False], ids=["columns", "one-by-one"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", STACKS)
def test_member_gets_what_its_plain_network_gives(
    name: str, training: bool, by_columns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_columns:
        monkeypatch.setattr(fused_layers, "_MOST_COLUMN_NUMBERS", 0)
    assert_same_as_plain(stack(name, 3), size=4, training=training)


@pytest.mark.parametrize(
    "name", ["conv-all", "local", "norm-of-images", "norm-of-contiguous-images", "patches", "taps"]
)
def test_member_may_have_a_batch_of_one(name: str) -> None:
    assert_same_as_plain(stack(name, 3), size=1, training=True)


def test_norm_refuses_one_value_of_a_channel_as_torch_does() -> None:
    fused = fuse(stack("norm-of-vectors", 3), device=CPU).train()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fused(torch.ones(3, 9))


@pytest.mark.parametrize("kept", [0, 2**30], ids=["made-again", "kept"])
def test_columns_in_small_parts_are_the_columns_of_all(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.fusion.fused_products._CHUNK_NUMBERS", 1)
    monkeypatch.setattr("workers.fusion.fused_products._KEPT_NUMBERS", kept)
    assert_same_as_plain(stack("conv-after-conv", 3), size=2, training=True)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_patches_in_small_parts_keep_members_together(
    training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_layers, "CHUNK_NUMBERS", 1)
    assert_same_as_plain(stack("patches", 3), size=3, training=training)


# The members' places in the channels, which the CPU does without, are those of other devices.
def test_convolutions_of_members_as_groups_keep_them_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def grouped(
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        convolve: Callable[..., Tensor],
        _: object,
    ) -> Tensor:
        return fused_layers._grouped(images, weight, bias, convolve)

    monkeypatch.setattr(fused_layers, "_MOST_COLUMN_NUMBERS", 0)
    monkeypatch.setattr(fused_layers, "_one_by_one", grouped)
    for name in ("conv", "conv-all", "conv-groups", "transposed", "transposed-no-bias"):
        assert_same_as_plain(stack(name, 3), size=2, training=True)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", ["norm-of-vectors", "norm-of-images", "patches", "residual"])
def test_norm_of_members_as_channels_keeps_them_apart(
    name: str, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm = fused_layers.FusedBatchNorm
    monkeypatch.setattr(norm, "_in_turn", norm._at_once)
    assert_same_as_plain(stack(name, 3), size=3, training=training)


@pytest.mark.parametrize("limit", [0, 2**30], ids=["one-by-one", "columns"])
@pytest.mark.parametrize("name", ["conv-of-one-channel", "conv-groups", "transposed-no-bias"])
def test_channels_stay_last_in_memory(
    name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_layers, "_MOST_COLUMN_NUMBERS", limit)
    fused = fuse(stack(name, 3), device=CPU)
    images = drawn(6, *STACKS[name][0], dtype=torch.float32)
    for inputs in (images, images.contiguous(memory_format=torch.channels_last)):
        assert fused(inputs).is_contiguous(memory_format=torch.channels_last)


def test_columns_have_every_number_that_a_filter_sees() -> None:
    images, weight = drawn(6, 4, 7, 6), drawn(2, 5, 4, 3, 2)
    window = Window((3, 2), stride=(2, 1), padding=(1, 0))
    assert column_numbers(images, weight, window) == 3 * (4 * 5) * (3 * 2 * 4)
    ours = convolve_columns(images, weight, None, window)
    assert ours.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("constants", [True, False])
@pytest.mark.parametrize(
    "window",
    [
        Window((3, 3), padding=(1, 1)),
        Window((3, 2), (2, 1), (1, 0)),
        Window((2, 3), dilation=(3, 2)),
    ],
)
def test_columns_that_were_written_before_give_what_images_give(
    window: Window, constants: bool
) -> None:
    images = drawn(6, 4, 7, 6)
    learned = [drawn(2, 5, 4, *window.kernel).requires_grad_()]
    if constants:
        learned.append(drawn(2, 5).requires_grad_())
    bias = learned[1] if constants else None
    wanted = convolve_columns(images, learned[0], bias, window)
    columns = torch.unflatten(columns_of(images, window), 0, (2, 3))
    found = convolve_seen(columns, learned[0], bias)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    pairs = [torch.autograd.grad((each**2).sum(), learned) for each in (found, wanted)]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_members_may_share_the_columns_of_one_batch() -> None:
    images, weight, window = drawn(3, 4, 7, 6), drawn(2, 5, 4, 3, 3), Window((3, 3))
    shared = columns_of(images, window).expand(2, -1, -1, -1, -1)
    wanted = convolve_columns(torch.cat([images] * 2), weight, None, window)
    found = convolve_seen(shared, weight, None)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def bits(
    architectures: Sequence[Architecture],
    members: Sequence[int],
    *,
    size: int,
    poisoned: int | None = None,
) -> list[list[Tensor]]:
    """Train members together, in this order, and give all numbers of each in float32."""
    plain = plain_members(architectures, torch.float32)
    chosen = [architectures[k] for k in members], [plain[k] for k in members]
    fused = fused_from(*chosen, torch.float32).train()
    if poisoned is not None:
        for each in fused.parameters():
            each.data[poisoned] = torch.nan
    shape = architectures[0].input_shape
    own = drawn(len(plain), size, *shape, dtype=torch.float32)[list(members)].flatten(0, 1)
    inputs = own.contiguous(memory_format=memory_layout(plain[0], CPU)) if own.ndim == 4 else own
    outputs, of_inputs, gradients = outcome(fused, inputs)
    numbers = [torch.unflatten(each, 0, (len(members), -1)) for each in (outputs, of_inputs)]
    numbers += [*gradients.values(), *fused.buffers()]
    return [[number[place] for number in numbers] for place in range(len(members))]


@pytest.mark.parametrize("name", STACKS)
def test_member_that_diverged_leaves_the_others_their_bits(name: str) -> None:
    architectures = stack(name, 4)
    sound = bits(architectures, range(4), size=8)
    beside = bits(architectures, range(4), size=8, poisoned=2)
    assert beside[2][0].isnan().any() or name == "units"  # signs of none but sound numbers
    for member in (0, 1, 3):
        assert all(map(torch.equal, beside[member], sound[member]))


# Matrices of whole cache lines: MKL rounds by where in a line a matrix begins, unless it is
# told not to, as workers tell it.
WIDE: Shape = (16, 8, 8)
WHOLE_LINES: dict[str, tuple[Shape, tuple[Layer, ...]]] = {
    "conv": (WIDE, (Conv2d(16, (3, 3), padding="same"), BatchNorm(), RELU, MaxPool2d((2, 2)))),
    "conv-of-one-channel": ((1, 8, 8), (Conv2d(16, (3, 3), padding="same"), TANH)),
    "conv-stride": (WIDE, (Conv2d(32, (2, 2), stride=(2, 2), bias=False), Flatten())),
    "conv-groups": (WIDE, (Conv2d(16, (3, 3), padding="same", groups=4),)),
    "local": (WIDE, (LocallyConnected2d(16, (4, 4), stride=(4, 4)),)),
    "transposed": (WIDE, (ConvTranspose2d(16, (2, 2), (2, 2)), Conv2d(16, (2, 2), (2, 2)))),
    "units": ((64,), (Linear(32), RELU, AssociativeUnits(16), Maxout(16), BatchNorm())),
    "residual": (WIDE, (Residual((Conv2d(16, (3, 3), padding="same"), BatchNorm(), RELU)),)),
    "patches": (WIDE, (Patches((4, 4), (4, 4), (Flatten(), Linear(16))),)),
}


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("name", WHOLE_LINES)
def test_member_s_bits_depend_neither_on_the_number_of_others_nor_on_its_place(
    name: str, size: int
) -> None:
    shape, layers = WHOLE_LINES[name]
    architectures = [Architecture(name, shape, layers)] * 5
    together = bits(architectures, range(5), size=size)
    for member in range(5):
        (alone,) = bits(architectures, [member], size=size)
        assert all(map(torch.equal, alone, together[member]))
    for member, moved in zip([3, 1, 4], bits(architectures, [3, 1, 4], size=size), strict=True):
        assert all(map(torch.equal, moved, together[member]))


def layers_with_bits_of_others() -> set[str]:
    """Name the layers in which a member's last bits depend on who else is there."""
    found = set[str]()
    for name in STACKS:
        architectures = stack(name, 3)
        for size in (7, 16):
            together = bits(architectures, range(3), size=size)
            for member in range(3):
                (alone,) = bits(architectures, [member], size=size)
                if not all(map(torch.equal, alone, together[member])):
                    found.add(name)
    return found


def test_on_a_worker_every_layer_keeps_a_member_s_bits(repository: Path) -> None:
    program = (
        "from workers.devices import prepare_device; prepare_device(num_cpus=1, num_gpus=0.0)\n"
        f"from {__name__} import layers_with_bits_of_others as found; print(found())"
    )
    environ = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    command = [sys.executable, "-c", program]
    output = subprocess.check_output(command, cwd=repository, env=environ, text=True)
    assert output == "set()\n"


def with_dropout(*probabilities: float) -> list[Architecture]:
    layers = [
        (
            Conv2d(6, (3, 3), padding="same"),
            RELU,
            Dropout(p),
            MaxPool2d((2, 2)),
            Flatten(),
            Dropout(p / 2),
            Linear(20),
            Dropout(p),
        )
        for p in probabilities
    ]
    return [Architecture("dropout", (1, 8, 8), each) for each in layers]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_members_drop_by_their_own_probabilities(training: bool) -> None:
    assert_same_as_plain(with_dropout(0.5, 0.0, 0.2, 0.2), size=3, training=training)


@pytest.mark.parametrize("size", [1, 8, 32])
@pytest.mark.parametrize("by_columns", [True, False])
def test_member_draws_the_dropout_of_its_plain_network(
    size: int, by_columns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_columns:
        monkeypatch.setattr(fused_layers, "_MOST_COLUMN_NUMBERS", 0)
    architectures = with_dropout(0.5, 0.3, 0.0)
    plain = plain_members(architectures, torch.float32)
    fused = fused_from(architectures, plain, torch.float32)
    generators = [torch.Generator().manual_seed(k) for k in range(3)]
    set_dropout_generators(fused, generators)
    inputs = drawn(3 * size, 1, 8, 8, dtype=torch.float32, layout=plain[0])
    outputs = fused(inputs)
    for index, module in enumerate(plain):
        generator = torch.Generator().manual_seed(index)
        set_dropout_generator(module, generator)
        wanted = module(inputs[index * size : (index + 1) * size])
        # The last layer drops, so equal zeros are equal masks.
        assert torch.equal(outputs[index * size : (index + 1) * size] == 0, wanted == 0)
        assert torch.equal(generator.get_state(), generators[index].get_state())


def test_copy_of_dropout_leaves_the_generators_behind() -> None:
    fused = fuse(with_dropout(0.5, 0.5), device=CPU)
    set_dropout_generators(fused, [torch.Generator(), torch.Generator()])
    with pytest.raises(RuntimeError, match="dropout has no generators"):
        copy.deepcopy(fused).train()(torch.ones(4, 1, 8, 8))
    fused.train()(torch.ones(4, 1, 8, 8))


def test_dropout_needs_generators_for_training_only() -> None:
    fused = fuse(with_dropout(0.5, 0.5), device=CPU)
    with pytest.raises(RuntimeError, match="set_dropout_generators"):
        fused.train()(torch.ones(4, 1, 8, 8))
    assert fused.eval()(torch.ones(4, 1, 8, 8)).shape == (4, 20)
