"""A network that learns: one trial's module, optimizer and random streams, epoch by epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.records import TrialConfig
from experiments.streams import stream_seed
from workers.batches import blocks
from workers.datasets.staged import StagedData
from workers.devices import memory_layout
from workers.evaluation import Score, count_correct, evaluate
from workers.losses import LOSSES
from workers.modules import build_module, set_dropout_generator
from workers.optimizers import build_optimizer
from workers.schedules import learning_rate


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch of training gave.

    `train` are running means over the epoch's images, each scored just before the step
    that it took part in. `batch_losses` holds one mean loss a step, float32 values.
    `lr` is that of the last step.
    """

    train: Score
    batch_losses: tuple[float, ...]
    lr: float


class Learner:
    """The state of one trial's training.

    Every epoch draws its order and its dropout from streams of its own, derived from the
    trial's seed, so it depends on nothing but the weights and the optimizer's state.
    """

    def __init__(self, config: TrialConfig, data: StagedData, *, device: torch.device) -> None:
        """Build the network; its first weights are drawn on the CPU, the same for any device."""
        generator = torch.Generator().manual_seed(stream_seed(config.seed, "weights"))
        self.config = config
        self.data = data.to(device)
        module = build_module(config.architecture, generator=generator)
        self._layout = memory_layout(module, device)
        self.module = module.to(device).to(memory_format=self._layout)
        self.steps_per_epoch = math.ceil(len(data.train) / config.batch_size)
        self.total_steps = self.steps_per_epoch * config.epochs
        self._loss = LOSSES[config.loss]
        self._optimizer = build_optimizer(config.optimizer, self.module.parameters())
        self._order = torch.Generator()
        self._dropout = torch.Generator(device)
        set_dropout_generator(self.module, self._dropout)

    def train_epoch(self, epoch: int, *, before_step: Callable[[int], None]) -> EpochRecord:
        """Pass once over the training split.

        Args:
            epoch: Which pass, from 1.
            before_step: Called before each step with its number in the trial, from 1;
                what it raises ends the epoch.
        """
        config, data = self.config, self.data
        order = self._draw_order(epoch)
        self._dropout.manual_seed(stream_seed(config.seed, "dropout", epoch))
        self.module.train()
        done = (epoch - 1) * self.steps_per_epoch
        losses, correct = [], torch.zeros((), dtype=torch.int64, device=order.device)
        source = blocks(data.train, order, data, multiple=config.batch_size, layout=self._layout)
        for images, labels in source:
            block_losses, answers = self._train_block(images, labels, done, before_step)
            done += len(block_losses)
            losses.append(block_losses)
            correct += count_correct(answers, labels)
        batch_losses = torch.cat(losses).double().cpu()
        return EpochRecord(
            Score(self._mean_loss(batch_losses), correct.item() / len(order)),
            tuple(batch_losses.tolist()),
            self.learning_rate(done - 1),
        )

    def _train_block(
        self, images: Tensor, labels: Tensor, done: int, before_step: Callable[[int], None]
    ) -> tuple[Tensor, Tensor]:
        """Make the steps of one block, the first of them after `done` others.

        Nothing in here waits for the device. The names are local because this is the
        innermost loop, and a small network's step takes less than half a millisecond.

        Returns:
            The steps' losses (S,), and the answers to all images (n, K).
        """
        module, loss_of, optimizer = self.module, self._loss, self._optimizer
        batch_size = self.config.batch_size
        batches = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
        losses, answers = [], []
        for x, y in batches:
            before_step(done + 1)
            outputs = module(x)
            loss = loss_of(outputs, y)
            torch.autograd.backward(loss)
            optimizer.step(lr=self.learning_rate(done))
            losses.append(loss.detach())
            answers.append(outputs.detach())
            done += 1
        return torch.stack(losses), torch.cat(answers)

    def learning_rate(self, step: int) -> float:
        """Give the learning rate of a step, from 0."""
        return learning_rate(
            self.config.schedule,
            base=self.config.optimizer.lr,
            step=step,
            steps_per_epoch=self.steps_per_epoch,
            total_steps=self.total_steps,
        )

    def evaluate(self, split: str) -> Score:
        """Score the network as it is on the split "val" or "test"."""
        images = self.data.val if split == "val" else self.data.test
        return evaluate(self.module, images, self.data, loss=self._loss)

    def copy_weights(self) -> dict[str, Tensor]:
        """Copy weights and batch norm's statistics, as they are now."""
        return {name: value.clone() for name, value in self.module.state_dict().items()}

    def _draw_order(self, epoch: int) -> Tensor:
        seed = stream_seed(self.config.seed, "order", epoch)
        order = torch.randperm(len(self.data.train), generator=self._order.manual_seed(seed))
        return order.to(self.data.train.indices.device)

    def _mean_loss(self, batch_losses: Tensor) -> float:
        """Weigh each batch by its images; the last one may be smaller."""
        sizes = torch.full_like(batch_losses, self.config.batch_size)
        num_images = len(self.data.train)
        sizes[-1] = num_images - self.config.batch_size * (len(sizes) - 1)
        return float((batch_losses * sizes).sum().item() / num_images)
