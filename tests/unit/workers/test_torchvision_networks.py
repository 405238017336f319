from collections.abc import Callable
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from experiments.architectures import zoo
from experiments.architectures.geometry import Shape, ShapeError
from experiments.architectures.torchvision_networks import WEIGHTS, TorchvisionNetwork
from experiments.errors import DatasetError, DatasetUnavailableError
from workers.layer_modules import StreamDropout
from workers.torchvision_networks import StochasticDepth, TorchvisionModule, measure


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def module(
    name: str, *, outputs: int = 10, weights: str | None = None, generator: Any = None
) -> TorchvisionModule:
    with torch.device("meta"):
        made = TorchvisionModule(TorchvisionNetwork(name, outputs, 0, 0, 0, weights))
    made.load_state_dict(made.initial_state(generator), assign=True)
    return made


def test_names_and_weights_are_torchvision_s() -> None:
    def usable(name: str, weights: str) -> bool:
        return weights != "IMAGENET1K_FEATURES" and not (name[:3] == "vit" and "E2E" in weights)

    known = {
        name: tuple(w.name for w in models.get_model_weights(name) if usable(name, w.name))
        for name in models.list_models(module=models)
    }
    assert known == WEIGHTS


# The figures that torchvision publishes with its weights, whose image sizes these are.
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("alexnet", 224),
        ("densenet121", 224),
        ("maxvit_t", 224),
        ("mobilenet_v3_small", 224),
        ("regnet_y_400mf", 224),
        ("resnet50", 224),
        ("squeezenet1_1", 224),
        ("swin_v2_t", 256),
        ("vit_b_16", 224),
    ],
)
def test_measure_gives_the_published_figures(name: str, side: int) -> None:
    published = models.get_model_weights(name)["IMAGENET1K_V1"].meta
    found = measure(name, (3, side, side), 1000)
    assert found.parameters == published["num_params"]
    assert round(found.multiply_adds / 1e9, 3) == published["_ops"]


def test_measure_counts_the_activations_of_all_layers() -> None:
    ours = zoo.build(
        zoo.ModelChoice("resnet", {"depth": 18, "width": 1.0}),
        input_shape=(3, 224, 224),
        output_shape=(1000,),
    )
    # torchvision adds without a module, so additions are not counted there.
    rows = (row for row in ours.trace() if row.kind != "residual")
    found = measure("resnet18", (3, 224, 224), 1000)
    assert 4 * found.num_activations == sum(row.activation_bytes for row in rows)


@pytest.mark.parametrize(
    ("name", "side", "single"),
    [("resnet18", 32, True), ("resnet18", 64, False), ("vgg11", 32, False)],
)
def test_measure_finds_batch_norms_that_one_image_cannot_feed(
    name: str, side: int, single: bool
) -> None:
    assert measure(name, (3, side, side), 10).norms_single_values == single
    images = torch.zeros(1, 3, side, side)
    if single:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            module(name, generator=seeded()).train()(images)


def test_measure_follows_the_number_of_outputs_and_takes_grey_images() -> None:
    whole = measure("resnet18", (3, 32, 32), 1000).parameters
    assert measure("resnet18", (1, 32, 32), 10).parameters == whole - 990 * 513


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("vit_b_16", (3, 32, 32), "Wrong image height! Expected 224 but got 32!"),
        ("vgg11", (1, 16, 16), r"Given input size: \(512x1x1\)"),
        ("resnet18", (2, 32, 32), "needs an image of 1 or 3 channels, got 2x32x32"),
    ],
)
def test_image_that_does_not_fit_is_refused_with_the_reason(
    name: str, shape: Shape, reason: str
) -> None:
    with pytest.raises(ShapeError, match=f"torchvision/{name} .*{reason}"):
        measure(name, shape, 10)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_weights_come_from_the_generator_and_from_nothing_else(name: str) -> None:
    before = torch.random.get_rng_state()
    first = module(name, generator=seeded(1)).state_dict()
    torch.rand(3)
    again = module(name, generator=seeded(1)).state_dict()
    other = module(name, generator=seeded(2)).state_dict()
    torch.random.set_rng_state(before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_building_leaves_torch_s_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    module("squeezenet1_1", generator=seeded())
    assert torch.equal(before, torch.random.get_rng_state())


def test_without_a_generator_all_is_zero_to_be_loaded() -> None:
    state = module("shufflenet_v2_x0_5").state_dict()
    assert not any(value.any() for value in state.values())
    trained = module("shufflenet_v2_x0_5", generator=seeded())
    trained.load_state_dict(state)


def test_grey_image_is_seen_as_three_equal_channels() -> None:
    network = module("resnet18", generator=seeded()).eval()
    grey = torch.rand(2, 1, 32, 32, generator=seeded())
    assert torch.equal(network(grey), network(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("name", ["efficientnet_b0", "squeezenet1_1", "swin_t"])
def test_all_that_drops_draws_from_its_stream(name: str) -> None:
    network = module(name, generator=seeded()).train()
    drops = [part for part in network.modules() if isinstance(part, StreamDropout)]
    assert drops
    images = torch.rand(2, 3, 32, 32, generator=seeded())

    def outputs(seed: int) -> Tensor:
        for part in drops:
            part.generator = seeded(seed)
        result: Tensor = network(images)
        return result

    before = torch.random.get_rng_state()
    assert torch.equal(outputs(1), outputs(1))
    assert not torch.equal(outputs(1), outputs(2))
    assert torch.equal(before, torch.random.get_rng_state())


# One of each family: the others are of the same classes.
FAMILIES = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vit_b_32",
)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_network_has_dropout_left_that_draws_elsewhere(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []
    original = functional.dropout

    def watch(inputs: Tensor, p: float = 0.5, training: bool = True, **more: Any) -> Tensor:
        if training and p > 0.0:
            drawn.append(p)
        return original(inputs, p, training, **more)

    monkeypatch.setattr(functional, "dropout", watch)
    side = 299 if name == "inception_v3" else 224
    with torch.device("meta"):
        network = TorchvisionModule(TorchvisionNetwork(name, 10, 0, 0, 0)).train()
        for part in network.modules():
            if isinstance(part, StreamDropout):
                part.p = 0.0  # it draws, but not from a generator on this device
            else:
                assert type(part).__name__ not in ("Dropout", "StochasticDepth")
        network(torch.empty(2, 3, side, side))
    assert drawn == []


@pytest.mark.parametrize("by_example", [True, False])
def test_stochastic_depth_drops_whole_branches_and_scales_the_others(by_example: bool) -> None:
    depth = StochasticDepth(0.25, by_example=by_example).train()
    depth.generator = seeded()
    results = torch.stack([depth(torch.ones(4, 3, 2, 2)) for _ in range(500)])  # (R, N, C, H, W)
    assert sorted(set(results.flatten().tolist())) == pytest.approx([0.0, 4 / 3])
    assert (results.flatten(2) == results[:, :, 0, :1, :1].flatten(2)).all()
    assert (results[:, 0] == results[:, 1]).all().item() is not by_example
    assert results.mean().item() == pytest.approx(1.0, abs=0.06)
    assert torch.equal(depth.eval()(torch.ones(2, 1)), torch.ones(2, 1))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], None]:
    """Give a function that puts a state, or an error, where torchvision would download."""

    def publish(name: str, answer: Any) -> None:
        def get_state_dict(_weights: Any, **options: Any) -> Any:
            assert options["weights_only"]
            assert options["check_hash"]
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(models.get_model_weights(name), "get_state_dict", get_state_dict)

    return publish


def pretrained(name: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = models.get_model(name, weights=None).state_dict()
    return state


@pytest.mark.parametrize(("name", "last"), [("resnet18", "fc"), ("squeezenet1_1", "classifier.1")])
def test_pretrained_weights_are_all_but_the_last_layer(
    published: Callable[..., None], name: str, last: str
) -> None:
    state = pretrained(name)
    published(name, state.copy())
    started = module(name, weights="IMAGENET1K_V1", generator=seeded()).network.state_dict()
    drawn = module(name, generator=seeded()).network.state_dict()
    for key, value in started.items():
        wanted = drawn if key.rpartition(".")[0] == last else state
        assert torch.equal(value, wanted[key]), key


def test_pretrained_weights_are_whole_where_the_last_layer_has_their_size(
    published: Callable[..., None],
) -> None:
    state = pretrained("squeezenet1_1")
    published("squeezenet1_1", state.copy())
    started = module("squeezenet1_1", outputs=1000, weights="IMAGENET1K_V1", generator=seeded())
    assert all(
        torch.equal(value, state[key]) for key, value in started.network.state_dict().items()
    )


def test_densenet_s_old_names_are_understood(published: Callable[..., None]) -> None:
    state = pretrained("densenet121")
    key, old = "denseblock1.denselayer1.norm1.weight", "denseblock1.denselayer1.norm.1.weight"
    value = torch.full_like(state[f"features.{key}"], 3.0)
    del state[f"features.{key}"]
    published("densenet121", {**state, f"features.{old}": value})
    started = module("densenet121", weights="IMAGENET1K_V1", generator=seeded())
    assert torch.equal(started.network.state_dict()[f"features.{key}"], value)


def test_googlenet_starts_without_the_heads_of_its_training(
    published: Callable[..., None],
) -> None:
    with pytest.warns(FutureWarning, match="weight initialization"):
        state = pretrained("googlenet")
    assert any(key.startswith("aux1") for key in state)
    published("googlenet", state)
    network = module("googlenet", weights="IMAGENET1K_V1", generator=seeded()).network
    assert network.transform_input
    assert not any(key.startswith("aux") for key in network.state_dict())


def test_weights_of_another_network_are_refused(published: Callable[..., None]) -> None:
    published("resnet18", pretrained("resnet34"))
    module("resnet18", weights="IMAGENET1K_V1", generator=seeded())
    published("resnet34", pretrained("resnet18"))
    with pytest.raises(DatasetError, match=r"weights resnet34 IMAGENET1K_V1 do not fit .*layer1"):
        module("resnet34", weights="IMAGENET1K_V1", generator=seeded())


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash value")])
def test_weights_that_cannot_be_had_name_their_address_and_place(
    published: Callable[..., None], error: Exception
) -> None:
    published("resnet18", error)
    message = (
        r"weights resnet18 IMAGENET1K_V1 cannot be had: .*(no route|invalid hash).*; download "
        r"https://download.pytorch.org/models/resnet18-.*\.pth into .*/checkpoints, or leave"
    )
    with pytest.raises(DatasetUnavailableError, match=message):
        module("resnet18", weights="IMAGENET1K_V1", generator=seeded())


def test_checkpoint_needs_no_pretrained_weights(published: Callable[..., None]) -> None:
    published("resnet18", URLError("no route"))
    assert isinstance(module("resnet18", weights="IMAGENET1K_V1"), nn.Module)
