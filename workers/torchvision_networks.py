"""torchvision's classification networks: measured without storage, built from a stream.

torchvision is imported inside functions: it takes seconds, and few ask for it. Nothing in
the networks draws from torch's global generator once they are built here.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from http.client import HTTPException
from pickle import UnpicklingError
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from experiments.architectures.geometry import Shape, ShapeError, shape_text
from experiments.architectures.torchvision_networks import (
    PREFIX,
    TorchvisionFigures,
    TorchvisionNetwork,
    check_image,
)
from experiments.errors import DatasetError, DatasetUnavailableError
from workers.layer_modules import StreamDropout

_WITH_AUXILIARY_HEADS: Final = ("googlenet", "inception_v3")
# DenseNet's weights were saved when its layers had other names.
_OLD_NAMES: Final = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


class TorchvisionModule(nn.Module):
    """One of torchvision's networks as a layer; a grey image is repeated for three channels.

    Its dropout and stochastic depth draw from a generator of their own (see
    `StreamDropout`). Under `torch.device("meta")` it is made without storage.
    """

    def __init__(self, record: TorchvisionNetwork) -> None:
        """Make the network with weights of no use; `initial_state` has those to load."""
        super().__init__()
        self.record = record
        with _CountingOnCpu() if record.name.startswith("regnet") else nullcontext():
            self.network = _make(record)
        _draw_from_streams(self.network)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 1 or 3, H, W) to (N, outputs)."""
        colour = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        outputs: Tensor = self.network(colour)
        return outputs

    def initial_state(self, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Give the values to start from, by name: drawn as torchvision does, or pre-trained.

        The weights are drawn from a seed that `generator` gives; those that torchvision
        has learned replace all but the last layer. Without a generator all are zero.

        Raises:
            DatasetUnavailableError: The pre-trained weights cannot be had now.
            DatasetError: They are not those of this network.
        """
        if generator is None:
            state = {
                name: torch.zeros(tensor.shape, dtype=tensor.dtype)
                for name, tensor in self.network.state_dict().items()
            }
        else:
            network = _drawn(self.record, generator)
            if self.record.weights is not None:
                _load_pretrained(network, self.record.name, self.record.weights)
            state = network.state_dict()
        return {f"network.{name}": tensor for name, tensor in state.items()}


def measure(name: str, input_shape: Shape, outputs: int) -> TorchvisionFigures:
    """Count a network's parameters, and one example's multiply-adds and activations.

    Counts the products of convolutions, linear layers and attention, and what the modules
    without parts put out, and looks for batch norms over single values. All is on the meta
    device: nothing of the network's size is allocated.

    Raises:
        ShapeError: The network does not take that input; the message has torchvision's reason.
    """
    from torch.utils.flop_counter import FlopCounterMode

    check_image(name, input_shape)
    with torch.device("meta"):
        module = TorchvisionModule(TorchvisionNetwork(name, outputs, 0, 0, 0)).eval()
        images = torch.empty(1, *input_shape)
    counter = FlopCounterMode(display=False)
    notes = _Notes()
    try:
        with counter, notes.taken(module):
            module(images)
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ShapeError(
            f"{PREFIX}{name} does not fit an input of {shape_text(input_shape)}: {reason}"
        ) from error
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return TorchvisionFigures(
        parameters,
        counter.get_total_flops() // 2,
        notes.num_activations,
        norms_single_values=notes.norms_single_values,
    )


class _Notes:
    """What the modules without parts do to one example."""

    def __init__(self) -> None:
        self.num_activations = 0
        self.norms_single_values = False

    @contextmanager
    def taken(self, module: nn.Module) -> Iterator[None]:
        """Take notes while a network runs."""
        leaves = [part for part in module.modules() if not list(part.children())]
        hooks = [part.register_forward_hook(self._note) for part in leaves]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _note(self, part: nn.Module, _inputs: object, output: object) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        sizes = [item.numel() for item in outputs if isinstance(item, Tensor)]
        self.num_activations += sum(sizes)
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            self.norms_single_values |= sum(sizes) == part.num_features


class StochasticDepth(StreamDropout):
    """Drops the whole of a residual branch: of each example, or of the batch.

    Source: Huang et al., "Deep Networks with Stochastic Depth", 2016.
    """

    def __init__(self, p: float, *, by_example: bool) -> None:
        """Drop with probability `p` while training."""
        super().__init__(p)
        self.by_example = by_example

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop and scale what is left by 1 / (1 - p); in evaluation, change nothing."""
        if not self.training or self.p == 0.0:
            return inputs
        size = len(inputs) if self.by_example else 1
        return inputs * super().forward(inputs.new_ones(size, *[1] * (inputs.ndim - 1)))


class _CountingOnCpu(TorchFunctionMode):
    """Keeps what RegNet works its widths out with off the meta device."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in (torch.arange, torch.tensor):
            options.setdefault("device", "cpu")
        return func(*args, **options)


def _make(record: TorchvisionNetwork) -> nn.Module:
    """Make the network as torchvision does, without heads that only its training has."""
    from torchvision import models

    options: dict[str, Any] = {}
    if record.name in _WITH_AUXILIARY_HEADS:
        options = {"aux_logits": False, "init_weights": True}
        options["transform_input"] = record.weights is not None  # as torchvision does
    network: nn.Module = models.get_model(
        record.name, weights=None, num_classes=record.num_outputs, **options
    )
    return network


def _drawn(record: TorchvisionNetwork, generator: torch.Generator) -> nn.Module:
    """Make the network on the CPU, its weights drawn from a seed that `generator` gives."""
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`: it would seed the GPUs, which are not put back.
        torch.default_generator.manual_seed(seed)
        return _make(record)


def _draw_from_streams(network: nn.Module) -> None:
    """Put modules that draw from a generator of their own where torchvision's drop."""
    from torchvision import ops

    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, StreamDropout(child.p))
            elif isinstance(child, ops.StochasticDepth):
                by_example = child.mode == "row"
                setattr(parent, name, StochasticDepth(child.p, by_example=by_example))


def _load_pretrained(network: nn.Module, name: str, weights: str) -> None:
    """Load torchvision's weights into all layers but the last one, if its size differs."""
    own = network.state_dict()
    state = _fetch(name, weights)
    for key in list(state):
        value = state.pop(key)
        key = _OLD_NAMES.sub(r"\1\2", key)
        if key in own and own[key].shape == value.shape:
            state[key] = value
    missing = network.load_state_dict(state, strict=False).missing_keys
    layers = {key.rpartition(".")[0] for key in missing if not key.endswith("num_batches_tracked")}
    if len(layers) > 1:
        raise DatasetError(
            f"torchvision's weights {name} {weights} do not fit the network at "
            f"{', '.join(sorted(layers))}"
        )


def _fetch(name: str, weights: str) -> dict[str, Any]:
    from torchvision import models

    source = models.get_model_weights(name)[weights]
    try:
        state: dict[str, Any] = source.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (OSError, HTTPException, RuntimeError, UnpicklingError) as error:
        raise DatasetUnavailableError(
            f"torchvision's weights {name} {weights} cannot be had: {error}; download "
            f"{source.url} into {torch.hub.get_dir()}/checkpoints, or leave the option weights out"
        ) from error
    return state
