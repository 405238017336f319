import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.compatibility import LOSSES
from experiments.records import (
    AugmentationConfig,
    DataConfig,
    InitConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrialConfig,
)
from experiments.streams import stream_seed
from experiments.tasks import TASKS
from workers import checkpoints
from workers.augmentation import augment
from workers.batches import standardise
from workers.criterion import Score
from workers.datasets.staged import StagedData
from workers.learner import EpochRecord, Learner, draw_order
from workers.losses import build_loss

MakeConfig = Callable[..., TrialConfig]
Stage = Callable[..., tuple[DataConfig, StagedData]]
CPU = torch.device("cpu")
OF_CLASSES = [name for name, rule in LOSSES.items() if "classification" in rule.tasks]
NO_DROPOUT = ["flatten", {"linear": 16}, {"activation": "relu"}, {"linear": 10}]


def pass_on(step: int) -> None:
    """Let every step be made."""


def score(learner: Learner) -> Score:
    return learner.evaluate("val", before_batch=lambda: None)


def train(learner: Learner, epoch: int) -> EpochRecord:
    return learner.train_epoch(epoch, before_step=pass_on)


def test_steps_are_counted_from_the_epochs_first(
    make_config: MakeConfig, digits: StagedData
) -> None:
    learner, steps = Learner(make_config(), digits, device=CPU), list[int]()
    for epoch in (1, 2):
        record = learner.train_epoch(epoch, before_step=steps.append)
        assert len(record.batch_losses) == learner.steps_per_epoch
    assert learner.steps_per_epoch == 6  # 189 images in batches of 32
    assert steps == [*range(1, 7), *range(1, 7)]


@pytest.mark.parametrize("loss", OF_CLASSES)
def test_training_scores_are_exact_means_with_the_partial_batch(
    make_config: MakeConfig, digits: StagedData, loss: str
) -> None:
    config = make_config(layers=NO_DROPOUT, lr=1e-30, loss=loss)  # weights stay as they are
    learner = Learner(config, digits, device=CPU)
    record = train(learner, 1)
    images, labels = digits.train.gather(torch.arange(189))
    with torch.no_grad():
        outputs = learner.module(standardise(images, digits)).double()
    loss_of = build_loss(loss, output_activation=config.output_activation)
    assert record.train.loss == pytest.approx(loss_of(outputs, labels).item(), rel=1e-6)
    right = (outputs.argmax(1) == labels).sum().item()
    assert record.train.metrics == {"accuracy": right / 189}


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own(
    make_config: MakeConfig, digits: StagedData
) -> None:
    config = make_config()
    orders = [draw_order(config, epoch, len(digits.train)).tolist() for epoch in (1, 2)]
    assert all(sorted(order) == list(range(189)) for order in orders)
    assert orders[0] != orders[1]
    assert draw_order(config, 1, len(digits.train)).tolist() == orders[0]


def test_an_epoch_depends_on_nothing_but_the_weights(
    make_config: MakeConfig, digits: StagedData
) -> None:
    stateless = OptimizerConfig("sgd", 0.05, momentum=0.0)
    schedule = ScheduleConfig("cosine")
    config = make_config(optimizer=stateless, schedule=schedule, epochs=3)
    whole, resumed = (Learner(config, digits, device=CPU) for _ in range(2))
    train(whole, 1)
    resumed.module.load_state_dict(whole.copy_weights())
    assert train(whole, 2) == train(resumed, 2)
    for name, weight in whole.copy_weights().items():
        assert torch.equal(weight, resumed.copy_weights()[name])


def test_the_seed_decides_the_first_weights(make_config: MakeConfig, digits: StagedData) -> None:
    first, same, other = (
        Learner(make_config(seed=seed), digits, device=CPU).copy_weights() for seed in (0, 0, 1)
    )
    for name, weight in first.items():
        assert torch.equal(weight, same[name])
        assert not torch.equal(weight, other[name])


def test_torchs_global_generator_is_neither_used_nor_moved(
    make_config: MakeConfig, digits: StagedData
) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = Learner(make_config(), digits, device=CPU)
    train(one, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two = Learner(make_config(), digits, device=CPU)
    train(two, 1)
    for name, weight in one.copy_weights().items():
        assert torch.equal(weight, two.copy_weights()[name])


def test_the_rate_of_an_epoch_is_that_of_its_last_step(
    make_config: MakeConfig, digits: StagedData
) -> None:
    schedule = ScheduleConfig("step", step_epochs=1, step_factor=0.1)
    learner = Learner(make_config(lr=0.5, schedule=schedule), digits, device=CPU)
    assert [train(learner, epoch).lr for epoch in (1, 2)] == pytest.approx([0.5, 0.05])


def test_copied_weights_stay_when_training_goes_on(
    make_config: MakeConfig, digits: StagedData
) -> None:
    learner = Learner(make_config(), digits, device=CPU)
    copy = learner.copy_weights()
    before = {name: weight.clone() for name, weight in copy.items()}
    train(learner, 1)
    for name, weight in copy.items():
        assert torch.equal(weight, before[name])
        assert not torch.equal(weight, learner.module.state_dict()[name])


CONVOLUTION = {"out_channels": 1, "kernel_size": 3, "padding": "same"}
EVERY_TASK: list[tuple[str, str, dict[str, Any], list[Any]]] = [
    ("binary", "too_hot", {}, [{"linear": 1}]),
    ("regression", "sunshine", {}, [{"linear": 4}, {"activation": "tanh"}, {"linear": 1}]),
    ("reconstruction", "digits", {}, [{"conv2d": CONVOLUTION}]),
    (
        "segmentation",
        "digit_scenes",
        {"size": 32, "digits": 1, "examples": 40},
        [{"conv2d": CONVOLUTION | {"out_channels": 11}}],
    ),
]


@pytest.mark.parametrize(("task", "name", "options", "layers"), EVERY_TASK)
def test_every_task_learns(
    stage_set: Stage,
    make_task_config: MakeConfig,
    task: str,
    name: str,
    options: dict[str, Any],
    layers: list[Any],
) -> None:
    data_config, data = stage_set(name, **options)
    config = make_task_config(task, data_config, data.input_shape, layers=layers, lr=0.02)
    learner = Learner(config, data, device=CPU)
    first, later = train(learner, 1), train(learner, 2)
    assert later.train.loss < first.train.loss
    assert set(later.train.metrics) == set(TASKS[task].train_metrics)
    found = score(learner)
    assert found.loss < first.train.loss
    assert tuple(found.metrics) == TASKS[task].metrics


def test_augmentation_changes_the_training_images_by_a_stream_of_its_own(
    make_config: MakeConfig, digits: StagedData
) -> None:
    flip = AugmentationConfig("flip")
    plain, flipped, again = (
        Learner(make_config(layers=NO_DROPOUT, augmentation=how), digits, device=CPU)
        for how in (AugmentationConfig(), flip, flip)
    )
    records = [train(learner, 1) for learner in (plain, flipped, again)]
    assert records[1] == records[2]
    assert records[0].batch_losses != records[1].batch_losses
    change = flipped._augmentation(1)
    assert change is not None
    images, labels = digits.train.gather(draw_order(flipped.config, 1, len(digits.train)))
    generator = torch.Generator().manual_seed(stream_seed(0, "augmentation", 1))
    expected, _ = augment(images, labels, flip, generator=generator)
    assert torch.equal(change(images, labels)[0], expected)
    assert not torch.equal(change(images, labels)[0], expected)  # the stream goes on


@pytest.fixture
def trained(make_config: MakeConfig, digits: StagedData, tmp_path: Path) -> InitConfig:
    """A trained network whose inputs had a scale of their own; two layers are taken over."""
    learner = Learner(make_config(layers=NO_DROPOUT, seed=5), digits, device=CPU)
    train(learner, 1)
    statistics = {"mean": [1.0], "std": [2.0], "full_scale": 32}
    saved = checkpoints.save(
        tmp_path / "best.pt", learner.module.state_dict(), epoch=1, step=6, **statistics
    )
    return InitConfig("t", saved.sha256, str(saved.path), num_layers=2, num_frozen=2)


def test_frozen_layers_keep_their_weights_and_the_others_learn(
    make_config: MakeConfig, digits: StagedData, trained: InitConfig
) -> None:
    learner = Learner(make_config(layers=NO_DROPOUT, init=trained), digits, device=CPU)
    source = checkpoints.load(Path(trained.path), sha256=trained.sha256)["model"]
    before = learner.copy_weights()
    train(learner, 1)
    after = learner.copy_weights()
    assert torch.equal(after["1.weight"], source["1.weight"])
    assert not torch.equal(after["3.weight"], before["3.weight"])
    assert not torch.equal(before["3.weight"], source["3.weight"])
    assert (learner.data.mean.tolist(), learner.data.std.tolist()) == ([0.5], [1.0])
    assert digits.full_scale == 16


def test_frozen_layers_stay_byte_identical_whatever_trains_the_others(
    make_config: MakeConfig, digits: StagedData, tmp_path: Path
) -> None:
    convolution = {"out_channels": 4, "kernel_size": 3}
    layers = [{"conv2d": convolution}, "batch_norm", "relu", "flatten", {"linear": 10}]
    optimizer = OptimizerConfig("adamw", 0.01, weight_decay=0.1)
    source = Learner(make_config(layers=layers, seed=5), digits, device=CPU)
    train(source, 1)
    learned = source.copy_weights()
    saved = checkpoints.save(
        tmp_path / "best.pt", learned, epoch=1, step=6, mean=[1.0], std=[2.0], full_scale=16
    )
    init = InitConfig("t", saved.sha256, str(saved.path), num_layers=4, num_frozen=4)
    config = make_config(layers=layers, optimizer=optimizer, init=init)
    learner = Learner(config, digits, device=CPU)
    own = learner.copy_weights()
    for epoch in (1, 2):
        train(learner, epoch)
        score(learner)
    after = learner.copy_weights()
    taken = {name for name in after if not name.startswith("4.")}
    assert {name for name in taken if not torch.equal(after[name], learned[name])} == set()
    assert {"0.weight", "1.weight", "1.running_mean", "1.num_batches_tracked"} <= taken
    assert not any(torch.equal(after[name], own[name]) for name in after if name not in taken)


def test_a_network_may_have_nothing_to_learn(
    make_config: MakeConfig, digits: StagedData, trained: InitConfig
) -> None:
    whole = dataclasses.replace(trained, num_layers=4, num_frozen=4)
    learner = Learner(make_config(layers=NO_DROPOUT, init=whole), digits, device=CPU)
    before = learner.copy_weights()
    assert train(learner, 1).train.loss == pytest.approx(train(learner, 2).train.loss)
    assert all(torch.equal(before[name], value) for name, value in learner.copy_weights().items())
