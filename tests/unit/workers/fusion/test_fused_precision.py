"""Members in bfloat16 against their plain modules in bfloat16, and against other packs."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from experiments.planning.pack_shapes import pack_order
from experiments.records import TrialConfig
from tests.unit.workers.fusion.pack_runs import MakeConfig, mixed_trials
from tests.unit.workers.fusion.test_fused_layers import (
    CPU,
    STACKS,
    drawn,
    fused_from,
    outcome,
    plain_members,
    stack,
)
from tests.unit.workers.test_precision import BENT, HALF_A_PLACE, SMOOTH, InPrecision, distance
from workers.datasets.staged import StagedData
from workers.fusion import fused_layers
from workers.fusion.fused_learner import FusedLearner
from workers.learner import EpochRecord, Learner


@pytest.mark.parametrize("by_columns", [True, False], ids=["columns", "one-by-one"])
@pytest.mark.parametrize("name", SMOOTH)
def test_member_gets_what_its_plain_network_gives_but_for_rounding(
    name: str, by_columns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_columns:
        monkeypatch.setattr(fused_layers, "_MOST_COLUMN_NUMBERS", 0)
    architectures, size = stack(name, 3), 4
    plain = plain_members(architectures, torch.float32)
    fused = fused_from(architectures, plain, torch.float32)
    inputs = drawn(3 * size, *STACKS[name][0], dtype=torch.float32, layout=plain[0])
    outputs, of_inputs, gradients = outcome(InPrecision(fused, "bfloat16").train(), inputs)
    bound = BENT.get(name, 8) * HALF_A_PLACE
    for index, module in enumerate(plain):
        own = slice(index * size, (index + 1) * size)
        wanted, wanted_inputs, wanted_gradients = outcome(
            InPrecision(module, "bfloat16").train(), inputs[own]
        )
        assert distance(outputs[own], wanted) < bound
        assert distance(of_inputs[own], wanted_inputs) < bound
        assert gradients.keys() == wanted_gradients.keys()
        whole = torch.cat([each.flatten() for each in wanted_gradients.values()]).norm()
        for key, gradient in wanted_gradients.items():
            assert gradients[key].dtype == torch.float32
            assert (gradients[key][index] - gradient).norm() < bound * whole, key


@pytest.mark.parametrize("name", ["conv", "linear", "local", "transposed"])
def test_members_products_are_rounded(name: str) -> None:
    architectures = stack(name, 2)
    fused = fused_from(architectures, plain_members(architectures, torch.float32), torch.float32)
    inputs = drawn(8, *STACKS[name][0], dtype=torch.float32)
    with torch.no_grad():
        assert distance(InPrecision(fused, "bfloat16")(inputs), fused(inputs)) > 1e-4


def trials(make_config: MakeConfig) -> list[TrialConfig]:
    """Make trials of one shape that differ in all that they may."""
    found = mixed_trials(make_config, optimizer="adam", epochs=3)
    return sorted(
        (TrialConfig.from_data({**each.to_data(), "precision": "bfloat16"}) for each in found),
        key=pack_order,
    )


def epochs(learner: FusedLearner, count: int) -> list[list[EpochRecord]]:
    members = len(learner.members)
    return [
        learner.train_epoch([epoch] * members, before_step=lambda _: None)
        for epoch in range(1, count + 1)
    ]


def test_members_learn_as_they_would_alone(make_config: MakeConfig, digits: StagedData) -> None:
    configs = trials(make_config)
    records = epochs(FusedLearner.start(configs, digits, device=CPU), 2)
    for index, config in enumerate(configs):
        alone = Learner(config, digits, device=CPU)
        for epoch in (1, 2):
            expected = alone.train_epoch(epoch, before_step=lambda _: None)
            found = records[epoch - 1][index]
            pairs = zip(found.batch_losses, expected.batch_losses, strict=True)
            for one, other in pairs:
                assert one == pytest.approx(other, rel=0.05, abs=0.01), config.loss


def test_a_members_bits_do_not_depend_on_the_others(
    make_config: MakeConfig, digits: StagedData
) -> None:
    configs = trials(make_config)
    whole = FusedLearner.start(configs, digits, device=CPU)
    records = epochs(whole, 1)[0]
    for places in ([0], [6, 2, 5]):
        part = FusedLearner.start([configs[place] for place in places], digits, device=CPU)
        for place, found in zip(places, epochs(part, 1)[0], strict=True):
            assert found == records[place]
        assert_same_weights(part, places, whole)


def assert_same_weights(part: FusedLearner, places: Sequence[int], whole: FusedLearner) -> None:
    for at, place in enumerate(places):
        for name, value in part.weights_of(at).items():
            other: Tensor = whole.weights_of(place)[name]
            assert torch.equal(value, other), name
