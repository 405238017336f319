"""Members of a pack against the same trials in the plain loop, and against other packs."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from experiments.architectures.geometry import Window
from experiments.planning.pack_shapes import pack_order
from experiments.records import AugmentationConfig, DataConfig, OptimizerConfig, TrialConfig
from tests.unit.workers.fusion.pack_runs import (
    FUNCTIONS,
    OPTIMIZERS,
    SCHEDULES,
    MakeConfig,
    convnet,
    mixed_trials,
)
from workers.criterion import Score
from workers.datasets.staged import StagedData
from workers.fusion import fused_batches
from workers.fusion.fused_learner import FusedLearner
from workers.fusion.fused_products import columns_of
from workers.learner import EpochRecord, Learner

Stage = Callable[..., tuple[DataConfig, StagedData]]
CPU = torch.device("cpu")
NUM_STEPS = 100


def pass_on(step: int) -> None:
    """Let every step be made."""


def train(learner: Any, epoch: Any) -> Any:
    return learner.train_epoch(epoch, before_step=pass_on)


def score(learner: Any, split: str = "val") -> Any:
    return learner.evaluate(split, before_batch=lambda: None)


def pack_of(configs: Sequence[TrialConfig], data: StagedData) -> FusedLearner:
    return FusedLearner.start(configs, data, device=CPU)


def assert_same_curves(configs: Sequence[TrialConfig], data: StagedData) -> None:
    """Train members together and alone for 100 steps; their losses differ by rounding only.

    Both add the same float32 products in different orders. The losses of the first step come
    from the same weights: they differ by a few units in the last place, 6e-8 each. What a
    step's weights differ by goes into the next: at these rates, small against the curvature,
    differences grow slowly, 1.1-fold a step at the very most, until a ReLU, a maximum or a
    hinge that lies within them of its bend goes the other way. So the bound is 2e-6 at the
    start and grows to 1e-3; the differences of wrong sums, rates or masks are 1e-2 and more
    from the second step on.
    """
    configs = sorted(configs, key=pack_order)
    alone = [Learner(config, data, device=CPU) for config in configs]
    pack = pack_of(configs, data)
    epochs = -(-NUM_STEPS // pack.steps_per_epoch)
    done = 0
    for epoch in range(1, epochs + 1):
        records = train(pack, [epoch] * len(configs))
        for config, learner, found in zip(configs, alone, records, strict=True):
            expected = train(learner, epoch)
            assert found.lr == expected.lr
            assert found.train.loss == pytest.approx(expected.train.loss, rel=1e-3, abs=1e-5)
            pairs = zip(found.batch_losses, expected.batch_losses, strict=True)
            for step, (one, other) in enumerate(pairs, start=done):
                bound = min(1e-3, 2e-6 * 1.1**step)
                assert one == pytest.approx(other, rel=bound, abs=bound / 10), (config, step)
        done += pack.steps_per_epoch
    for config, found, learner in zip(configs, score(pack), alone, strict=True):
        expected = score(learner)
        assert found.loss == pytest.approx(expected.loss, rel=2e-2), config
        assert set(found.metrics) == set(expected.metrics)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_members_of_all_kinds_learn_as_they_would_alone(
    make_config: MakeConfig, digits: StagedData, optimizer: str
) -> None:
    assert_same_curves(mixed_trials(make_config, optimizer=optimizer, epochs=17), digits)


@pytest.mark.parametrize("change", ["flip", "shift", "crop"])
def test_members_change_their_images_as_they_would_alone(
    make_config: MakeConfig, digits: StagedData, change: str
) -> None:
    augmentation = AugmentationConfig(change, None if change == "flip" else 1)
    configs = [
        make_config(
            layers=convnet(FUNCTIONS[seed]),
            augmentation=augmentation,
            seed=seed,
            lr=0.02,
            epochs=17,
        )
        for seed in range(3)
    ]
    assert_same_curves(configs, digits)


CONVOLUTION = {"out_channels": 1, "kernel_size": 3, "padding": "same"}
EVERY_TASK: list[tuple[str, str, dict[str, Any], list[str], Callable[[str], list[Any]]]] = [
    (
        "binary",
        "too_hot",
        {},
        ["binary_cross_entropy", "mean_squared_error", "hinge", "squared_hinge", "perceptron"],
        lambda function: [{"linear": 4}, {"activation": function}, {"linear": 1}],
    ),
    (
        "regression",
        "sunshine",
        {},
        ["mean_squared_error", "mean_absolute_error"],
        lambda function: [{"linear": 4}, {"activation": function}, {"linear": 1}],
    ),
    (
        "reconstruction",
        "digits",
        {"limit": 210},
        ["mean_squared_error", "mean_absolute_error", "binary_cross_entropy"],
        lambda function: [
            {"conv2d": CONVOLUTION | {"out_channels": 4}},
            {"activation": function},
            {"conv2d": CONVOLUTION},
        ],
    ),
    (
        "segmentation",
        "digit_scenes",
        {"size": 32, "digits": 1, "examples": 80},
        ["cross_entropy", "mean_squared_error", "kullback_leibler_divergence"],
        lambda function: [
            {"conv2d": CONVOLUTION | {"out_channels": 4}},
            {"activation": function},
            {"conv2d": CONVOLUTION | {"out_channels": 11}},
        ],
    ),
]


@pytest.mark.parametrize(
    ("task", "name", "options", "losses", "layers"), EVERY_TASK, ids=[e[0] for e in EVERY_TASK]
)
def test_members_of_every_task_learn_as_they_would_alone(
    stage_set: Stage,
    make_task_config: MakeConfig,
    task: str,
    name: str,
    options: dict[str, Any],
    losses: list[str],
    layers: Callable[[str], list[Any]],
) -> None:
    data_config, data = stage_set(name, **options)
    moves = AugmentationConfig("shift", 2) if task == "segmentation" else AugmentationConfig()
    configs = [
        make_task_config(
            task,
            data_config,
            data.input_shape,
            layers=layers(FUNCTIONS[i % 3]),
            loss=loss,
            lr=(0.02, 0.01)[i % 2],
            schedule=SCHEDULES[i % 4],
            augmentation=moves,
            epochs=30,
            seed=i,
        )
        for i, loss in enumerate(losses)
    ]
    assert_same_curves(configs, data)


def bits(found: EpochRecord | Score) -> str:
    """Write all numbers of a record to the last bit."""
    return repr(found)  # of floats it gives as many digits as tell them apart


def assert_same_states(one: FusedLearner, place: int, other: FusedLearner, its_place: int) -> None:
    states = [
        {**pack.weights_of(at), **pack.optimizer_state_of(at)}
        for pack, at in ((one, place), (other, its_place))
    ]
    torch.testing.assert_close(*states, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_members_bits_depend_neither_on_the_others_nor_on_its_place(
    make_config: MakeConfig, digits: StagedData, optimizer: str
) -> None:
    configs = sorted(mixed_trials(make_config, optimizer=optimizer, epochs=3), key=pack_order)
    whole = pack_of(configs, digits)
    records = [train(whole, [epoch] * len(configs)) for epoch in (1, 2)]
    scores = score(whole)
    for places in ([0], [3, 4], [6, 2, 0, 5, 1]):
        part = pack_of([configs[place] for place in places], digits)
        again = [train(part, [epoch] * len(places)) for epoch in (1, 2)]
        for at, (place, found) in enumerate(zip(places, score(part), strict=True)):
            assert bits(found) == bits(scores[place])
            for epoch in (0, 1):
                assert bits(again[epoch][at]) == bits(records[epoch][place])
            assert_same_states(part, at, whole, place)


@pytest.mark.parametrize("change", ["none", "flip"])
def test_columns_that_are_kept_give_the_curves_of_images(
    make_config: MakeConfig, digits: StagedData, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    configs = [
        make_config(
            layers=convnet("tanh"), augmentation=AugmentationConfig(change, None), seed=seed
        )
        for seed in range(3)
    ]
    seen = list[int]()

    def counted(images: torch.Tensor, window: Window) -> torch.Tensor:
        seen.append(len(images))
        return columns_of(images, window)

    monkeypatch.setattr(fused_batches, "columns_of", counted)
    kept = pack_of(configs, digits)
    records, scores = [train(kept, [epoch] * 3) for epoch in (1, 2)], score(kept)
    again = kept.keep([0, 1, 2])
    train(again, [3] * 3)
    # Once a split, whatever the epochs and the packs; images that change are none of them.
    trained = [len(digits.train)] if change == "none" else []
    assert seen == [*trained, len(digits.val)]
    monkeypatch.setattr(fused_batches, "_SHARED_BYTES", 0)
    made = pack_of(configs, digits)
    for epoch, record in enumerate(records, start=1):
        for one, other in zip(record, train(made, [epoch] * 3), strict=True):
            assert one.batch_losses == pytest.approx(other.batch_losses, rel=1e-3)
    for one, other in zip(scores, score(made), strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
    assert len(seen) == len(trained) + 1


def test_sums_over_a_split_do_not_depend_on_how_many_members_there_are(
    stage_set: Stage, make_task_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.fusion.fused_batches._BLOCK_BYTES", 2**14)  # 64 images
    data_config, data = stage_set("digits", limit=210)
    configs = [
        make_task_config(
            "reconstruction",
            data_config,
            data.input_shape,
            layers=[{"conv2d": CONVOLUTION}],
            seed=i,
        )
        for i in range(5)
    ]
    whole = pack_of(configs, data)
    records, scores = train(whole, [1] * 5), score(whole)
    part = pack_of(configs[1:3], data)
    assert [bits(found) for found in train(part, [1] * 2)] == [bits(r) for r in records[1:3]]
    assert [bits(found) for found in score(part)] == [bits(found) for found in scores[1:3]]


def test_a_member_that_is_not_a_number_leaves_the_others_bits_untouched(
    make_config: MakeConfig, digits: StagedData
) -> None:
    configs = mixed_trials(make_config, optimizer="sgd", epochs=3)[:3]
    healthy, sick = (pack_of(configs, digits) for _ in range(2))
    broken = {
        name: torch.full_like(weight, torch.nan) if weight.is_floating_point() else weight
        for name, weight in sick.weights_of(1).items()
    }
    sick.restore_member(1, broken, None)
    for epoch in (1, 2):
        expected, found = (train(pack, [epoch] * 3) for pack in (healthy, sick))
        assert [bits(expected[at]) == bits(found[at]) for at in range(3)] == [True, False, True]
    expected, found = (score(pack) for pack in (healthy, sick))
    assert [bits(expected[at]) == bits(found[at]) for at in range(3)] == [True, False, True]
    for at in (0, 2):
        assert_same_states(healthy, at, sick, at)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_those_who_stay_go_on_with_the_same_bits(
    make_config: MakeConfig, digits: StagedData, optimizer: str
) -> None:
    configs = mixed_trials(make_config, optimizer=optimizer, epochs=4)[:4]
    whole = pack_of(configs, digits)
    train(whole, [1] * 4)
    rest = whole.keep([3, 1])
    assert [member.config for member in rest.members] == [configs[1], configs[3]]
    expected, found = train(whole, [2] * 4), train(rest, [2] * 2)
    assert [bits(record) for record in found] == [bits(expected[1]), bits(expected[3])]
    for at, place in enumerate((1, 3)):
        assert_same_states(rest, at, whole, place)


def test_members_may_be_at_epochs_of_their_own(make_config: MakeConfig, digits: StagedData) -> None:
    configs = [make_config(seed=seed, epochs=4, schedule=SCHEDULES[1]) for seed in (0, 1)]
    first, second = (pack_of([config], digits) for config in configs)
    train(first, [1])
    train(first, [2])
    both = pack_of(configs, digits)
    both.restore_member(0, first.weights_of(0), first.optimizer_state_of(0))
    found = train(both, [3, 1])
    assert [bits(record) for record in found] == [
        bits(train(first, [3])[0]),
        bits(train(second, [1])[0]),
    ]


def test_the_plain_loop_goes_on_from_a_member_and_a_member_from_that(
    make_config: MakeConfig, digits: StagedData
) -> None:
    config = make_config(layers=convnet("tanh"), epochs=4)
    pack, alone = pack_of([config, config], digits), Learner(config, digits, device=CPU)
    train(pack, [1, 1])
    member = pack.members[1]
    alone.restore(member.weights(), member.optimizer_state())
    member.restore(alone.weights(), alone.optimizer_state())
    assert score(alone).loss == pytest.approx(score(pack)[1].loss, rel=1e-6)
    expected, found = train(alone, 2), train(pack, [2, 2])[1]
    assert found.batch_losses == pytest.approx(expected.batch_losses, rel=1e-5)


def test_the_steps_of_an_epoch_are_counted(make_config: MakeConfig, digits: StagedData) -> None:
    steps = list[int]()
    pack = pack_of([make_config(), make_config(seed=1)], digits)
    for epoch in (1, 2):
        pack.train_epoch([epoch] * 2, before_step=steps.append)
    assert steps == [*range(1, 7), *range(1, 7)]


def test_a_batch_may_be_larger_than_the_training_split(
    make_config: MakeConfig, digits: StagedData
) -> None:
    config = make_config(batch_size=256)
    (found,) = train(pack_of([config], digits), [1])
    expected = train(Learner(config, digits, device=CPU), 1)
    assert found.batch_losses == pytest.approx(expected.batch_losses, rel=1e-6)
    assert len(found.batch_losses) == 1


def test_a_record_says_how_many_ran_together(make_config: MakeConfig, digits: StagedData) -> None:
    pack = pack_of([make_config(), make_config(seed=1)], digits)
    assert pack.strategy == "fused, 2 members"
    assert pack.keep([0]).strategy == "fused, 1 member"


def test_torchs_global_generator_is_neither_used_nor_moved(
    make_config: MakeConfig, digits: StagedData
) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(pack_of([make_config(optimizer=OptimizerConfig("adam", 0.01))], digits), [1])
    assert torch.equal(torch.get_rng_state(), before)
