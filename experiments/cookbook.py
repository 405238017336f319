"""The recipes: specs to start from. Each says the question it asks, what to expect, and how long.

# Which small network reads the bundled digits best?
#
# Expect: ...
# Takes about a minute on two cores; ...
name: quickstart
tags: {topic: first steps}
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from experiments.errors import NotFoundError
from experiments.language.kinds import nearest
from experiments.language.yaml_text import parse

FIRST: Final = "quickstart"
"""The recipe to begin with."""

TOPICS: Final = (
    "first steps",
    "linear models",
    "networks of units",
    "convolutional networks",
    "deep networks",
    "transfer",
    "images from images",
    "how to train",
)
"""What recipes are about, in the order of a course."""

_FOLDER: Final = Path(__file__).with_name("recipes")
_HEADER: Final = re.compile(
    r"(?P<question>.+?\?) Expect: (?P<expect>.+?) Takes (?P<takes>.+)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One recipe: its file's text, and what its first comment says."""

    name: str
    topic: str
    question: str
    expect: str
    takes: str
    text: str

    @property
    def time(self) -> str:
        """Give the time alone: `about a minute on two cores`."""
        return re.split(r"[.;:,] |\.$", self.takes, maxsplit=1)[0]


def recipes() -> tuple[Recipe, ...]:
    """Give all recipes, topic by topic."""
    found = [_read(path) for path in _FOLDER.glob("*.yaml")]
    return tuple(sorted(found, key=_order))


def recipe(name: str) -> Recipe:
    """Give a recipe by its name.

    Raises:
        NotFoundError: There is none of that name.
    """
    known = {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}
    if name not in known:
        message = f"no recipe {name!r}{nearest(name, known)}; known recipes: {', '.join(known)}"
        raise NotFoundError(message)
    return _read(known[name])


def _read(path: Path) -> Recipe:
    text = path.read_text(encoding="utf-8")
    comment = text[: text.index("\nname: ")]
    lines = (line.removeprefix("#").strip() for line in comment.splitlines())
    header = _HEADER.fullmatch(" ".join(line for line in lines if line))
    assert header is not None, f"{path}: its comment is not as {__name__} wants it"
    topic = parse(text, source=path.name).plain()["tags"]["topic"]
    return Recipe(path.stem, topic, text=text, **header.groupdict())


def _order(recipe: Recipe) -> tuple[int, bool, str]:
    return TOPICS.index(recipe.topic), recipe.name != FIRST, recipe.name
