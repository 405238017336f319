"""Names that follow from content: of trials that train to the same numbers, and of experiments."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from experiments.architectures.architecture import Architecture
from experiments.architectures.layers import Layer
from experiments.architectures.torchvision_networks import TorchvisionNetwork
from experiments.architectures.transfer import SourceNetwork
from experiments.data.data_changes import opened_changes
from experiments.data.dataset_facts import DatasetFacts
from experiments.planning.digest import digest
from experiments.records import SEMANTICS_VERSION, TrialConfig
from experiments.spec import Spec

_NO_LAYERS: Final = Architecture("", (), ())
"""Stands in for a network where its digest is known: writing it out takes long."""


def experiment_id(spec: Spec, data: DatasetFacts, sources: Mapping[str, SourceNetwork]) -> str:
    """Hash the spec (the order of its parameters counts, comments do not) and what it reads.

    An upgrade that trains to other numbers makes another experiment of the same spec; so do
    other images in a folder, or other weights under the name that `init` asks for.
    """
    plain = {key: value for key, value in spec.plain.items() if key != "description"}
    identity: dict[str, Any] = {
        "semantics": SEMANTICS_VERSION,
        "data": data.digest,
        "spec": dict(sorted(plain.items())),
    }
    if sources:
        identity["sources"] = {name: source.sha256 for name, source in sorted(sources.items())}
    text = json.dumps(identity, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def network_digest(layers: Sequence[Layer]) -> str:
    """Hash a network's layers; what was only measured of torchvision's decides nothing."""
    return digest([_identity(layer) for layer in layers])


def _identity(layer: Layer) -> Any:
    if not isinstance(layer, TorchvisionNetwork):
        return layer.to_data()
    return {layer.kind: [layer.name, layer.num_outputs, layer.weights]}


def content(config: TrialConfig, network_digest: str) -> dict[str, Any]:
    """Give what a content key hashes: everything that decides the numbers.

    A data set counts by its digest (and by what is changed only when it is opened, which
    that does not cover), a network by that of its layers, and weights from
    elsewhere by theirs: what they are called and where they lie decides nothing.
    """
    data = replace(config, architecture=_NO_LAYERS).to_data()
    init = data["init"]
    changes = opened_changes(config.data.changes)
    return {
        **data,
        "data": {**data["data"], "name": None, "options": None, "changes": changes},
        "architecture": network_digest,
        "init": init and {**init, "source": None, "path": None},
    }
