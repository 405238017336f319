from collections.abc import Callable

import pytest
import torch

from experiments.records import OptimizerConfig, ScheduleConfig, TrialConfig
from workers.batches import standardise
from workers.datasets.staged import StagedData
from workers.learner import EpochRecord, Learner
from workers.losses import LOSSES

MakeConfig = Callable[..., TrialConfig]
CPU = torch.device("cpu")
NO_DROPOUT = ["flatten", {"linear": 16}, {"activation": "relu"}, {"linear": 10}]


def pass_on(step: int) -> None:
    """Let every step be made."""


def train(learner: Learner, epoch: int) -> EpochRecord:
    return learner.train_epoch(epoch, before_step=pass_on)


def test_steps_are_counted_over_the_trial(make_config: MakeConfig, digits: StagedData) -> None:
    learner, steps = Learner(make_config(), digits, device=CPU), list[int]()
    for epoch in (1, 2):
        record = learner.train_epoch(epoch, before_step=steps.append)
        assert len(record.batch_losses) == learner.steps_per_epoch
    assert learner.steps_per_epoch == 6  # 189 images in batches of 32
    assert steps == list(range(1, 13))


@pytest.mark.parametrize("loss", LOSSES)
def test_training_scores_are_exact_means_with_the_partial_batch(
    make_config: MakeConfig, digits: StagedData, loss: str
) -> None:
    config = make_config(layers=NO_DROPOUT, lr=1e-30, loss=loss)  # weights stay as they are
    learner = Learner(config, digits, device=CPU)
    record = train(learner, 1)
    images, labels = digits.train.gather(torch.arange(189))
    with torch.no_grad():
        outputs = learner.module(standardise(images, digits)).double()
    assert record.train.loss == pytest.approx(LOSSES[loss](outputs, labels).item(), rel=1e-6)
    assert record.train.accuracy == (outputs.argmax(1) == labels).sum().item() / 189


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own(
    make_config: MakeConfig, digits: StagedData
) -> None:
    learner = Learner(make_config(), digits, device=CPU)
    orders = [learner._draw_order(epoch).tolist() for epoch in (1, 2)]
    assert all(sorted(order) == list(range(189)) for order in orders)
    assert orders[0] != orders[1]
    assert learner._draw_order(1).tolist() == orders[0]


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
