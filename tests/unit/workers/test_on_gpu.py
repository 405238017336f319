"""What only a GPU can show: no step waits for it, and graphs are the steps that they record."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.planning.strategies import Strategy
from experiments.records import AugmentationConfig, TrialConfig
from tests.unit.workers.fusion.pack_runs import OPTIMIZERS, convnet
from workers.datasets.staged import StagedData
from workers.devices import prepare_device
from workers.groups import Group, build_group

MakeConfig = Callable[..., TrialConfig]

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")

MEMBERS = [1, 3]


@pytest.fixture
def device() -> torch.device:
    return prepare_device(num_cpus=1, num_gpus=1)


def group_of(
    make_config: MakeConfig,
    data: StagedData,
    device: torch.device,
    strategy: Strategy,
    **options: Any,
) -> Group:
    configs = [
        make_config(
            layers=options.get("layers", convnet(dropout=0.2)),
            optimizer=OPTIMIZERS[options.get("optimizer", "sgd")](i),
            augmentation=AugmentationConfig("shift", 1),
            precision=options.get("precision", "float32"),
            epochs=4,
            batch_size=16,
            seed=i,
        )
        for i in range(strategy.members)
    ]
    return build_group(configs, data, device=device, strategy=strategy)


def losses(group: Group, epochs: int) -> torch.Tensor:
    """Give the losses of the steps of some epochs, of all members."""
    each = [
        [
            record.batch_losses
            for record in group.train_epoch(
                [epoch] * len(group.members), before_step=lambda _: None
            )
        ]
        for epoch in range(1, epochs + 1)
    ]
    return torch.tensor(each)


@pytest.mark.parametrize("graph", [False, True], ids=["run", "graph"])
@pytest.mark.parametrize("members", MEMBERS)
def test_no_step_waits_for_the_device(
    make_config: MakeConfig, digits: StagedData, device: torch.device, members: int, graph: bool
) -> None:
    group = group_of(make_config, digits, device, Strategy(members, graph=graph))
    losses(group, 1)
    last = group.members[0].steps_per_epoch

    def watch(step: int) -> None:
        torch.cuda.set_sync_debug_mode("error" if step < last else "default")

    try:
        group.train_epoch([2] * members, before_step=watch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert ("CUDA graph" in group.strategy) is graph


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("members", MEMBERS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_graph_gives_the_losses_of_the_steps_that_it_records(
    make_config: MakeConfig,
    digits: StagedData,
    device: torch.device,
    optimizer: str,
    members: int,
    precision: str,
) -> None:
    run, replayed = (
        group_of(
            make_config,
            digits,
            device,
            Strategy(members, graph=graph),
            optimizer=optimizer,
            precision=precision,
        )
        for graph in (False, True)
    )
    torch.testing.assert_close(losses(replayed, 3), losses(run, 3), rtol=1e-2, atol=1e-3)
    assert replayed.strategy == f"{run.strategy}, CUDA graph"


def test_replays_draw_dropout_anew(
    make_config: MakeConfig, digits: StagedData, device: torch.device
) -> None:
    layers = ["flatten", {"dropout": 0.5}, {"linear": 10}]
    strategy = Strategy(2, graph=True)
    group = group_of(make_config, digits, device, strategy, layers=layers)
    same = group_of(make_config, digits, device, strategy, layers=layers)
    first = losses(group, 2)
    torch.testing.assert_close(first, losses(same, 2), rtol=1e-4, atol=1e-5)
    assert len(set(first.flatten().tolist())) > first.numel() // 2


@pytest.mark.parametrize("members", MEMBERS)
def test_a_set_without_room_is_copied_block_by_block(
    make_config: MakeConfig,
    digits: StagedData,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    members: int,
) -> None:
    expected = losses(group_of(make_config, digits, device, Strategy(members)), 2)
    monkeypatch.setattr("workers.datasets.staged.free_bytes", lambda _: 0)
    there = dataclasses.replace(digits, name="on the host")  # another set: nothing is moved yet
    group = group_of(make_config, there, device, Strategy(members))
    assert group.members[0].data.train.inputs.device.type == "cpu"
    torch.testing.assert_close(losses(group, 2), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("members", MEMBERS)
def test_a_gpu_learns_as_the_cpu_does(
    make_config: MakeConfig, digits: StagedData, device: torch.device, members: int
) -> None:
    layers = convnet(dropout=0.0)
    here, there = (
        group_of(make_config, digits, place, Strategy(members), layers=layers)
        for place in (device, torch.device("cpu"))
    )
    torch.testing.assert_close(losses(here, 2), losses(there, 2), rtol=1e-2, atol=1e-3)
