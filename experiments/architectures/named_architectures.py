"""Finding a named architecture: built in, torchvision's, or an installed package's.

Packages are asked last, and only for names that are not known otherwise.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final

from experiments.architectures import architecture_plugins
from experiments.architectures.networks import BUILT_IN
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.torchvision_networks import PREFIX, WEIGHTS, TorchvisionOptions

Found = tuple[NamedArchitecture, int | None]
"""An architecture, and the number that a short name tells (the 16 of `vgg16`)."""

_SHORT: Final = re.compile(r"([a-z][a-z0-9_]*?)([0-9]{1,9})([a-z]*)")


def models() -> Mapping[str, NamedArchitecture]:
    """Give all but torchvision's by name: the built-in ones, then those of packages."""
    return {**BUILT_IN, **_usable_plugins()}


def plugin_faults() -> tuple[str, ...]:
    """Say which architectures of installed packages cannot be used, and why."""
    loaded = map(architecture_plugins.load, architecture_plugins.entry_points())
    return tuple(fault for fault in loaded if isinstance(fault, str))


def get(name: str) -> NamedArchitecture:
    """Give the architecture of exactly that name, which `find` has given before."""
    found = find(name)
    assert isinstance(found, tuple), found
    return found[0]


def find(text: str) -> Found | str | None:
    """Find what a name means, alone or with a number: `vgg`, `vgg16`, `fcn8s`.

    Returns:
        What was found; a text that tells why a package's architecture cannot be used; or
        None where the name means nothing.
    """
    return find_built_in(text) or _find_plugin(text)


def find_built_in(text: str) -> Found | None:
    """Find what comes with trainyard or torchvision, without a look at other packages."""
    if text in BUILT_IN:
        return BUILT_IN[text], None
    if text.startswith(PREFIX):
        name = text.removeprefix(PREFIX)
        return (_of_torchvision(name), None) if name in WEIGHTS else None
    return _with_number(text, BUILT_IN)


def known_names() -> tuple[str, ...]:
    """Give every name that means an architecture, short ones and torchvision's included."""
    known = models()
    return (*known, *short_names(known.values()), *(PREFIX + name for name in WEIGHTS))


def short_names(among: Iterable[NamedArchitecture]) -> tuple[str, ...]:
    """Give the short names of some architectures."""
    return tuple(short for named in among for short in named.short_names)


def _find_plugin(text: str) -> Found | str | None:
    points = architecture_plugins.entry_points()
    match = _SHORT.fullmatch(text)
    name = match[1] if match and text not in points else text
    if name not in points:
        return None
    loaded = architecture_plugins.load(name)
    if isinstance(loaded, str):
        return loaded
    return (loaded, None) if name == text else _with_number(text, {name: loaded})


def _with_number(text: str, among: Mapping[str, NamedArchitecture]) -> Found | None:
    """Take a short name apart; its number need not be one that the architecture has."""
    match = _SHORT.fullmatch(text)
    named = among.get(match[1]) if match else None
    if match is None or named is None or not named.depths or match[3] != named.short_suffix:
        return None
    return named, int(match[2])


def _usable_plugins() -> dict[str, NamedArchitecture]:
    loaded = {name: architecture_plugins.load(name) for name in architecture_plugins.entry_points()}
    return {name: found for name, found in loaded.items() if not isinstance(found, str)}


def any_of_torchvision() -> NamedArchitecture:
    """Give one of torchvision's, to stand for all: their options have the same kinds."""
    return _of_torchvision(next(iter(WEIGHTS)))


@functools.cache
def _of_torchvision(name: str) -> NamedArchitecture:
    return NamedArchitecture(
        PREFIX + name,
        f"torchvision's {name}",
        "see torchvision's documentation",
        TorchvisionOptions,
        network=None,
        uses_activation=False,
    )
