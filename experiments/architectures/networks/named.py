"""What a named architecture is: a network with a name, options, and the tasks it can do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from experiments.architectures.geometry import Shape
from experiments.architectures.templates import Template
from experiments.language.fields import fields_of
from experiments.language.kinds import Choice

VECTOR_TASKS: Final = ("classification", "binary", "regression")
"""The tasks whose outputs are a vector: what a linear head can give."""


@dataclass(frozen=True, slots=True)
class NamedArchitecture:
    """A network that a spec can ask for by name.

    Attributes:
        name: How a spec calls it: small letters, digits and `_`.
        doc: One line for people.
        paper: Where it comes from.
        options: A dataclass of annotated fields (see `language/fields.py`), its options.
        network: Gives the layer templates for the options and an input shape; None for
            those of torchvision, which knows them itself.
        tasks: What it can do; names of `experiments.tasks.TASKS`.
        uses_activation: Whether the trial's hidden activation makes a difference.
        uses_dropout: Whether the trial's dropout makes a difference.
        short_option: The option that short names tell, if it is a choice of numbers:
            `vgg16` is `{name: vgg, depth: 16}`.
        short_suffix: What follows that number in a short name: the `s` of `fcn8s`.
    """

    name: str
    doc: str
    paper: str
    options: type[Any]
    network: Callable[[Any, Shape], list[Template]] | None
    tasks: tuple[str, ...] = VECTOR_TASKS
    uses_activation: bool = True
    uses_dropout: bool = False
    short_option: str = "depth"
    short_suffix: str = ""

    @property
    def depths(self) -> tuple[int, ...]:
        """Give the numbers that short names may hold; none where there are no short names."""
        field = fields_of(self.options).get(self.short_option)
        kind = field.kind if field else None
        return tuple(int(name) for name in kind.names) if isinstance(kind, Choice) else ()

    @property
    def short_names(self) -> tuple[str, ...]:
        """Give the names that tell an option, too: `vgg16`, `fcn8s`."""
        return tuple(self.short_name(number) for number in self.depths)

    def short_name(self, number: int) -> str:
        """Give the name that tells the option's value."""
        return f"{self.name}{number}{self.short_suffix}"
