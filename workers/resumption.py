"""Where an interrupted trial goes on: its newest whole "last" checkpoint, and what that holds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.errors import CheckpointError
from experiments.records import ResumePoint, TrialConfig
from workers.checkpoints import FORMAT, load, seconds_of


@dataclass(frozen=True, slots=True)
class Selected:
    """The epoch that counts so far; `weights` is None while they are the network's own."""

    epoch: int
    metrics: Mapping[str, float]
    weights: Mapping[str, Tensor] | None


@dataclass(frozen=True, slots=True)
class State:
    """A trial after an epoch; `seconds` is how long it trained until then.

    `optimizer` is None after the last epoch: nothing is left to train.
    """

    epoch: int
    seconds: float
    weights: Mapping[str, Tensor]
    selected: Selected
    optimizer: Mapping[str, Any] | None


def contents_of(selected: Selected, optimizer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Give what a "last" checkpoint holds beyond what every checkpoint does.

    `selected.weights` are left out where they are the network's own.
    """
    chosen = {
        "epoch": selected.epoch,
        "metrics": dict(selected.metrics),
        "weights": None if selected.weights is None else dict(selected.weights),
    }
    return {"selected": chosen} | ({} if optimizer is None else {"optimizer": dict(optimizer)})


def newest_state(
    points: Sequence[ResumePoint], config: TrialConfig, *, device: torch.device
) -> tuple[State | None, tuple[str, ...]]:
    """Read the first checkpoint that is whole and of this trial's configuration.

    Args:
        points: Where checkpoints should lie, the newest first.
        config: The configuration of the trial that goes on.
        device: Where its tensors go.

    Returns:
        The state, None where no checkpoint will do; and for each that was passed over what
        is wrong with it, and what is done instead.
    """
    faults = list[str]()
    state, instead = None, "the trial starts anew"
    for point in points:
        try:
            state = _read(point, config, device)
        except CheckpointError as error:
            faults.append(str(error))
        else:
            instead = f"the trial goes on after epoch {state.epoch}, from {point.path}"
            break
    return state, tuple(f"{fault}; {instead}" for fault in faults)


def _read(point: ResumePoint, config: TrialConfig, device: torch.device) -> State:
    path = Path(point.path)
    contents = load(path, sha256=point.sha256, device=device)
    if contents["format"] != FORMAT:
        raise CheckpointError(
            f"{path}: the checkpoint is of format {contents['format']}, from an earlier version, "
            f"and only one of format {FORMAT} can be gone on from"
        )
    # As JSON has it: no difference between lists and tuples, nor in the order of keys.
    planned = json.loads(json.dumps(config.to_data()))
    if json.loads(contents.get("config", "null")) != planned:
        raise CheckpointError(f"{path}: the checkpoint is of a trial with another configuration")
    selected, optimizer = contents.get("selected"), contents.get("optimizer")
    if selected is None or (optimizer is None and contents["epoch"] < config.epochs):
        raise CheckpointError(f'{path}: the checkpoint is no "last" one: it lacks the state')
    return State(
        epoch=contents["epoch"],
        seconds=seconds_of(path),
        weights=contents["model"],
        selected=Selected(selected["epoch"], selected["metrics"], selected["weights"]),
        optimizer=optimizer,
    )
