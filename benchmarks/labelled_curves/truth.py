"""What is true of a run, measured in ways that the doctor has no part in.

The doctor sees the running training loss and the validation split. Here are the losses after every
epoch on fresh examples (half of what would validate, drawn like the other half) and, without
dropout, on the whole training split; what the same run comes to with twice the epochs, with higher
rates and a lower one; and the units that are dead on the whole training split.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from benchmarks.labelled_curves.cases import Case
from benchmarks.labelled_curves.tricks import played
from experiments.diagnosis.reading import swing
from experiments.records import TrialConfig
from workers.batches import blocks
from workers.criterion import Criterion
from workers.datasets.staged import Split, StagedData
from workers.evaluation import evaluate
from workers.learner import Learner

CPU: Final = torch.device("cpu")
LITTLE_LEFT: Final = 0.35
"""A training loss below this share of knowing nothing is not held up by its rate."""
QUIET: Final = 0.06
"""A loss that changes by less than this from epoch to epoch does not swing."""


@dataclass(frozen=True, slots=True)
class Run:
    """The losses of each epoch: while it trained, and then on the training split and on fresh."""

    running: tuple[float, ...]
    train: tuple[float, ...]
    fresh: tuple[float, ...]
    dead_units: float | None

    @property
    def is_finite(self) -> bool:
        """Whether it came to its end with numbers."""
        return all(map(math.isfinite, (*self.running, *self.train, *self.fresh)))


@dataclass(frozen=True, slots=True)
class Truth:
    """A run, and what would have become of it.

    Attributes:
        run: As it was.
        untrained: Training loss before the first step.
        guess: Training loss of the best answer that looks at no input.
        longer_fresh: Level of the fresh loss after twice the epochs.
        faster_train: The least training loss with ten and a hundred times the rate; None where
            neither comes to an end with numbers, or little is left.
        calmer_fresh: Fresh losses with a tenth of the rate (shuffled, where it was not); none where
            it is quiet as it is.
    """

    run: Run
    untrained: float
    guess: float
    longer_fresh: float | None
    faster_train: float | None
    calmer_fresh: tuple[float, ...]

    def to_data(self) -> dict[str, Any]:
        """Give the numbers that decide most as JSON-ready data."""
        run = self.run
        return {
            "untrained": self.untrained,
            "guess": self.guess,
            "train": run.train[-1],
            "fresh": run.fresh[-1],
            "best_fresh": min(run.fresh),
            "dead_units": run.dead_units,
            "longer_fresh": self.longer_fresh,
            "faster_train": self.faster_train,
        }


def truth_of(case: Case, config: TrialConfig, data: StagedData, *, fresh: Split) -> Truth:
    """Train a case, and those of its twins that matter for it; score them on fresh examples."""
    constant = config.schedule.name == "constant" and config.schedule.warmup_epochs == 0
    doubled = replace(config, epochs=2 * config.epochs)
    data = replace(data, test=fresh)
    longer = _train(case.trick, config, doubled, data)
    run = _cut(longer, config.epochs) if constant else _train(case.trick, config, config, data)
    with played(case.trick, config, data):
        learner = Learner(config, data, device=CPU)
    untrained, guess = _loss(learner, data), _guess(learner, data)
    faster, calmer = list[Run](), None
    if run.is_finite and run.train[-1] > LITTLE_LEFT * guess:
        quick = [_at_rate(config, factor) for factor in (10, 100)]
        faster = [_train(case.trick, config, each, data) for each in quick]
    if run.is_finite and case.trick == "not shuffled":
        calmer = _train("", config, config, data)
    elif run.is_finite and len(run.fresh) > 1 and swing_share(run.fresh) > QUIET:
        calmer = _train(case.trick, config, _at_rate(config, 0.1), data)
    return Truth(
        run=run,
        untrained=untrained,
        guess=guess,
        longer_fresh=levels(longer.fresh)[-1] if longer.is_finite else None,
        faster_train=min((each.train[-1] for each in faster if each.is_finite), default=None),
        calmer_fresh=calmer.fresh if calmer is not None and calmer.is_finite else (),
    )


def levels(losses: Sequence[float]) -> list[float]:
    """Give running medians of up to five epochs, of fewer for short runs: single epochs scatter."""
    num = 5 if len(losses) >= 15 else 3 if len(losses) >= 8 else 1
    return [statistics.median(losses[max(0, i + 1 - num) : i + 1]) for i in range(len(losses))]


def swing_share(losses: Sequence[float]) -> float:
    """Give how far the second half of the losses swings around its trend, in its median."""
    half = losses[len(losses) // 2 :]
    return swing(half) / max(statistics.median(half), 1e-12)


def _at_rate(config: TrialConfig, factor: float) -> TrialConfig:
    optimizer = replace(config.optimizer, lr=factor * config.optimizer.lr)
    return replace(config, optimizer=optimizer)


def _train(trick: str, case: TrialConfig, config: TrialConfig, data: StagedData) -> Run:
    """Train with the plain loop, scoring both after every epoch.

    Dead units are counted when the case's epochs are through.
    """
    running, train, fresh = list[float](), list[float](), list[float]()
    dead = None
    with played(trick, case, data):
        learner = Learner(config, data, device=CPU)
        for epoch in range(1, config.epochs + 1):
            record = learner.train_epoch(epoch, before_step=lambda _: None)
            running.append(record.train.loss)
            train.append(_loss(learner, data))
            fresh.append(learner.evaluate("test", before_batch=lambda: None).loss)
            if not all(map(math.isfinite, (running[-1], train[-1], fresh[-1]))):
                break
            if epoch == case.epochs:
                dead = _dead_share(learner, data)
    return Run(tuple(running), tuple(train), tuple(fresh), dead)


def parted(data: StagedData) -> tuple[StagedData, Split]:
    """Give the data with every other example of its validation split, and the rest: fresh ones."""
    indices = data.val.indices
    val, fresh = (replace(data.val, indices=indices[start::2]) for start in (0, 1))
    return replace(data, val=val), fresh


def _cut(run: Run, epochs: int) -> Run:
    return Run(run.running[:epochs], run.train[:epochs], run.fresh[:epochs], run.dead_units)


def _loss(learner: Learner, data: StagedData) -> float:
    """Score the training split as an evaluation does."""
    criterion = Criterion(learner.config, data)
    score = evaluate(learner.module, data.train, data, criterion, before_batch=lambda: None)
    return score.loss


def _dead_share(learner: Learner, data: StagedData) -> float | None:
    """Count by hand the rectified units that are zero on all of the training split."""
    alive: dict[nn.Module, Tensor] = {}

    def look(module: nn.Module, _: Any, outputs: Tensor) -> None:
        axes = [axis for axis in range(outputs.dim()) if axis != 1]
        now = (outputs > 0).sum(dim=axes) > 0
        alive[module] = now | alive[module] if module in alive else now

    handles = [
        part.register_forward_hook(look)
        for part in learner.module.modules()
        if isinstance(part, nn.ReLU)
    ]
    _loss(learner, data)
    for handle in handles:
        handle.remove()
    if not alive:
        return None
    return 1 - torch.cat([*alive.values()]).double().mean().item()


def _guess(learner: Learner, data: StagedData) -> float:
    """Give the least training loss of an answer that is the same for every example.

    Found by descent (Liu and Nocedal, "On the limited memory BFGS method for large scale
    optimization", 1989): one number for each class or value, or for each pixel of an image.
    """
    criterion, num = Criterion(learner.config, data), len(data.train)
    layout = torch.contiguous_format
    order = torch.arange(num)
    parts = [*blocks(data.train, order, data, criterion, multiple=num, layout=layout)]
    targets = torch.cat([targets for _, targets in parts])
    with torch.no_grad():
        shape = learner.module(parts[0][0][:1]).shape
    is_for_pixels = learner.config.task == "segmentation"
    answer = torch.zeros((1, shape[1], 1, 1) if is_for_pixels else shape, requires_grad=True)

    def loss() -> Tensor:
        return criterion.loss(answer.expand(num, *shape[1:]), targets)

    def step() -> float:
        descent.zero_grad()
        found = loss()
        found.backward()  # type: ignore[no-untyped-call]
        return found.item()

    descent = torch.optim.LBFGS([answer], max_iter=200, line_search_fn="strong_wolfe")
    descent.step(step)  # type: ignore[no-untyped-call]
    return loss().item()
