"""What a trained network does on the test split: its failures, filters and feature maps.

    portrait = portray(load_predictor(path, sha256=sha256), config, data)

The pictures' records are in `portrait_records.py`. Everything is computed on the CPU, a batch at
a time; what a network costs bounds how much of the split is looked at (`Limits`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import torch
from torch import nn

from experiments.architectures.architecture import Architecture
from experiments.records import TrialConfig
from workers.criterion import Criterion
from workers.datasets.staged import StagedData
from workers.network_pictures import first_filters, layer_maps, layers_to_show
from workers.portrait_examples import (
    Subject,
    show_images,
    show_segmentations,
    show_values,
    show_wrong_answers,
)
from workers.portrait_records import FeatureMaps, Limits, Portrait

_LEAST_SHOWN: Final = 16

_EXAMPLES: Final[dict[str, Callable[[Portrait, Subject, Limits], Portrait]]] = {
    "classification": show_wrong_answers,
    "binary": show_wrong_answers,
    "regression": show_values,
    "segmentation": show_segmentations,
    "reconstruction": show_images,
}


def portray(
    predictor: nn.Module, config: TrialConfig, data: StagedData, *, limits: Limits | None = None
) -> Portrait:
    """Show what a network does on the test split of its data.

    Args:
        predictor: As `load_predictor` gives it: raw inputs in, raw outputs out.
        config: Of the trial that it comes from.
        data: The trial's data, on the CPU.
        limits: How much is shown, and may be spent on it.
    """
    limits = limits or Limits()
    architecture = config.architecture
    portrait = Portrait(
        task=config.task,
        data=data.name,
        model=architecture.name,
        class_names=data.class_names,
        target_names=data.target_names,
        num_examples=len(data.test),
        num_shown=0,
    )
    if architecture.parameters > limits.parameters:
        reason = (
            f"The network has {architecture.parameters:,} parameters: pictures are made of "
            f"networks with at most {limits.parameters:,}."
        )
        return replace(portrait, notes=(reason,))
    num_shown = _affordable(architecture, len(data.test), limits)
    subject = Subject(predictor, config, data, Criterion(config, data), num_shown)
    portrait = _EXAMPLES[config.task](replace(portrait, num_shown=num_shown), subject, limits)
    if num_shown < len(data.test):
        note = (
            f"Only the first {num_shown:,} of {len(data.test):,} test examples were looked at: "
            f"each takes the network {architecture.multiply_adds:,} multiply-adds."
        )
        portrait = replace(portrait, notes=(*portrait.notes, note))
    return _with_insides(portrait, subject, limits) if data.test.inputs.ndim == 4 else portrait


def _with_insides(portrait: Portrait, subject: Subject, limits: Limits) -> Portrait:
    """Add the filters, and the maps of the test split's first image."""
    standardise, network = subject.predictor.children()
    architecture = subject.config.architecture
    notes = list(portrait.notes)
    filters = first_filters(network, architecture, most=limits.filters)
    if filters is None:
        notes.append("The first layer's weights do not lie on the image, so no filters are shown.")
    inputs, _ = subject.data.test.gather(torch.tensor([0]))
    paths = layers_to_show(network)
    layers = layer_maps(
        network,
        standardise(inputs),
        architecture,
        paths=paths[: limits.layers],
        most_channels=limits.channels,
        most_units=limits.units,
    )
    if len(paths) > limits.layers:
        notes.append(f"Feature maps are of the first {limits.layers} of {len(paths)} layers.")
    (image,) = subject.pictures([0])
    return replace(
        portrait,
        filters=filters,
        feature_maps=FeatureMaps(0, image, layers),
        notes=tuple(notes),
    )


def _affordable(architecture: Architecture, num: int, limits: Limits) -> int:
    fitting = limits.multiply_adds // max(1, architecture.multiply_adds)
    return min(num, max(_LEAST_SHOWN, fitting))
