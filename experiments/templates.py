"""Layers that leave something to the trial or to the task, and how it is filled in.

A template is a layer, or a placeholder for what a trial's hyperparameters (`activation`,
`dropout`) or its task (`classes`) decide. Named architectures and the layer language give
templates; `fill` makes the layers of an architecture from them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.layers import Activation, Dropout, Layer, Linear, Residual


@dataclass(frozen=True, slots=True)
class HiddenActivation:
    """The trial's hidden activation."""

    def to_data(self) -> Any:
        """Write the placeholder in the layer language."""
        return "activation"


@dataclass(frozen=True, slots=True)
class TrialDropout:
    """Dropout with the trial's probability."""

    def to_data(self) -> Any:
        """Write the placeholder in the layer language."""
        return "dropout"


@dataclass(frozen=True, slots=True)
class Head:
    """The linear output layer, sized by the task."""

    bias: bool = True

    def to_data(self) -> Any:
        """Write the placeholder in the layer language."""
        options: dict[str, Any] = {"out_features": "classes"}
        return {"linear": options if self.bias else options | {"bias": False}}


@dataclass(frozen=True, slots=True)
class ResidualTemplate:
    """A residual block with placeholders in it."""

    body: tuple["Template", ...]
    shortcut: tuple["Template", ...] = ()

    def to_data(self) -> Any:
        """Write the block in the layer language; an empty shortcut is left out."""
        branches = {"body": self.body, "shortcut": self.shortcut}
        return {"residual": {name: to_data(items) for name, items in branches.items() if items}}


Template = Layer | HiddenActivation | TrialDropout | Head | ResidualTemplate


def residual(body: Sequence[Template], shortcut: Sequence[Template] = ()) -> Template:
    """Make a residual block: a layer if all in it are layers, otherwise a template."""
    body_layers = tuple(item for item in body if isinstance(item, Layer))
    shortcut_layers = tuple(item for item in shortcut if isinstance(item, Layer))
    if len(body_layers) == len(body) and len(shortcut_layers) == len(shortcut):
        return Residual(body_layers, shortcut_layers)
    return ResidualTemplate(tuple(body), tuple(shortcut))


def fill(
    templates: Iterable[Template], *, activation: Activation, dropout: float, outputs: int
) -> tuple[Layer, ...]:
    """Put a trial's hyperparameters and a task's number of outputs in place."""

    def layer(template: Template) -> Layer:
        match template:
            case HiddenActivation():
                return activation
            case TrialDropout():
                return Dropout(float(dropout))  # 0 and 0.0 are written alike
            case Head(bias=bias):
                return Linear(outputs, bias=bias)
            case ResidualTemplate(body=body, shortcut=shortcut):
                return Residual(tuple(map(layer, body)), tuple(map(layer, shortcut)))
            case _:
                return template

    return tuple(map(layer, templates))


def contains(templates: Iterable[Template], placeholder: type[Template]) -> bool:
    """Say whether a placeholder of that kind stands anywhere in the templates."""
    return any(
        isinstance(item, placeholder)
        or (isinstance(item, ResidualTemplate) and contains(item.body + item.shortcut, placeholder))
        for item in templates
    )


def to_data(templates: Iterable[Template]) -> list[Any]:
    """Write templates in the layer language, as plain data; equal ones give equal data."""
    return [template.to_data() for template in templates]
