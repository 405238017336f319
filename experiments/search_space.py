"""Parameters, when, zip, exclude, include -> variants, in one deterministic order.

The first parameter of the spec varies slowest, the last fastest; zip groups follow the
parameters; included points come last. Nothing here knows data, layers or seeds.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.hyperparameters import HYPERPARAMETERS, LEFT_OPEN, Follows, describe, matches
from experiments.language.fields import REQUIRED
from experiments.language.kinds import Faults
from experiments.language.source import Node


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and the place in the spec where it was given (None for a built-in default)."""

    value: Any
    node: Node | None = None
    path: str = ""


Settings = Mapping[str, Setting]
Condition = Mapping[str, tuple[Any, ...]]
"""Hyperparameter -> the values of which one must hold; `model` -> `ModelPattern`s."""

_Key = tuple[tuple[str, Any], ...]
"""What equal points share."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What varies as one: a parameter alone, or the parameters of a zip group.

    `text` says the condition to people.
    """

    keys: tuple[str, ...]
    points: tuple[Settings, ...]
    when: Condition | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Variants that are left out: those for which every key holds. `text` says it to people."""

    condition: Condition
    text: str


@dataclass(frozen=True, slots=True)
class Inclusion:
    """One extra point, laid over the defaults."""

    settings: Settings
    label: str | None
    node: Node
    path: str


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What may vary, as the spec says it."""

    defaults: Settings
    axes: tuple[Axis, ...]
    exclude: tuple[Exclusion, ...] = ()
    include: tuple[Inclusion, ...] = ()

    @property
    def size(self) -> int:
        """Give the number of points before conditions, exclusions and merging."""
        return math.prod(len(axis.points) for axis in self.axes) + len(self.include)


@dataclass(frozen=True, slots=True)
class Variant:
    """One assignment of hyperparameters; `settings` holds those that apply, in table order."""

    number: int
    label: str
    settings: Settings

    def value(self, key: str, default: Any = None) -> Any:
        """Give a hyperparameter's value, or the default where it does not apply."""
        setting = self.settings.get(key)
        return default if setting is None else setting.value


@dataclass(frozen=True, slots=True)
class Excluded:
    """A variant that would have been, and why it is not."""

    variant: str
    reason: str


@dataclass(frozen=True, slots=True)
class Expansion:
    """The variants of a search space, and what did not become one."""

    variants: tuple[Variant, ...]
    excluded: tuple[Excluded, ...]
    num_merged: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A point, perhaps a variant; `inclusion` is None for one of the grid."""

    settings: Settings
    inclusion: Inclusion | None = None

    @property
    def label(self) -> str | None:
        return None if self.inclusion is None else self.inclusion.label


def expand(space: SearchSpace, faults: Faults, *, task: str) -> Expansion:
    """Give every variant once, in the order of the spec; some defaults are the task's.

    A hyperparameter that does not apply (momentum under adam) is no part of a variant, so
    points that differ in nothing else are merged. Points without a required value are faults.
    """
    excluded: dict[_Key, tuple[Settings, str]] = {}
    kept: dict[_Key, _Candidate] = {}
    num_merged = 0
    unused = {exclusion.text for exclusion in space.exclude}
    idle = {axis.keys: axis for axis in space.axes if axis.when is not None}
    for candidate in _candidates(space, faults, idle, task):
        key = _key(candidate.settings)
        hit = next((e for e in space.exclude if _holds(e.condition, candidate.settings)), None)
        if hit is not None and candidate.inclusion is None:
            unused.discard(hit.text)
            excluded[key] = candidate.settings, f"exclude: {hit.text}"
        elif key not in kept:
            kept[key] = candidate
        else:
            num_merged += 1
            kept[key] = _merged(kept[key], candidate, faults)
    candidates = list(kept.values())
    varying = _varying([c.settings for c in candidates] + [s for s, _ in excluded.values()])
    labels = _labels(candidates, varying)
    variants = tuple(
        Variant(number, label, candidate.settings)
        for number, (label, candidate) in enumerate(zip(labels, candidates, strict=True), start=1)
    )
    dropped = tuple(
        Excluded(_label(settings, varying), reason) for settings, reason in excluded.values()
    )
    warnings = (*_idle_warnings(idle), *_warnings(space, candidates, unused))
    return Expansion(variants, dropped, num_merged, warnings)


def _key(settings: Settings) -> _Key:
    return tuple((name, value_key(setting.value)) for name, setting in settings.items())


def _merged(kept: _Candidate, other: _Candidate, faults: Faults) -> _Candidate:
    """Give one candidate for two equal ones; the user's label stays with it."""
    if other.inclusion is None or not other.label:
        return kept
    if kept.inclusion is not None and kept.label:
        message = f"the same point as {kept.inclusion.path}, labelled {kept.label!r}"
        faults.add(other.inclusion.node, other.inclusion.path, message)
        return kept
    return _Candidate(kept.settings, other.inclusion)


def _candidates(
    space: SearchSpace, faults: Faults, idle: dict[tuple[str, ...], Axis], task: str
) -> Iterator[_Candidate]:
    """Give all points in order; conditional axes whose condition holds leave `idle`."""
    ordered = _by_dependency(space.axes)
    for settings in _product(ordered, dict(space.defaults), idle, task):
        complete = _complete(settings, faults, task)
        if complete is not None:
            yield _Candidate(complete)
    for inclusion in space.include:
        complete = _complete({**space.defaults, **inclusion.settings}, faults, task, inclusion)
        if complete is not None:
            yield _Candidate(complete, inclusion)


def _by_dependency(axes: Sequence[Axis]) -> list[Axis]:
    """Put each conditional axis after those its condition reads (circles are refused earlier)."""
    ordered: list[Axis] = []
    waiting = list(axes)
    while waiting:
        unplaced = {key for axis in waiting for key in axis.keys}
        ready = next(axis for axis in waiting if not read_by(axis.when) & unplaced)
        ordered.append(ready)
        waiting.remove(ready)
    return ordered


def read_by(condition: Condition | None) -> set[str]:
    """Name the hyperparameters that decide a condition, by a default of theirs too."""
    keys = set(condition or ())
    for key in tuple(keys):
        default = HYPERPARAMETERS[key].default
        keys.update(default.keys if isinstance(default, Follows) else ())
    return keys


def _product(
    axes: Sequence[Axis], settings: Settings, idle: dict[tuple[str, ...], Axis], task: str
) -> Iterator[Settings]:
    if not axes:
        yield settings
        return
    axis, rest = axes[0], axes[1:]
    if axis.when is not None:
        if not _holds(axis.when, _with_defaults(settings, task)):
            yield from _product(rest, settings, idle, task)
            return
        idle.pop(axis.keys, None)
    for point in axis.points:
        yield from _product(rest, {**settings, **point}, idle, task)


def _holds(condition: Condition, settings: Settings) -> bool:
    return all(
        key in settings and any(matches(key, wanted, settings[key].value) for wanted in values)
        for key, values in condition.items()
    )


def _with_defaults(settings: Settings, task: str) -> dict[str, Setting]:
    """Add the built-in defaults; those that follow from others stand after them in the table."""
    full = dict(settings)
    point = {name: setting.value for name, setting in settings.items()}
    for name, parameter in HYPERPARAMETERS.items():
        default = parameter.default
        if name in full or default is REQUIRED or default is LEFT_OPEN:
            continue
        point[name] = default.value(task, point) if isinstance(default, Follows) else default
        full[name] = Setting(point[name])
    return full


def _complete(
    settings: Settings, faults: Faults, task: str, inclusion: Inclusion | None = None
) -> dict[str, Setting] | None:
    """Fill in defaults and leave out what does not apply; None when something is missing."""
    full = _with_defaults(settings, task)
    if "model" not in full:
        _missing("model", faults, inclusion)
        return None
    point = {name: setting.value for name, setting in full.items()}
    result = {}
    for name, parameter in HYPERPARAMETERS.items():
        if name not in full and parameter.default is LEFT_OPEN:
            continue
        if not parameter.applies(point):
            continue
        if name not in full:
            _missing(name, faults, inclusion)
            return None
        result[name] = full[name]
    return result


def _missing(name: str, faults: Faults, inclusion: Inclusion | None) -> None:
    where = HYPERPARAMETERS[name].where
    need = "every variant needs one" if where == "always" else f"{where} needs one"
    place = inclusion.path if inclusion else "parameters"
    message = f"the hyperparameter {name!r} is missing ({need}); give it in defaults or parameters"
    faults.add_once(inclusion.node if inclusion else None, place, message)


def value_key(value: Any) -> Any:
    """Give what two equal values share, to find doubled ones."""
    return repr(value.to_data()) if hasattr(value, "to_data") else value


def _varying(settings: Sequence[Settings]) -> tuple[str, ...]:
    """Name the hyperparameters with several values.

    Whether one applies follows from the others, so its absence needs no mention; nor does
    a default that follows from others, unless it is set aside somewhere.
    """
    return tuple(
        name
        for name, parameter in HYPERPARAMETERS.items()
        if len({value_key(s[name].value) for s in settings if name in s}) > 1
        and not (
            isinstance(parameter.default, Follows)
            and all(s[name].node is None for s in settings if name in s)
        )
    )


def _label(settings: Settings, varying: Sequence[str]) -> str:
    shown = [name for name in varying if name in settings] or ["model"]
    return " ".join(describe(name, settings[name].value) for name in shown)


def _labels(candidates: Sequence[_Candidate], varying: Sequence[str]) -> list[str]:
    """Give each candidate its own label: the user's, or what sets it apart.

    A label of ours that is taken already, by a user's first of all, gets a number.
    """
    taken = {candidate.label for candidate in candidates if candidate.label}
    counters: dict[str, Iterator[int]] = {}
    labels: list[str] = []
    for candidate in candidates:
        if candidate.label:
            labels.append(candidate.label)
            continue
        label = base = _label(candidate.settings, varying)
        while label in taken:
            label = f"{base} #{next(counters.setdefault(base, itertools.count(2)))}"
        taken.add(label)
        labels.append(label)
    return labels


def _idle_warnings(idle: Mapping[tuple[str, ...], Axis]) -> Iterator[str]:
    for axis in idle.values():
        yield f"{', '.join(axis.keys)} varies nowhere: no variant has {axis.text}"


def _warnings(
    space: SearchSpace, candidates: Sequence[_Candidate], unused: set[str]
) -> Iterator[str]:
    for exclusion in space.exclude:
        if exclusion.text in unused:
            yield f"exclude {exclusion.text} matches no variant"
    given = set(space.defaults) | {key for axis in space.axes for key in axis.keys}
    for name in HYPERPARAMETERS:
        used = sum(name in candidate.settings for candidate in candidates)
        if name in given and used < len(candidates):
            where = HYPERPARAMETERS[name].where
            left_out = len(candidates) - used
            if used == 0:
                yield f"{name} applies to {where} only: no variant uses it"
            elif where != "always":
                yield f"{name} applies to {where} only: {left_out} variants go without"
