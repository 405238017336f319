"""Weights from a trained network: taken over into a new one, and kept where they are frozen."""

from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.errors import CheckpointError
from experiments.records import InitConfig
from workers import checkpoints


def start_from(module: nn.Module, init: InitConfig, *, full_scale: int) -> tuple[Tensor, Tensor]:
    """Give a network's first layers the weights of a trained one, and freeze those asked for.

    `module` has one child a layer, named by its number, as `build_module` makes it;
    `full_scale` is what a white pixel is in the data that it will see.

    Returns:
        The mean and standard deviation, (C,) float32 each, by which the trained network's
        inputs were standardised, in units of the new data: what it has learned holds for
        inputs of that scale.

    Raises:
        CheckpointError: The checkpoint is missing or altered, or holds other layers.
    """
    contents = checkpoints.load(Path(init.path), sha256=init.sha256)
    taken = {
        name: value
        for name, value in contents["model"].items()
        if _layer_number(name) < init.num_layers
    }
    wanted = {
        name: value.shape
        for name, value in module.state_dict().items()
        if _layer_number(name) < init.num_layers
    }
    if {name: value.shape for name, value in taken.items()} != wanted:
        raise CheckpointError(
            f"{init.path}: the first {init.num_layers} layers of {init.source} are not those "
            "that were planned; plan again"
        )
    module.load_state_dict(taken, strict=False)  # the layers on top keep their own
    for layer in _frozen(module, init):
        layer.requires_grad_(requires_grad=False)
    # A file of the first version says nothing of its scale.
    scale = full_scale / contents.get("full_scale", full_scale)
    return scale * torch.tensor(contents["mean"]), scale * torch.tensor(contents["std"])


def train_mode(module: nn.Module, init: InitConfig | None) -> None:
    """Switch to training; frozen layers stay in evaluation.

    So their batch norm neither uses nor changes with the batch, and they drop nothing.
    """
    module.train()
    if init is not None:
        for layer in _frozen(module, init):
            layer.eval()


def _frozen(module: nn.Module, init: InitConfig) -> list[nn.Module]:
    return [module.get_submodule(str(number)) for number in range(init.num_frozen)]


def _layer_number(name: str) -> int:
    return int(name.partition(".")[0])
