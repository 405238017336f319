import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from experiments.architectures import (
    blocks,
    joins,
    layers,
    unit_layers,
    upsampling_layers,
    window_layers,
)
from experiments.architectures.activations import ACTIVATIONS
from experiments.architectures.architecture import Architecture
from experiments.architectures.blocks import Patches, Residual
from experiments.architectures.geometry import Shape, ShapeError, Size
from experiments.architectures.joins import Add, Concat, From, Tap
from experiments.architectures.layers import (
    Activation,
    BatchNorm,
    Flatten,
    Layer,
    Linear,
    Reshape,
)
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.architectures.unit_layers import AssociativeUnits, Maxout
from experiments.architectures.upsampling_layers import ConvTranspose2d, Upsample
from experiments.architectures.window_layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    Conv2d,
    LocallyConnected2d,
    MaxPool2d,
)
from experiments.architectures.zoo import build, models, read_model
from experiments.language.kinds import Faults
from experiments.language.source import from_values
from workers import modules
from workers.layer_modules import BilinearUpsample
from workers.modules import build_module, module_without_storage, set_dropout_generator

DIGITS = [
    {"conv2d": {"out_channels": 16, "kernel_size": 3, "padding": "same"}},
    "activation",
    {"max_pool2d": 2},
    {"conv2d": {"out_channels": 32, "kernel_size": [5, 3], "padding": "same", "groups": 2}},
    "batch_norm",
    {"leaky_relu": 0.2},
    {"avg_pool2d": {"kernel_size": 3, "stride": 2, "padding": 1}},
    "flatten",
    {"linear": 64},
    "batch_norm",
    {"activation": "elu"},
    "dropout",
    {"linear": "classes"},
]
BLOCKS = [
    {"conv2d": {"out_channels": 8, "kernel_size": 5, "stride": [2, 1], "dilation": [1, 2]}},
    {"residual": {"body": [{"residual": {"body": ["tanh"]}}, "batch_norm"]}},
    {
        "residual": {
            "body": [{"conv2d": {"out_channels": 4, "kernel_size": 1, "bias": False}}, "silu"],
            "shortcut": [{"conv2d": {"out_channels": 4, "kernel_size": 1}}],
        }
    },
    {"max_pool2d": {"kernel_size": [3, 2], "padding": [1, 0]}},
    {"adaptive_avg_pool2d": [3, 2]},
    "gelu",
    "flatten",
    {"linear": {"out_features": "classes", "bias": False}},
]


def network(
    model: Any, shape: Shape = (3, 32, 32), outputs: Shape = (10,), **trial: Any
) -> Architecture:
    faults = Faults("model")
    choice = read_model(from_values(model), "model", faults)
    faults.raise_any()
    return build(choice, input_shape=shape, output_shape=outputs, **trial)


GRAPH = [
    {"tap": "image"},
    {"conv2d": {"out_channels": 6, "kernel_size": 3, "stride": 2, "padding": 1}},
    "activation",
    {"tap": "half"},
    {"max_pool2d": 2},
    {"locally_connected2d": {"out_channels": 6, "kernel_size": 3, "stride": [1, 2]}},
    "batch_norm",
    "step",
    {"upsample": [3, 2]},
    {"upsample": {"scale": [1, 4], "mode": "bilinear"}},
    {
        "conv_transpose2d": {
            "out_channels": 6,
            "kernel_size": [3, 3],
            "stride": 1,
            "padding": [0, 1],
        }
    },
    {"tap": "small"},
    {"from": "half"},
    {"add": "small"},
    {
        "conv_transpose2d": {
            "out_channels": 6,
            "kernel_size": 4,
            "stride": 2,
            "padding": 1,
            "init": "bilinear",
        }
    },
    {"concat": ["image", "image2"]},
    {"conv2d": {"out_channels": "classes", "kernel_size": 1}},
    "softmax",
]
GRAPH[1:1] = ["dropout", {"tap": "image2"}]
PATCHES = [
    {
        "patches": {
            "size": [5, 4],
            "stride": 2,
            "layers": [
                {"conv2d": {"out_channels": 3, "kernel_size": 3}},
                {"residual": {"body": ["batch_norm", "activation"]}},
                "flatten",
                {"maxout": {"out_features": 5, "pieces": 3, "bias": False}},
                {"linear": "classes"},
            ],
        }
    },
    {"patches": {"size": 1, "layers": [{"conv2d": {"out_channels": 7, "kernel_size": 1}}]}},
    "flatten",
    {"associative_units": 20},
    {"maxout": 6},
    {"reshape": [3, 2, 1]},
    {"upsample": 2},
    "flatten",
    {"linear": "classes"},
]


def named(model: str) -> Architecture:
    task = models()[model].tasks[0]
    shapes: dict[str, Shape] = {"binary": (1,), "regression": (1,), "classification": (10,)}
    images: dict[str, Shape] = {"segmentation": (11, 32, 32), "reconstruction": (3, 32, 32)}
    return network(model, outputs=(shapes | images)[task])


NETWORKS = [
    *(named(name) for name in models()),
    network({"name": "graph", "layers": GRAPH}, (2, 16, 16), (4, 16, 16)),
    network({"name": "patches", "layers": PATCHES}, (2, 9, 10)),
    network("lenet5", (1, 28, 28)),
    network({"name": "mlp", "hidden": [32, 16], "batch_norm": True}, (1, 8, 8)),
    network({"name": "vgg11", "width": 0.25, "batch_norm": True}, (1, 28, 28)),
    network("resnet50", (1, 28, 28)),
    *(network(f"vgg{depth}", (3, 224, 224), (1000,)) for depth in (11, 13, 16, 19)),
    *(network(f"resnet{depth}", (3, 224, 224), (1000,)) for depth in (18, 34, 50, 101, 152)),
    network({"name": "digits", "layers": DIGITS}, (1, 8, 8)),
    network({"name": "blocks", "layers": BLOCKS}, (2, 21, 17)),
    Architecture("line", (4,), (Linear(3), BatchNorm(), Activation("sigmoid"), Linear(1))),
]


def name(architecture: Architecture) -> str:
    return f"{architecture.name}@{'x'.join(map(str, architecture.input_shape))}"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def single(shape: Shape, *stack: Layer) -> Architecture:
    return Architecture("test", shape, stack)


@pytest.mark.parametrize("architecture", NETWORKS, ids=name)
def test_every_layer_has_the_shape_and_the_parameters_of_its_record(
    architecture: Architecture,
) -> None:
    module = module_without_storage(architecture)
    seen: dict[str, tuple[Shape, int]] = {}

    def watch(path: str) -> Callable[..., None]:
        def note(part: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            own = sum(tensor.numel() for tensor in part.parameters(recurse=False))
            seen[path] = (tuple(output.shape[1:]), own)

        return note

    for path, part in module.named_modules():
        if not isinstance(part, nn.Sequential):
            part.register_forward_hook(watch(path))
    module(torch.empty(2, *architecture.input_shape, device="meta"))
    assert seen == {row.path: (row.output_shape, row.parameters) for row in architecture.trace()}


@pytest.mark.parametrize("architecture", NETWORKS, ids=name)
def test_multiply_adds_are_what_torch_counts(
    architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interpolate(self: BilinearUpsample, images: torch.Tensor) -> torch.Tensor:
        scale = tuple(map(float, self.scale))
        return functional.interpolate(images, scale_factor=scale, mode="bilinear")

    # Interpolation counts nothing, whatever way it is computed.
    monkeypatch.setattr(BilinearUpsample, "forward", interpolate)
    module = module_without_storage(architecture).eval()
    with FlopCounterMode(display=False) as counter:
        module(torch.empty(1, *architecture.input_shape, device="meta"))
    assert 2 * architecture.multiply_adds == counter.get_total_flops()


# All of these are linear, so torch keeps what goes into them: here the layer's output, which
# the last convolution takes, and what the layer itself copies, but not the images.
@pytest.mark.parametrize(
    "layer",
    [
        LocallyConnected2d(4, (5, 5)),
        Patches((5, 4), (1, 2), (Flatten(), Linear(3))),
        Upsample((3, 2), "bilinear"),
        Conv2d(4, (3, 3)),
    ],
    ids=lambda layer: layer.kind,
)
def test_activation_bytes_are_what_torch_keeps_for_the_backward_pass(layer: Layer) -> None:
    architecture = single((2, 12, 12), layer, Conv2d(3, (1, 1)))
    module, images = build_module(architecture, generator=seeded()), torch.ones(8, 2, 12, 12)
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = module(images)
    for other in (images, outputs, *module.parameters()):
        kept.pop(other.untyped_storage().data_ptr(), None)
    planned = 8 * sum(row.activation_bytes for row in architecture.trace()[:-1])
    assert 0.85 * planned < sum(kept.values()) <= 1.02 * planned


@pytest.mark.parametrize("architecture", NETWORKS, ids=name)
def test_records_rebuilt_from_data_make_the_same_module(architecture: Architecture) -> None:
    again = module_without_storage(Architecture.from_data(architecture.to_data()))
    assert repr(again) == repr(module_without_storage(architecture))


SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=SIZES,
    stride=SIZES,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=SIZES,
)
def test_convolution_fits_exactly_where_torch_s_does(
    size: Size, kernel: Size, stride: Size, padding: Size, dilation: Size
) -> None:
    layer = Conv2d(2, kernel, stride=stride, padding=padding, dilation=dilation)
    torchs = nn.Conv2d(
        1, 2, kernel, stride=stride, padding=padding, dilation=dilation, device="meta"
    )
    images = torch.empty(1, 1, *size, device="meta")
    try:
        expected = tuple(torchs(images).shape[1:])
    except RuntimeError:
        with pytest.raises(ShapeError):
            layer.measure((1, *size))
    else:
        assert layer.output_shape((1, *size)) == expected


@pytest.mark.parametrize(
    "stack",
    [
        (Conv2d(1, (5, 3), stride=(4, 2)), Upsample((2, 3), "bilinear"), Conv2d(1, (3, 3))),
        (AvgPool2d((4, 4)), ConvTranspose2d(1, (4, 6), (2, 3)), Conv2d(1, (2, 3))),
        (AvgPool2d((8, 8)), Upsample((4, 4)), Conv2d(1, (2, 6)), Upsample((2, 2), "bilinear")),
        (
            Conv2d(1, (3, 3), padding=(1, 1)),
            Tap("wide"),
            Conv2d(1, (7, 3), padding=(3, 1)),
            Tap("high"),
            From("wide"),
            Conv2d(1, (3, 9), padding=(1, 4)),
            Add(("high",)),
            LocallyConnected2d(1, (3, 3)),
        ),
        (Conv2d(1, (3, 3)), Patches((5, 7), (2, 2), (Conv2d(1, (3, 3)), AvgPool2d((3, 5))))),
        (Conv2d(1, (3, 5)), AvgPool2d((2, 2)), Conv2d(1, (3, 3), dilation=(2, 1))),
        (
            Conv2d(1, (3, 3), stride=(2, 2)),
            Residual((Conv2d(1, (5, 3), padding=(2, 1)), Conv2d(1, (3, 3), padding=(1, 1)))),
            AvgPool2d((3, 3), stride=(1, 2)),
        ),
    ],
    ids=["bilinear", "transposed", "nearest", "graph", "patches", "plain", "residual"],
)
def test_receptive_field_is_where_the_gradient_reaches(stack: tuple[Layer, ...]) -> None:
    architecture = single((1, 61, 61), *stack)
    module = build_module(architecture, generator=seeded()).double()
    for parameter in module.parameters():
        nn.init.ones_(parameter)
    images = torch.zeros(1, 1, 61, 61, dtype=torch.float64, requires_grad=True)
    output = module(images)
    # Upsampling gives neighbours fields of different sizes: the largest is meant.
    height, width = output.shape[2:]
    middle = itertools.product(
        range(height // 2, min(height, height // 2 + 8)),
        range(width // 2, min(width, width // 2 + 8)),
    )
    seen = [_seen(output[0, 0, row, column], images) for row, column in middle]
    assert architecture.receptive_field == tuple(map(max, zip(*seen, strict=True)))


def _seen(output: torch.Tensor, images: torch.Tensor) -> tuple[int, int]:
    (gradient,) = torch.autograd.grad(output, images, retain_graph=True)
    reached = gradient[0, 0] != 0
    return int(reached.any(dim=1).sum()), int(reached.any(dim=0).sum())


# systems.md, "Arithmetic the plan must get right".
def test_diagonal_filter_gives_the_worked_example() -> None:
    image = -torch.ones(1, 1, 5, 5)
    for row, column in ((1, 1), (1, 3), (2, 2), (3, 1), (3, 3)):
        image[0, 0, row, column] = 1.0
    architecture = single(
        (1, 5, 5), Conv2d(1, (3, 3), bias=False), Activation("relu"), MaxPool2d((2, 2), (1, 1))
    )
    module = build_module(architecture, generator=None)
    module.load_state_dict({"0.weight": (2 * torch.eye(3) - 1)[None, None]})
    convolution, relu, pooling = module.children()
    filtered = convolution(image)
    rectified = relu(filtered)
    assert filtered[0, 0].tolist() == [[7, -3, 3], [-3, 5, -3], [3, -3, 7]]
    assert rectified[0, 0].tolist() == [[7, 0, 3], [0, 5, 0], [3, 0, 7]]
    assert pooling(rectified)[0, 0].tolist() == [[7, 5], [5, 7]]


FORMULAS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": lambda x: torch.where(x > 0, x, 0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.3 * x),
    "tanh": lambda x: 2 / (1 + torch.exp(-2 * x)) - 1,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "linear": lambda x: x,
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "elu": lambda x: torch.where(x > 0, x, 0.3 * (torch.exp(x) - 1)),
    "step": lambda x: torch.where(x >= 0, 1.0, -1.0).double(),
    "softmax": lambda x: torch.exp(x) / torch.exp(x).sum(dim=1, keepdim=True),
}


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activation_computes_its_formula(function: str) -> None:
    alpha = None if ACTIVATIONS[function].alpha is None else 0.3
    architecture = single((9,), Activation(function, alpha))
    inputs = torch.linspace(-4, 4, 9, dtype=torch.float64)[None]
    outputs = module_without_storage(architecture)(inputs)
    torch.testing.assert_close(outputs, FORMULAS[function](inputs))


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activation_is_kinked_where_the_table_says_so(function: str) -> None:
    # All kinks lie at zero: compare values and slopes on both sides of it.
    module = module_without_storage(single((1,), Activation(function)))
    inputs = torch.tensor([[-1e-9], [1e-9]], dtype=torch.float64, requires_grad=True)
    outputs = module(inputs)
    (slopes,) = torch.autograd.grad(outputs.sum(), inputs)
    jumps = max(abs(below - above).item() for below, above in (outputs, slopes))
    assert (jumps > 1e-6) == ACTIVATIONS[function].kinked


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activation_has_a_gradient_where_the_table_says_so(function: str) -> None:
    module = module_without_storage(single((3,), Activation(function)))
    inputs = torch.tensor([[-0.5, 0.25, 2.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(inputs)[0, 1], inputs)
    assert bool(gradient.any()) == ACTIVATIONS[function].has_gradient


# systems.md: the identity of the two bounded functions.
def test_tanh_is_a_stretched_sigmoid() -> None:
    tanh, sigmoid = (
        module_without_storage(single((9,), Activation(f))) for f in ("tanh", "sigmoid")
    )
    inputs = torch.linspace(-9, 9, 99, dtype=torch.float64)[None]
    torch.testing.assert_close(tanh(inputs), 2 * sigmoid(2 * inputs) - 1, rtol=0, atol=1e-15)


# systems.md: any depth, with linear activation, is one linear map.
def test_linear_activations_collapse_the_layers_to_one() -> None:
    model = {"name": "mlp", "hidden": [32, 16, 24]}
    module = build_module(
        network(model, (1, 8, 8), activation="linear"), generator=seeded()
    ).double()
    weight, bias = torch.eye(64, dtype=torch.float64), torch.zeros(64, dtype=torch.float64)
    for part in module.children():
        if isinstance(part, nn.Linear):
            weight, bias = part.weight @ weight, part.weight @ bias + part.bias
    images = torch.randn(20, 1, 8, 8, generator=seeded(), dtype=torch.float64)
    collapsed = images.flatten(1) @ weight.T + bias
    torch.testing.assert_close(module(images), collapsed, rtol=0, atol=1e-12)


def test_weights_are_drawn_as_torch_draws_them() -> None:
    architecture = single(
        (3, 9, 9),
        Conv2d(6, (3, 3), groups=3),
        ConvTranspose2d(2, (2, 3), stride=(2, 2)),
        Activation("relu"),
        Flatten(),
        Linear(10),
    )
    module = build_module(architecture, generator=seeded(7))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        torchs = nn.Sequential(
            nn.Conv2d(3, 6, 3, groups=3),
            nn.ConvTranspose2d(6, 2, (2, 3), stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(420, 10),
        )
    for (key, ours), theirs in zip(
        module.state_dict().items(), torchs.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, msg=key)


def test_building_leaves_torch_s_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    module = build_module(
        network({"name": "digits", "layers": DIGITS}, (1, 8, 8)), generator=seeded()
    )
    set_dropout_generator(module, seeded())
    module(torch.ones(4, 1, 8, 8))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        module = build_module(network("lenet5"), generator=seeded(seed))
        return list(module.state_dict().values())

    assert all(map(torch.equal, weights(1), weights(1)))
    assert not any(map(torch.equal, weights(1), weights(2)))


def test_module_without_generator_waits_for_its_weights_at_zero() -> None:
    architecture = network("resnet18", (1, 8, 8))
    empty = build_module(architecture, generator=None)
    assert all(not p.any() for p in empty.parameters() if p.dim() > 1)
    full = build_module(architecture, generator=seeded())
    empty.load_state_dict(full.state_dict())
    images = torch.ones(2, 1, 8, 8)
    assert torch.equal(empty.eval()(images), full.eval()(images))


def test_module_is_ready_to_train_on_the_cpu() -> None:
    module = build_module(network("resnet18", (1, 8, 8)), generator=seeded())
    tensors = [*module.parameters(), *module.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert {tensor.dtype for tensor in module.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_batch_norm_starts_as_the_identity() -> None:
    module = build_module(single((3, 4, 4), BatchNorm()), generator=seeded()).eval()
    images = torch.randn(2, 3, 4, 4, generator=seeded())
    torch.testing.assert_close(module(images), images, rtol=1e-4, atol=1e-4)


def test_state_is_named_by_the_paths_of_the_trace() -> None:
    module = module_without_storage(network({"name": "blocks", "layers": BLOCKS}, (2, 21, 17)))
    assert list(module.state_dict()) == [
        "0.weight",
        "0.bias",
        "1.body.1.weight",
        "1.body.1.bias",
        "1.body.1.running_mean",
        "1.body.1.running_var",
        "1.body.1.num_batches_tracked",
        "2.body.0.weight",
        "2.shortcut.0.weight",
        "2.shortcut.0.bias",
        "7.weight",
    ]


def test_misfit_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(ShapeError, match=r"conv2d 6 5x5 needs an input of at least 5x5"):
        build_module(single((1, 4, 4), Conv2d(6, (5, 5))), generator=None)


def test_every_layer_record_has_a_module() -> None:
    homes = (blocks, joins, layers, unit_layers, upsampling_layers, window_layers)
    records = {
        value
        for home in homes
        for value in vars(home).values()
        if isinstance(value, type) and issubclass(value, Layer) and hasattr(value, "kind")
    }
    fallback = modules._module.dispatch(object)
    assert {AdaptiveAvgPool2d, Patches, Concat} <= records
    others = {record for record in records if modules._module.dispatch(record) is fallback}
    assert others == {Patches, Residual}  # these are made of the modules of their layers


def test_every_new_kind_of_layer_draws_from_the_generator_in_its_turn() -> None:
    layers = (
        *(LocallyConnected2d(2, (2, 2)), Flatten(), Maxout(6), AssociativeUnits(8)),
        *(Reshape((2, 2, 2)), ConvTranspose2d(2, (4, 4), (2, 2), init="bilinear"), Flatten()),
        Linear(3),
    )
    module = build_module(single((1, 5, 5), *layers), generator=seeded(5))
    generator = seeded(5)

    def uniform(fan_in: int, *shape: int) -> torch.Tensor:
        return torch.empty(shape).uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)

    drawn = {
        "0.weight": uniform(4, 16, 2, 4),
        "0.bias": uniform(4, 2, 4, 4),
        "2.weight": uniform(32, 12, 32),
        "2.bias": uniform(32, 12),
        "3.weight": torch.empty(8, 6).normal_(generator=generator),
        "7.weight": uniform(72, 3, 72),
        "7.bias": uniform(72, 3),
    }
    state = module.state_dict()
    assert all(torch.equal(state.pop(name), value) for name, value in drawn.items())
    assert list(state) == ["5.weight", "5.bias"]
    assert not state["5.bias"].any()


def test_network_of_torchvision_s_starts_from_the_generator_too() -> None:
    record = TorchvisionNetwork("squeezenet1_1", 7, 0, 0, 0)
    architecture = single((3, 32, 32), record)
    module, twin = (build_module(architecture, generator=seeded(3)) for _ in range(2))
    state = module.state_dict()
    assert all(map(torch.equal, state.values(), twin.state_dict().values()))
    assert {name.partition(".")[0] for name in state} == {"0"}
    assert module.eval()(torch.ones(2, 3, 32, 32)).shape == (2, 7)


def test_hot_path_is_a_plain_sequential() -> None:
    module = module_without_storage(network({"name": "mlp", "hidden": [32]}, (1, 8, 8)))
    assert type(module) is nn.Sequential
    assert [type(part) for part in module] == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]
