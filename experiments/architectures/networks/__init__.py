"""The networks behind the named architectures, as functions that return layer templates.

Each takes its options and the input's shape, and ends in a head sized by the task. A
module holds networks of one family, and their entries in the catalogue.
"""

from collections.abc import Mapping
from typing import Final

from experiments.architectures.networks import (
    autoencoder,
    convolutional,
    dense,
    fully_convolutional,
    locally_connected,
    patch_by_patch,
    residual,
)
from experiments.architectures.networks.named import NamedArchitecture

_FAMILIES: Final = (
    dense,
    convolutional,
    residual,
    locally_connected,
    autoencoder,
    fully_convolutional,
    patch_by_patch,
)

BUILT_IN: Final[Mapping[str, NamedArchitecture]] = {
    named.name: named for family in _FAMILIES for named in family.ARCHITECTURES
}
"""The named architectures that come with trainyard, by name."""
