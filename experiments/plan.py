"""Spec -> ordered trials with stable ids, seeds and content keys: all that is known beforehand.

Needs neither torch nor a store: networks are arithmetic, data sets are facts. Whatever
would make a trial fail for certain is found here, before any compute is spent.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from experiments import zoo
from experiments.architecture import Architecture, LayerSummary
from experiments.compatibility import head_size
from experiments.datasets import DatasetFacts, facts, split_sizes
from experiments.errors import DatasetError
from experiments.geometry import ShapeError
from experiments.hyperparameters import HYPERPARAMETERS, scalar
from experiments.kinds import Faults
from experiments.records import (
    SEMANTICS_VERSION,
    DataConfig,
    Experiment,
    OptimizerConfig,
    Resources,
    ScheduleConfig,
    Trial,
    TrialConfig,
)
from experiments.search_space import Excluded, Expansion, Variant, expand
from experiments.spec import Spec

_FLOAT_BYTES: Final = 4
_OPTIMIZER_STATES: Final = {"sgd": 1, "adam": 2, "adamw": 2}
"""Numbers that an optimizer keeps per weight."""
_NO_LAYERS: Final = Architecture("", (), ())
"""Stands in for a network where its digest is known: writing it out takes long."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan will cost. `seconds` is None while there is nothing to go by.

    `peak_memory_bytes` is the arithmetic of one worker's largest trial: weights, gradients,
    optimizer state, and the activations of one batch with their gradients. The process
    itself (Python, torch) comes on top.
    """

    seconds: float | None
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What would run, in the order in which it would.

    `num_train` and `num_val` count the images of the two splits, after `data.limit`.
    """

    experiment: Experiment
    variants: tuple[Variant, ...]
    trials: tuple[Trial, ...]
    architectures: Mapping[str, Architecture]
    excluded: tuple[Excluded, ...]
    num_merged: int
    warnings: tuple[str, ...]
    data: DatasetFacts
    num_train: int
    num_val: int
    estimate: Estimate


def make_plan(spec: Spec, *, data_root: Path, capacity: Resources | None = None) -> Plan:
    """Check everything that can be checked beforehand, and list the trials.

    `data_root` is where data sets with a path lie; `capacity` is the most that one worker
    could get (None when that is not known here).

    Raises:
        SpecError: The spec cannot be run; the error lists all faults.
    """
    faults = Faults(spec.source)
    _check_capacity(spec, capacity, faults)
    _check_size(spec, faults)
    faults.raise_any()
    expansion = expand(spec.space, faults)
    try:
        data = facts(spec.data.name, spec.data.options, root=data_root)
    except DatasetError as error:
        faults.add(spec.data.node, "data", str(error))
        faults.raise_any()
        raise
    planner = _Planner(spec, data, faults)
    trials = planner.trials(expansion)
    faults.raise_any()
    experiment = Experiment(
        id=_experiment_id(spec, data),
        name=spec.name,
        spec=spec.plain,
        text=spec.text,
        tags=spec.tags,
        objective=spec.objective,
        resources=spec.resources,
        execution=spec.execution,
        checkpoints=spec.checkpoints,
    )
    return Plan(
        experiment=experiment,
        variants=expansion.variants,
        trials=trials,
        architectures=planner.architectures_by_label(expansion.variants),
        excluded=expansion.excluded,
        num_merged=expansion.num_merged,
        warnings=expansion.warnings,
        data=data,
        num_train=planner.num_train,
        num_val=planner.num_val,
        estimate=Estimate(None, planner.peak_memory_bytes),
    )


@dataclass(frozen=True, slots=True)
class _Network:
    """A built network and what the plan needs of its arithmetic, worked out once.

    `digest` is of its layers; `num_activations` counts one example's, in all layers;
    `needs_two` names the first batch norm that cannot take a batch of one.
    """

    architecture: Architecture
    digest: str
    parameters: int
    num_activations: int
    needs_two: str | None

    @classmethod
    def of(cls, architecture: Architecture) -> "_Network":
        """Do the arithmetic."""
        trace = architecture.trace()
        return cls(
            architecture,
            digest=_digest(architecture.to_data()["layers"]),
            parameters=sum(layer.parameters for layer in trace),
            num_activations=sum(math.prod(layer.output_shape) for layer in trace),
            needs_two=_needs_two_values(trace),
        )


class _Planner:
    """Turns variants into trials, building each distinct network once.

    `peak_memory_bytes` is that of the largest trial listed so far.
    """

    def __init__(self, spec: Spec, data: DatasetFacts, faults: Faults) -> None:
        self._spec = spec
        self._facts = data
        self._faults = faults
        self._id = _experiment_id(spec, data)
        self.num_train, self.num_val = split_sizes(
            data.num_train, val_fraction=spec.data.val_fraction, limit=spec.data.limit
        )
        self.peak_memory_bytes = 0
        self._built: dict[tuple[Any, ...], _Network | None] = {}

    def trials(self, expansion: Expansion) -> tuple[Trial, ...]:
        """List all trials, variant by variant, seed by seed."""
        self._check_split()
        trials: list[Trial] = []
        if not expansion.variants and not self._faults:
            self._faults.add_once(None, "parameters", "no variant is left to train")
        for variant in expansion.variants:
            network = self._network(variant)
            if network is None or not self._batch_fits(variant, network):
                continue
            trials += self._trials(variant, network, first_number=len(trials) + 1)
            memory = _memory_bytes(trials[-1].config, network)
            self.peak_memory_bytes = max(self.peak_memory_bytes, memory)
        return tuple(trials)

    def architectures_by_label(self, variants: tuple[Variant, ...]) -> dict[str, Architecture]:
        """Give one built network for each model, by the model's label."""
        found: dict[str, Architecture] = {}
        for variant in variants:
            built = self._network(variant)
            if built is not None:
                found.setdefault(variant.value("model").label, built.architecture)
        return found

    def _trials(self, variant: Variant, network: _Network, *, first_number: int) -> Iterator[Trial]:
        """List a variant's trials, one for each seed."""
        params = {key: scalar(key, setting.value) for key, setting in variant.settings.items()}
        config = self._config(variant, network.architecture, self._spec.seeds[0])
        keyed = _content(config, network)
        for number, seed in enumerate(self._spec.seeds, start=first_number):
            yield Trial(
                id=f"{self._id[:8]}-{number:04d}",
                number=number,
                variant=variant.label,
                seed=seed,
                params=params,
                config=replace(config, seed=seed),
                content_key=_digest({**keyed, "seed": seed}),
            )

    def _config(self, variant: Variant, architecture: Architecture, seed: int) -> TrialConfig:
        spec, get = self._spec, variant.value
        return TrialConfig(
            task=spec.task,
            architecture=architecture,
            data=DataConfig(
                name=spec.data.name,
                digest=self._facts.digest,
                options=dict(spec.data.options),
                val_fraction=spec.data.val_fraction,
                split_seed=spec.data.split_seed,
                limit=spec.data.limit,
            ),
            loss=get("loss"),
            optimizer=OptimizerConfig(
                get("optimizer"), get("lr"), get("weight_decay"), get("momentum")
            ),
            schedule=ScheduleConfig(
                get("schedule"), get("warmup_epochs"), get("step_epochs"), get("step_factor")
            ),
            epochs=get("epochs"),
            batch_size=get("batch_size"),
            seed=seed,
            objective=spec.objective,
            precision=spec.execution.precision,
        )

    def _network(self, variant: Variant) -> _Network | None:
        model = variant.settings["model"]
        activation = variant.value("activation", "relu")
        dropout = variant.value("dropout", 0.0)
        key = (repr(model.value.to_data()), activation, dropout)
        if key not in self._built:
            try:
                architecture = zoo.build(
                    model.value,
                    input_shape=self._facts.input_shape,
                    outputs=head_size(self._spec.task, len(self._facts.class_names)),
                    activation=activation,
                    dropout=dropout,
                )
                self._built[key] = _Network.of(architecture)
            except ShapeError as error:
                where = f"on {self._facts.name}: "
                self._faults.add_once(model.node, model.path, where + str(error))
                self._built[key] = None
        return self._built[key]

    def _check_split(self) -> None:
        if min(self.num_train, self.num_val) < 1:
            fraction = self._spec.data.val_fraction
            message = (
                f"val_fraction {fraction:g} of {self.num_train + self.num_val} images leaves "
                f"{self.num_train} to train and {self.num_val} to validate; both need one"
            )
            self._faults.add_once(self._spec.data.node, "data", message)

    def _batch_fits(self, variant: Variant, network: _Network) -> bool:
        batch = variant.settings["batch_size"]
        message = self._batch_fault(batch.value, network)
        if message is None:
            return True
        if batch.node is None:
            message += f" (the default is {HYPERPARAMETERS['batch_size'].default})"
        self._faults.add_once(batch.node, batch.path or "batch_size", message)
        return False

    def _batch_fault(self, batch_size: int, network: _Network) -> str | None:
        if batch_size > self.num_train:
            return f"the batch is larger than the data: {batch_size} > {self.num_train} images"
        lone = batch_size == 1 or self.num_train % batch_size == 1
        if lone and network.needs_two is not None:
            return (
                f"{self.num_train} images in batches of {batch_size} leave a batch of one, of "
                f"which batch_norm ({network.architecture.name}, layer {network.needs_two}) "
                "cannot take a variance"
            )
        return None


def _check_capacity(spec: Spec, capacity: Resources | None, faults: Faults) -> None:
    if capacity is None:
        return
    for name in ("cpus", "gpus"):
        wanted, there = getattr(spec.resources, name), getattr(capacity, name)
        if wanted > there:
            message = f"a worker cannot have {wanted:g} {name}: this machine has {there:g}"
            faults.add_once(spec.resources_node, f"resources.{name}", message)


def _check_size(spec: Spec, faults: Faults) -> None:
    """Refuse what would expand to too many trials, before expanding it."""
    limit = spec.execution.max_trials
    size = spec.space.size * len(spec.seeds)
    if size > limit:
        message = (
            f"{spec.space.size} points x {len(spec.seeds)} seeds are {size} trials, more than "
            f"{limit}; vary less, or set execution.max_trials"
        )
        faults.add_once(None, "parameters", message)


def _experiment_id(spec: Spec, data: DatasetFacts) -> str:
    """Hash the spec (the order of its parameters counts, comments do not) and its data.

    An upgrade that trains to other numbers makes another experiment of the same spec.
    """
    plain = {key: value for key, value in spec.plain.items() if key != "description"}
    identity = {
        "semantics": SEMANTICS_VERSION,
        "data": data.digest,
        "spec": dict(sorted(plain.items())),
    }
    text = json.dumps(identity, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _content(config: TrialConfig, network: _Network) -> dict[str, Any]:
    """Give what a content key hashes: everything that decides the numbers.

    A data set counts by its digest and a network by that of its layers, not by their names.
    """
    data = replace(config, architecture=_NO_LAYERS).to_data()
    return {
        **data,
        "data": {**data["data"], "name": None, "options": None},
        "architecture": network.digest,
    }


def _digest(value: Any) -> str:
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _needs_two_values(trace: Iterable[LayerSummary]) -> str | None:
    """Name the first batch norm over single values a channel, which one image cannot feed."""
    for layer in trace:
        if layer.kind == "batch_norm" and math.prod(layer.output_shape[1:]) == 1:
            return layer.path
    return None


def _memory_bytes(config: TrialConfig, network: _Network) -> int:
    numbers = network.parameters * (2 + _OPTIMIZER_STATES[config.optimizer.name])
    numbers += 2 * config.batch_size * network.num_activations
    return numbers * _FLOAT_BYTES
