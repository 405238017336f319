import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from experiments.planning.strategies import PLAIN, Strategy
from experiments.records import TrialConfig
from workers.batches import standardise
from workers.datasets.staged import StagedData
from workers.groups import Group, build_group

MakeConfig = Callable[..., TrialConfig]
CPU = torch.device("cpu")


def losses(group: Group, epoch: int) -> list[float]:
    """Give the losses of an epoch's steps, of the first member."""
    epochs = [epoch] * len(group.members)
    return [*group.train_epoch(epochs, before_step=lambda _: None)[0].batch_losses]


@pytest.mark.parametrize("strategy", [PLAIN, Strategy(2)])
def test_a_network_alone_and_a_pack_are_driven_alike(
    make_config: MakeConfig, digits: StagedData, strategy: Strategy
) -> None:
    steps, batches = list[int](), list[None]()
    group = build_group([make_config()], digits, device=CPU, strategy=strategy)
    (record,) = group.train_epoch([1], before_step=steps.append)
    assert steps == [1, 2, 3, 4, 5, 6]
    assert len(record.batch_losses) == 6
    for split in ("val", "test"):
        (score,) = group.evaluate(split, before_batch=lambda: batches.append(None))
        assert score.metrics["accuracy"] > 0.1
    assert len(batches) >= 2
    (member,) = group.members
    assert (member.steps_per_epoch, member.total_steps) == (6, 12)
    assert group.strategy == ("fused, 1 member" if strategy.is_fused else "plain")


@pytest.mark.parametrize("strategy", [PLAIN, Strategy(2)])
def test_who_is_kept_goes_on_where_it_was(
    make_config: MakeConfig, digits: StagedData, strategy: Strategy
) -> None:
    one, other = (
        build_group([make_config()], digits, device=CPU, strategy=strategy) for _ in range(2)
    )
    losses(one, 1)
    losses(other, 1)
    assert losses(one.keep([0]), 2) == losses(other, 2)


def test_a_pack_and_a_network_alone_start_from_the_same_weights(
    make_config: MakeConfig, digits: StagedData
) -> None:
    configs = [make_config(seed=seed) for seed in (0, 1)]
    pack = build_group(configs, digits, device=CPU, strategy=Strategy(2))
    for config, member in zip(configs, pack.members, strict=True):
        (alone,) = build_group([config], digits, device=CPU, strategy=PLAIN).members
        torch.testing.assert_close(dict(member.weights()), dict(alone.weights()), rtol=0, atol=0)


@pytest.mark.parametrize("members", [1, 2])
def test_images_lie_as_the_strategy_says(
    make_config: MakeConfig, digits: StagedData, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[torch.memory_format]()

    def noted(inputs: Tensor, data: StagedData, *, layout: torch.memory_format) -> Tensor:
        seen.append(layout)
        return standardise(inputs, data, layout=layout)

    for module in ("workers.batches", "workers.fusion.fused_batches"):
        monkeypatch.setattr(f"{module}.standardise", noted)
    # Else a pack reads what its first layer sees, which was written down whatever the layout.
    monkeypatch.setattr("workers.fusion.fused_batches._SHARED_BYTES", 0)
    found = []
    for strategy in (Strategy(members), Strategy(members, "contiguous")):
        group = build_group([make_config()], digits, device=CPU, strategy=strategy)
        found.append(losses(group, 1))
        group.evaluate("val", before_batch=lambda: None)
        assert group.strategy == strategy.text_of(1)
    half = len(seen) // 2
    assert {*seen[:half]} == {torch.channels_last}
    assert {*seen[half:]} == {torch.contiguous_format}
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's own
def test_a_compiled_network_learns_as_the_plain_one(
    make_config: MakeConfig, digits: StagedData
) -> None:
    compiled, plain = (
        build_group([make_config()], digits, device=CPU, strategy=Strategy(compiled=compiled))
        for compiled in (True, False)
    )
    assert losses(compiled, 1) == pytest.approx(losses(plain, 1), rel=1e-4)
    found, expected = (
        group.evaluate("val", before_batch=lambda: None)[0] for group in (compiled, plain)
    )
    assert found.loss == pytest.approx(expected.loss, rel=1e-3)
    assert compiled.strategy == "plain, compiled"
    (one,), (other,) = compiled.members, plain.members
    assert list(one.weights()) == list(other.weights())
