"""A trained network as its users want it: raw inputs in, raw outputs out."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.architectures.geometry import Shape
from experiments.records import TrialConfig
from workers import checkpoints
from workers.modules import build_module


class Standardise(nn.Module):
    """Maps raw values to (x - mean) / std by channel or feature, as in training."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, *, input_shape: Shape) -> None:
        """Keep the statistics (C,) or (F,) of the training split for inputs of a shape."""
        super().__init__()
        places = (1,) * (len(input_shape) - 1)
        self.register_buffer("mean", mean.view(-1, *places))
        self.register_buffer("std", std.view(-1, *places))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, H, W) or (N, F) of any number type to float32."""
        return (inputs.to(torch.float32) - self.mean) / self.std


def load_predictor(path: Path, *, sha256: str) -> nn.Module:
    """Rebuild the network that a checkpoint holds, ready for raw inputs.

    The module takes inputs as the data set stores them, pixels (N, C, H, W) of 0..255 for
    most or numbers (N, F), and is in evaluation mode. It gives the network's raw outputs,
    to which the trial's output activation is yet to be applied: classification (N, K);
    binary (N, 1), the yes; regression (N, T) in the targets' own units; segmentation
    (N, K, H, W); reconstruction (N, C, H, W), pixels in 0..1.

    Raises:
        CheckpointError: The checkpoint is missing, truncated, altered or foreign.
    """
    contents = checkpoints.load(path, sha256=sha256)
    config = TrialConfig.from_data(json.loads(contents["config"]))
    network = build_module(config.architecture, generator=None)
    network.load_state_dict(contents["model"])
    mean, std = torch.tensor(contents["mean"]), torch.tensor(contents["std"])
    standardise = Standardise(mean, std, input_shape=config.architecture.input_shape)
    return nn.Sequential(standardise, network).eval()
