"""From variants to trials: builds each distinct network once, and refuses what cannot train."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from experiments.architectures import zoo
from experiments.architectures.architecture import Architecture
from experiments.architectures.geometry import Shape, ShapeError
from experiments.architectures.transfer import InitChoice, SourceNetwork, extend, input_fault
from experiments.compatibility import output_shape
from experiments.data.augmentation import AUGMENTATIONS, default_pixels
from experiments.data.dataset_facts import DatasetFacts
from experiments.data.datasets import split_sizes
from experiments.errors import NotFoundError
from experiments.hyperparameters import scalar
from experiments.language.kinds import Faults
from experiments.planning.content_keys import content
from experiments.planning.digest import digest
from experiments.planning.knowledge import Knowledge
from experiments.planning.layer_places import layer_place
from experiments.planning.remarks import network_remarks
from experiments.planning.setting_remarks import experiment_remarks, training_remarks
from experiments.planning.suitability import misfits
from experiments.planning.workload import Network
from experiments.records import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    ScheduleConfig,
    Trial,
    TrialConfig,
)
from experiments.search_space import Variant
from experiments.spec import Spec

_JUDGED: Final = ("batch_size", "loss", "output_activation", "augmentation", "augmentation_pixels")
"""The hyperparameters that `misfits` and `training_remarks` look at."""


class Planner:
    """Turns variants into trials.

    `sources` are the trained networks that `init` names, by that name. Faults are noted at
    the setting that is to blame; `remarks` collects what is worth a warning.
    """

    def __init__(
        self,
        spec: Spec,
        data: DatasetFacts,
        faults: Faults,
        *,
        experiment_id: str,
        sources: Mapping[str, SourceNetwork],
        knowledge: Knowledge,
    ) -> None:
        self._spec = spec
        self.data = data
        self._faults = faults
        self.experiment_id = experiment_id
        self._sources = sources
        self._knowledge = knowledge
        self._output_shape = output_shape(spec.task, data)
        self.num_train, self.num_val = split_sizes(
            data.num_train, val_fraction=spec.data.val_fraction, limit=spec.data.limit
        )
        self.remarks: dict[str, None] = {}
        self._built: dict[tuple[Any, ...], Network | None] = {}
        self._trainable: dict[tuple[Any, ...], bool] = {}

    def trials(self, variants: tuple[Variant, ...]) -> tuple[Trial, ...]:
        """List all trials, variant by variant, seed by seed."""
        self._check_split()
        for remark in experiment_remarks(self._spec, variants, num_val=self.num_val):
            self.remarks[remark] = None
        trials: list[Trial] = []
        for variant in variants:
            network = self._network(variant)
            if network is not None and self._is_trainable(variant, network):
                trials += self._trials(variant, network, first_number=len(trials) + 1)
        return tuple(trials)

    @property
    def architectures(self) -> dict[str, Architecture]:
        """Give one built network for each model, by its name."""
        found: dict[str, Architecture] = {}
        for network in self._built.values():
            if network is not None:
                found.setdefault(network.architecture.name, network.architecture)
        return found

    def _trials(self, variant: Variant, network: Network, *, first_number: int) -> Iterator[Trial]:
        """List a variant's trials, one for each seed."""
        params = {key: scalar(key, setting.value) for key, setting in variant.settings.items()}
        config = self._config(variant, network)
        keyed = content(config, network.digest)
        work = network.work(
            num_train=self.num_train,
            num_val=self.num_val,
            num_test=self.data.num_test,
            batch_size=config.batch_size,
            epochs=config.epochs,
            optimizer=config.optimizer.name,
            precision=config.precision,
        )
        for number, seed in enumerate(self._spec.seeds, start=first_number):
            yield Trial(
                id=f"{self.experiment_id[:8]}-{number:04d}",
                number=number,
                variant=variant.label,
                seed=seed,
                params=params,
                config=replace(config, seed=seed),
                content_key=digest({**keyed, "seed": seed}),
                work=work,
            )

    def _config(self, variant: Variant, network: Network) -> TrialConfig:
        spec, get = self._spec, variant.value
        return TrialConfig(
            task=spec.task,
            architecture=network.architecture,
            data=self._data_config(),
            loss=get("loss"),
            optimizer=OptimizerConfig(
                get("optimizer"), get("lr"), get("weight_decay"), get("momentum")
            ),
            schedule=ScheduleConfig(
                get("schedule"), get("warmup_epochs", 0.0), get("step_epochs"), get("step_factor")
            ),
            epochs=get("epochs"),
            batch_size=get("batch_size"),
            seed=spec.seeds[0],
            objective=spec.objective,
            precision=spec.execution.precision,
            output_activation=get("output_activation"),
            augmentation=self._augmentation(variant),
            init=network.init,
        )

    def _data_config(self) -> DataConfig:
        data, num_examples = self._spec.data, self.data.num_train
        cuts = data.limit is not None and data.limit < num_examples
        return DataConfig(
            name=data.name,
            digest=self.data.digest,
            options=dict(data.options),
            val_fraction=data.val_fraction,
            split_seed=data.split_seed,
            limit=data.limit if cuts else None,
            changes=dict(data.changes),
        )

    def _augmentation(self, variant: Variant) -> AugmentationConfig:
        name = variant.value("augmentation")
        if not AUGMENTATIONS[name].moves:
            return AugmentationConfig(name)
        pixels = variant.value("augmentation_pixels", default_pixels(self.data.input_shape))
        return AugmentationConfig(name, pixels)

    def _network(self, variant: Variant) -> Network | None:
        """Give the variant's network, built when it is seen for the first time."""
        model, init = variant.settings["model"], variant.value("init")
        key = (
            repr(model.value.to_data()),
            variant.value("activation"),
            variant.value("dropout"),
            init and repr(init.to_data()),
        )
        if key not in self._built:
            self._built[key] = network = self._build(variant)
            for remark in network_remarks(network, task=self._spec.task) if network else ():
                self.remarks[remark] = None
        return self._built[key]

    def _build(self, variant: Variant) -> Network | None:
        model, init = variant.settings["model"], variant.settings["init"]
        fault = zoo.task_fault(model.value, self._spec.task)
        if fault is not None:
            self._faults.add_once(model.node, model.path, fault)
            return None
        choice = init.value
        try:
            if choice is None:
                return Network.of(self._head(variant, self.data.input_shape))
            return self._extended(variant, choice)
        except ShapeError as error:
            node, path = init.node, init.path
            if choice is None:
                node, path = layer_place(model, error.path)
            self._faults.add_once(node, path, f"on {self.data.name}: {error}")
        except NotFoundError as error:  # nobody here can measure it
            self._faults.add_once(model.node, model.path, str(error))
        return None

    def _extended(self, variant: Variant, choice: InitChoice) -> Network | None:
        """Build the model on top of the trained network that `init` names."""
        source, init = self._sources[choice.source], variant.settings["init"]
        fault = input_fault(source, self.data.input_shape)
        if fault is not None:
            self._faults.add_once(init.node, init.path, fault)
            return None
        whole, config = extend(
            choice,
            source,
            build_head=lambda shape: self._head(variant, shape),
            name=f"{variant.value('model').label} on {choice.label}",
        )
        return Network.of(whole, config)

    def _head(self, variant: Variant, input_shape: Shape) -> Architecture:
        return zoo.build(
            variant.value("model"),
            input_shape=input_shape,
            output_shape=self._output_shape,
            activation=variant.value("activation", "relu"),
            dropout=variant.value("dropout", 0.0),
            measure_torchvision=self._knowledge.measure_torchvision,
        )

    def _check_split(self) -> None:
        if min(self.num_train, self.num_val) < 1:
            fraction = self._spec.data.val_fraction
            message = (
                f"val_fraction {fraction:g} of {self.num_train + self.num_val} examples leaves "
                f"{self.num_train} to train and {self.num_val} to validate; both need one"
            )
            self._faults.add_once(self._spec.data.node, "data", message)

    def _is_trainable(self, variant: Variant, network: Network) -> bool:
        """Check what goes with what, once for each combination; remark on what is odd."""
        get = variant.value
        key = (id(network), *(get(name) for name in _JUDGED))
        if key not in self._trainable:
            found = tuple(
                misfits(
                    variant,
                    network,
                    task=self._spec.task,
                    data=self.data,
                    num_train=self.num_train,
                )
            )
            for misfit in found:
                self._faults.add_once(misfit.setting.node, misfit.path, misfit.message)
            for remark in training_remarks(variant, network, task=self._spec.task):
                self.remarks[remark] = None
            self._trainable[key] = not found
        return self._trainable[key]
