"""What a plan warns of in settings: how networks are trained, and how variants are compared."""

from collections.abc import Iterator, Sequence
from typing import Final

from experiments.compatibility import LOSSES, SIGNED_OUTPUTS
from experiments.language.printable import number_text
from experiments.planning.network_end import last_function
from experiments.planning.remarks import also, place
from experiments.planning.workload import Network
from experiments.search_space import Variant
from experiments.spec import Spec
from experiments.tasks import TASKS

_FEW_EXAMPLES: Final = 10
_JUDGED_BY_THE_LOSS: Final = ("sigmoid", "softmax")
"""Functions at a network's end that go with some losses, and are refused with others."""


def training_remarks(variant: Variant, network: Network, *, task: str) -> Iterator[str]:
    """Remark on how a network goes with the batch size and the loss of a variant."""
    name = network.architecture.name
    norms = [row for row in network.trained_rows if row.kind == "batch_norm"]
    if variant.value("batch_size") == 1 and norms:
        yield (
            f"{name}, {place(norms[0])}: with batch_size 1 it takes mean and variance of a single "
            f"example, which says little of the data{also(norms)}; use a larger batch"
        )
    end, loss = last_function(network), variant.value("loss")
    if end is not None and _bends(end[0].name, loss=loss, task=task):
        yield (
            f"{name}, {place(end[1])}: as the last layer it bends the outputs that {loss} expects "
            "as they are, so some answers are out of reach; leave it out"
        )


def _bends(function: str, *, loss: str, task: str) -> bool:
    """Say whether a function at the end keeps outputs from where a loss wants them."""
    if function in _JUDGED_BY_THE_LOSS:
        return task == "regression" or LOSSES[loss].needs == SIGNED_OUTPUTS
    # An error of logarithms wants outputs of 0 or more, and a relu sees to it.
    return loss != "mean_squared_logarithmic_error"


def experiment_remarks(spec: Spec, variants: Sequence[Variant], *, num_val: int) -> Iterator[str]:
    """Remark on what variants are judged by, on schedules, and on settings without effect."""
    if num_val < _FEW_EXAMPLES:
        yield (
            f"the validation split has {num_val} examples, so what variants are judged by is "
            "mostly chance; raise data.val_fraction, or use more data"
        )
    yield from _different_losses(spec, variants)
    yield from _unused_normalise(spec, variants)
    yield from dict.fromkeys(remark for variant in variants for remark in _schedule(variant))


def _different_losses(spec: Spec, variants: Sequence[Variant]) -> Iterator[str]:
    """Find that variants are judged by numbers on different scales."""
    if spec.objective.metric != "val/loss":
        return
    for key in ("loss", "output_activation"):
        values = list(dict.fromkeys(variant.value(key) for variant in variants))
        if len(values) > 1:
            yield (
                f"objective: val/loss means another thing for each {key} ({', '.join(values)}), so "
                f"it does not compare them; judge by val/{TASKS[spec.task].headline}"
            )
            return


def _unused_normalise(spec: Spec, variants: Sequence[Variant]) -> Iterator[str]:
    """Find that inputs are brought to a scale other than the one that was asked for."""
    node = spec.data.node
    given = node is not None and node.kind == "mapping" and "normalise" in node.entries()
    if given and any(variant.value("init") is not None for variant in variants):
        yield (
            "data.normalise is not used with init: inputs are brought to the scale on which the "
            "trained network has learned; leave it out"
        )


def _schedule(variant: Variant) -> Iterator[str]:
    """Find a schedule that never acts within the epochs of a variant."""
    epochs, every = variant.value("epochs"), variant.value("step_epochs")
    warmup = variant.value("warmup_epochs", 0.0)
    if every is not None and every >= epochs:
        yield (
            f"schedule step never drops the rate: step_epochs {every} of {epochs} epochs; drop "
            "sooner, or train longer"
        )
    elif variant.value("step_factor") == 1:
        yield "schedule step never drops the rate: step_factor 1 keeps it; use less than 1"
    if warmup >= epochs:
        yield (
            f"warmup_epochs {number_text(warmup)} of {epochs} epochs: the rate still rises when "
            "the training ends; warm up for less, or train longer"
        )
