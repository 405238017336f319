"""Named architectures of installed packages, found by their entry points.

A package offers one in its `pyproject.toml`:

    [project.entry-points."trainyard.architectures"]
    mynet = "mypackage.networks:MYNET"

where `MYNET` is a `NamedArchitecture` of that name. Nothing is imported before somebody
asks for it; a package that is broken is told of by name, and disturbs no other.
"""

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from experiments.architectures.geometry import Shape, ShapeError
from experiments.architectures.networks import BUILT_IN
from experiments.architectures.networks.named import NamedArchitecture
from experiments.architectures.templates import Template
from experiments.language.fields import fields_of
from experiments.tasks import TASKS

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "trainyard.architectures"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


@functools.cache
def entry_points() -> Mapping[str, tuple["EntryPoint", ...]]:
    """Find the group's entry points by name, without importing a package."""
    from importlib import metadata  # 30 ms that specs of built-in networks need not pay

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in metadata.entry_points(group=GROUP):
        found[point.name] = (*found.get(point.name, ()), point)
    return dict(sorted(found.items()))


@functools.cache
def load(name: str) -> NamedArchitecture | str:
    """Import the architecture of that name, or say why it cannot be used.

    Raises:
        KeyError: No installed package offers that name.
    """
    points = entry_points()[name]
    packages = " and ".join(sorted(map(_package, points)))
    place = f"the architecture {name!r} of {packages} cannot be used: "
    if len(points) > 1:
        return place + "both packages offer that name; uninstall one"
    try:
        found = points[0].load()
    except Exception as error:  # whatever a stranger's module may raise
        return f"{place}{points[0].value}: {type(error).__name__}: {error}"
    fault = _fault(name, found)
    return found if fault is None else place + fault


def layers_of(named: NamedArchitecture, options: Any, input_shape: Shape) -> tuple[Template, ...]:
    """Ask a package's architecture for its layers.

    Raises:
        ShapeError: The input does not fit, or whatever else goes wrong in the package.
    """
    assert named.network is not None, named
    try:
        return tuple(named.network(options, input_shape))
    except ShapeError:
        raise
    except Exception as error:  # whatever a stranger's function may raise
        packages = " and ".join(sorted(map(_package, entry_points()[named.name])))
        raise ShapeError(f"{named.name} of {packages} cannot be built: {error!r}") from error


def _fault(name: str, found: Any) -> str | None:
    """Say what is wrong with the object that an entry point leads to."""
    if not isinstance(found, NamedArchitecture):
        return f"must be a NamedArchitecture, got {type(found).__name__}"
    if found.name != name:
        return f"its name is {found.name!r}; the entry point must say the same"
    if not _NAME.fullmatch(name):
        return "a name is made of small letters, digits and _, a letter first"
    if name in BUILT_IN:
        return "trainyard has a network of that name; take another"
    unknown = [task for task in found.tasks if task not in TASKS]
    if unknown or not found.tasks:
        return f"tasks must be some of {', '.join(TASKS)}, got {found.tasks!r}"
    try:
        fields_of(found.options)
    except Exception as error:  # whatever a stranger's annotations may raise
        return f"options must be a dataclass of annotated fields, got {found.options!r}: {error!r}"
    return None


def _package(point: "EntryPoint") -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"
