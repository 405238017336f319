"""Whether a variant's settings go with its data and its network: batch, loss, augmentation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from experiments.architectures.geometry import shape_text
from experiments.compatibility import SOFTMAX, loss_fault
from experiments.data.augmentation import AUGMENTATIONS
from experiments.data.dataset_facts import DatasetFacts
from experiments.hyperparameters import HYPERPARAMETERS
from experiments.planning.network_end import last_function
from experiments.planning.workload import Network
from experiments.search_space import Setting, Variant

_ALWAYS_1: Final = (
    "the network ends in softmax of a single output, which is 1 whatever the input; leave the "
    "layer out"
)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A setting that cannot be: which hyperparameter's, as it was given, and why."""

    key: str
    setting: Setting
    message: str

    @property
    def path(self) -> str:
        """Give the place in the spec; the hyperparameter's name where it is a default."""
        return self.setting.path or self.key


def misfits(
    variant: Variant, network: Network, *, task: str, data: DatasetFacts, num_train: int
) -> Iterator[Misfit]:
    """Find the settings of a variant with which its network cannot be trained on the data."""
    yield from _nothing_to_learn(variant, network)
    yield from _batch(variant, network, num_train)
    yield from _loss(variant, network, task, data)
    yield from _augmentation(variant, data)


def _nothing_to_learn(variant: Variant, network: Network) -> Iterator[Misfit]:
    if network.trained_parameters:
        return
    message = f"{network.architecture.name} has nothing to learn: "
    if network.parameters:
        message += "all its weights are frozen; freeze fewer layers, or put weights on top"
        yield Misfit("init", variant.settings["init"], message)
    else:
        message += "no layer of it has weights that are trained; add one, such as linear"
        yield Misfit("model", variant.settings["model"], message)


def _batch(variant: Variant, network: Network, num_train: int) -> Iterator[Misfit]:
    setting = variant.settings["batch_size"]
    size = setting.value
    default = HYPERPARAMETERS["batch_size"].default
    aside = f" (the default is {default})" if setting.node is None else ""
    if size > num_train:
        message = f"the batch is larger than the data: {size} > {num_train} examples"
        yield Misfit("batch_size", setting, message + aside)
    elif network.needs_two is not None and (size == 1 or num_train % size == 1):
        message = (
            f"{num_train} examples in batches of {size} leave a batch of one, of which "
            f"batch_norm ({network.architecture.name}, layer {network.needs_two}) cannot take a "
            "variance"
        )
        yield Misfit("batch_size", setting, message + aside)


def _loss(variant: Variant, network: Network, task: str, data: DatasetFacts) -> Iterator[Misfit]:
    """Hold the table of losses; what was given is to blame, rather than a default."""
    loss, output = variant.settings["loss"], variant.settings["output_activation"]
    end = last_function(network)
    if end is not None and end[0].name == SOFTMAX and end[1].output_shape[0] == 1:
        yield Misfit("model", variant.settings["model"], _ALWAYS_1)
        return
    message = loss_fault(
        loss.value,
        task=task,
        output_activation=output.value,
        data=data,
        last=end and end[0],
    )
    if message is None:
        return
    if loss.node is None and output.node is not None:
        yield Misfit("output_activation", output, message)
    elif loss.node is None:
        yield Misfit("model", variant.settings["model"], message)
    else:
        yield Misfit("loss", loss, message)


def _augmentation(variant: Variant, data: DatasetFacts) -> Iterator[Misfit]:
    name, pixels = variant.settings["augmentation"], variant.settings.get("augmentation_pixels")
    if name.value == "none":
        return
    if not data.is_images:
        message = f"{name.value} changes images, and {data.name} has plain numbers"
        yield Misfit("augmentation", name, message)
    elif AUGMENTATIONS[name.value].moves and pixels is not None:
        sides = data.input_shape[1:]
        if pixels.value >= min(sides):
            message = (
                f"an image of {shape_text(sides)} cannot move by {pixels.value} pixels: nothing "
                "of it would be left"
            )
            yield Misfit("augmentation_pixels", pixels, message)
