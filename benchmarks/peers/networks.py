"""The networks of the workloads, written as one writes them in torch.

A test holds each to trainyard's own of the same name: the same weights, the same outputs.
"""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


def small(activation: str, num_classes: int) -> nn.Module:
    """Give the network of the spec language's page, for images (N, 1, 8, 8)."""
    act = ACTIVATIONS[activation]
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        act(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        act(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 64),
        act(),
        nn.Linear(64, num_classes),
    )


def lenet5(activation: str, num_classes: int) -> nn.Module:
    """Give LeNet-5 (LeCun et al. 1998) for images (N, 1, 28, 28)."""
    act = ACTIVATIONS[activation]
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        act(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        act(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        act(),
        nn.Linear(120, 84),
        act(),
        nn.Linear(84, num_classes),
    )


def vgg11(activation: str, num_classes: int) -> nn.Module:
    """Give VGG-11 (Simonyan & Zisserman 2015) at a quarter of its width, for (N, 3, 32, 32)."""
    act = ACTIVATIONS[activation]
    layers: list[nn.Module] = []
    inputs = 3
    for channels, convolutions in ((16, 1), (32, 1), (64, 2), (128, 2), (128, 2)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(inputs, channels, 3, padding=1), act()]
            inputs = channels
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(128, 128), act(), nn.Linear(128, num_classes)]
    return nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            act(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, outputs, H / stride, W / stride)."""
        result: Tensor = self.act(self.body(x) + self.shortcut(x))
        return result


def resnet18(activation: str, num_classes: int) -> nn.Module:
    """Give ResNet-18 (He et al. 2016) at a quarter of its width, for (N, 3, 32, 32)."""
    act = ACTIVATIONS[activation]
    stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    layers: list[nn.Module] = [stem, nn.BatchNorm2d(16), act()]
    inputs = 16
    for channels, stride in ((16, 1), (32, 2), (64, 2), (128, 2)):
        layers.append(BasicBlock(inputs, channels, stride, act))
        layers.append(BasicBlock(channels, channels, 1, act))
        inputs = channels
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, num_classes)]
    return nn.Sequential(*layers)


def softmax_regression(_activation: str, num_classes: int) -> nn.Module:
    """Give one linear layer, for images (N, 1, 2, 2)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(4, num_classes))


NETWORKS: Final[Mapping[str, Callable[[str, int], nn.Module]]] = {
    "small": small,
    "lenet5": lenet5,
    "vgg11": vgg11,
    "resnet18": resnet18,
    "softmax_regression": softmax_regression,
}


def build(model: str, *, activation: str, num_classes: int, channels_last: bool) -> nn.Module:
    """Make a network with torch's own initial weights, in torch's global random stream."""
    network = NETWORKS[model](activation, num_classes)
    if channels_last:
        network.to(memory_format=torch.channels_last)
    return network
