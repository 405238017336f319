"""What the members of a pack learn from and are scored on, as their network takes it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from experiments.records import TrialConfig
from experiments.streams import stream_seed
from workers.augmentation import augment_by, draw
from workers.batches import gathered, standardise
from workers.datasets.staged import StagedData
from workers.devices import send
from workers.fusion.fused_criterion import FusedCriterion
from workers.fusion.fused_layers import FusedConv2d
from workers.fusion.fused_products import columns_of
from workers.learner import draw_order

_BLOCK_BYTES: Final = 2**18
"""About as many bytes of a member's inputs are made ready at a time, and its metrics counted:
the same however many members there are, because the order of summation decides the last bit."""

_BLOCK_BYTES_ON_GPU: Final = 2**28
"""So many of all members on a GPU."""

_SHARED_BYTES: Final = 2**25
"""The most bytes of a split's columns, in float32, that are kept for all members and epochs."""


class FusedBatches:
    """The examples of K members, in batches of one size.

    Where the first layer is a convolution of few numbers on the CPU, and no augmentation changes
    the images, what its filters see is written down once, for all members and epochs.
    """

    def __init__(
        self,
        configs: Sequence[TrialConfig],
        data: StagedData,
        criterion: FusedCriterion,
        module: nn.Module,
        *,
        layout: torch.memory_format,
    ) -> None:
        """Take the members' trials, the data on their device, and what reads it."""
        self._configs = configs
        self._data = data
        self._criterion = criterion
        self._layout = layout
        self._batch_size = configs[0].batch_size
        self._augmentation = configs[0].augmentation  # one for all
        self._device = data.mean.device
        self._first = next(module.children(), None)
        self._columns: dict[str, Tensor] = {}  # by the split's name

    def of_epochs(self, epochs: Sequence[int]) -> Iterator[tuple[Iterable[Tensor], Tensor]]:
        """Yield the training batches of one epoch of each member, in blocks of S steps.

        Yields:
            The steps' inputs, standardised: (K n, ...), or columns (K, n, H', W', C kh kw); and
            targets (S, K, n, ...).
        """
        size, num = self._batch_size, len(self._configs)
        train = self._data.train
        pairs = [*zip(self._configs, epochs, strict=True)]
        drawn = [draw_order(*pair, len(train)) for pair in pairs]
        orders = send(torch.stack(drawn), train.indices.device)  # (K, N)
        chances = [
            torch.Generator().manual_seed(stream_seed(config.seed, "augmentation", epoch))
            for config, epoch in pairs
        ]
        whole = orders.shape[1] // size * size
        parts = torch.split(orders[:, :whole], self._block_size(size), dim=1)
        positions = [
            part.reshape(num, -1, min(size, part.shape[1])).transpose(0, 1)  # (S, K, n)
            for part in (*parts, orders[:, whole:])
            if part.shape[1] > 0
        ]
        columns = self._shared_columns("train") if self._augmentation.name == "none" else None
        flat = (each.flatten() for each in positions)
        found = gathered(train, flat, device=self._device)
        for each, (raw, targets) in zip(positions, found, strict=True):
            if columns is None:
                yield self._block(each.shape, raw, targets, chances)
            else:
                yield _at(columns, each), self._targets(each.shape, raw, targets)

    def of_split(self, name: str, size: int) -> Iterator[tuple[Iterable[Tensor], Tensor]]:
        """Yield the split "val" or "test" in batches of `size`, which all see, in blocks.

        Yields:
            The batches' inputs, as `of_epochs` has them, and the targets (K, n, ...) of all.
        """
        split, num = self._data.val if name == "val" else self._data.test, len(self._configs)
        columns = self._shared_columns(name)
        order = torch.arange(len(split), device=split.indices.device)
        parts = torch.split(order, self._block_size(size))
        found = gathered(split, parts, device=self._device)
        begun = 0
        for raw, targets in found:
            wanted = self._criterion.shared_targets(raw, targets)
            if columns is None:
                inputs = standardise(raw, self._data, layout=self._layout)
                # `cat` keeps the layout.
                yield (torch.cat([each] * num) for each in torch.split(inputs, size)), wanted
            else:
                own = columns[begun : begun + len(raw)]
                yield (each.expand(num, *each.shape) for each in torch.split(own, size)), wanted
            begun += len(raw)

    def share(self, other: "FusedBatches") -> None:
        """Take what other members of the same shape, on the same data, have written down."""
        self._columns = other._columns

    def _shared_columns(self, name: str) -> Tensor | None:
        """Give what the first layer's filters see of a split, (N, H', W', C kh kw), if kept."""
        first, data = self._first, self._data
        if self._device.type != "cpu" or not isinstance(first, FusedConv2d):
            return None
        split = {"train": data.train, "val": data.val, "test": data.test}[name]
        # Of one channel, a product for one member alone is rounded otherwise than for several.
        if first.weight.shape[1] == 1:
            return None
        if not first.takes_columns(data.input_shape, self._batch_size):
            return None
        if 4 * first.column_numbers(data.input_shape) * len(split) > _SHARED_BYTES:
            return None
        if name not in self._columns:
            raw = split.inputs[split.indices]
            self._columns[name] = columns_of(standardise(raw, data), first.window)
        return self._columns[name]

    def _block(
        self,
        shape: torch.Size,
        raw: Tensor,
        targets: Tensor,
        chances: Sequence[torch.Generator],
    ) -> tuple[Iterable[Tensor], Tensor]:
        """Change and standardise the raw examples (S K n, ...) of a block of a shape (S, K, n)."""
        steps, num, size = shape
        config = self._augmentation
        if config.name != "none":
            own = [draw(steps * size, generator).view(steps, size, -1) for generator in chances]
            draws = torch.stack(own, dim=1).flatten(0, 2)
            raw, targets = augment_by(draws, raw, targets, config)
        inputs = standardise(raw, self._data, layout=self._layout)
        return torch.split(inputs, num * size), self._targets(shape, raw, targets)

    def _targets(self, shape: torch.Size, raw: Tensor, targets: Tensor) -> Tensor:
        raw, targets = (part.view(*shape, *part.shape[1:]) for part in (raw, targets))
        return self._criterion.targets(raw, targets)

    def _block_size(self, batch_size: int) -> int:
        """Give how many examples of a member are made ready at a time: whole batches."""
        batch_bytes = 4 * math.prod(self._data.input_shape) * batch_size
        block_bytes = _BLOCK_BYTES
        if self._device.type != "cpu":  # it is the starting of operations that counts there
            block_bytes = max(block_bytes, _BLOCK_BYTES_ON_GPU // len(self._configs))
        return batch_size * max(1, block_bytes // batch_bytes)


def _at(columns: Tensor, positions: Tensor) -> Iterator[Tensor]:
    """Yield the columns of the images at positions (S, K, n), step by step."""
    for step in positions:
        yield torch.unflatten(columns.index_select(0, step.flatten()), 0, step.shape)
