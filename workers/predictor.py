"""A trained network as its users want it: raw images in, outputs out."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.records import TrialConfig
from workers import checkpoints
from workers.modules import build_module


class Standardise(nn.Module):
    """Maps raw pixel values to (x - mean) / std by channel, as in training."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        """Keep the statistics of the training split, one number a channel."""
        super().__init__()
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("std", std[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, H, W) of any number type to float32."""
        return (images.to(torch.float32) - self.mean) / self.std


def load_predictor(path: Path, *, sha256: str) -> nn.Module:
    """Rebuild the network that a checkpoint holds, ready for raw images.

    The module takes (N, C, H, W) pixel values as the data set stores them (0..255 for most)
    and gives the network's outputs (N, K); it is in evaluation mode.

    Raises:
        CheckpointError: The checkpoint is missing, truncated, altered or foreign.
    """
    contents = checkpoints.load(path, sha256=sha256)
    config = TrialConfig.from_data(json.loads(contents["config"]))
    network = build_module(config.architecture, generator=None)
    network.load_state_dict(contents["model"])
    standardise = Standardise(torch.tensor(contents["mean"]), torch.tensor(contents["std"]))
    return nn.Sequential(standardise, network).eval()
