"""The pages of docs/ that are written by the program: the catalogue, and the recipes.

    python -m trainyard.handbook      writes both, below docs/ of the present folder

A test holds the committed pages to the tables.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from trainyard import catalogue
from trainyard.catalogue import Row

_WRITTEN: Final = "<!-- Written by `make docs`: change the tables in experiments/ instead. -->"
_TYPED: Final = frozenset(
    {"also_called", "formula", "losses", "metrics", "models", "name", "options", "short_names"}
    | {"takes"}
)
"""Columns that hold what one types, or a formula: set as code."""


_CATALOGUE: Final = """
What goes with what. The same tables drive the plan's refusals and the verbs `trainyard tasks`,
`models`, `datasets`, `losses`, `activations` and `optimizers`; [spec.md](spec.md) says where the
names go.
"""
_RECIPES: Final = """
Specs that ask something worth asking, each small enough for two cores. `trainyard recipes` lists
them, `trainyard init NAME` copies one to start from, `trainyard plan NAME.yaml` shows what it
would do, `trainyard run NAME.yaml` does it.
"""
_SECTIONS: Final[tuple[tuple[str, Callable[[], list[Row]], str], ...]] = (
    ("Tasks", catalogue.task_rows, ""),
    (
        "Metrics",
        catalogue.metric_rows,
        (
            "Metrics are of a split: `val/accuracy`, `test/rmse`. Those of the training split are "
            "running means over the epoch."
        ),
    ),
    (
        "Losses",
        catalogue.loss_rows,
        (
            "A network gives raw outputs z; the loss makes y of them by the output activation, the "
            "first of those named beside the task unless `output_activation` says otherwise. t are "
            "the targets, c is the true class. An epoch's loss is the mean over the examples."
        ),
    ),
    ("Output activations", catalogue.output_activation_rows, ""),
    (
        "Activations",
        catalogue.activation_rows,
        "Maxout has weights of its own, so it is a layer: `maxout: {out_features: 64}`.",
    ),
    ("Models", catalogue.model_rows, ""),
    (
        "Data sets",
        catalogue.dataset_rows,
        "`reconstruction` goes with every set of images, `binary` with two classes.",
    ),
    ("Changes of a data set", catalogue.change_rows, ""),
    ("Augmentations", catalogue.augmentation_rows, ""),
    (
        "Optimizers",
        catalogue.optimizer_rows,
        (
            "w are the weights, g is their gradient averaged over a batch, with weight_decay w "
            "added except for adamw; m and v are remembered from step to step."
        ),
    ),
    ("Schedules", catalogue.schedule_rows, ""),
)
"""Title, rows, and what is said below them."""


def catalogue_page() -> str:
    """Write up everything that a spec can name."""
    parts = ["# What a spec can name", _WRITTEN, _CATALOGUE.strip()]
    for title, rows, note in _SECTIONS:
        parts += [f"## {title}", _table(rows()), *([note] if note else [])]
    names = _code(catalogue.torchvision_names())
    parts += ["## torchvision's networks", f"For images of one or three channels: {names}."]
    parts.append("Their option `weights` names pre-trained ones, such as `IMAGENET1K_V1`.")
    return "\n\n".join(parts) + "\n"


def recipes_page() -> str:
    """Write up the recipes, topic by topic."""
    from experiments.cookbook import TOPICS, recipes

    parts = ["# Recipes", _WRITTEN, _RECIPES.strip()]
    for topic in TOPICS:
        parts.append(f"## {topic.capitalize()}")
        for recipe in recipes():
            if recipe.topic == topic:
                link = f"../experiments/recipes/{recipe.name}.yaml"
                parts.append(f"### [{recipe.name}]({link})\n\n**{recipe.question}**")
                parts.append(f"Expect: {_plain(recipe.expect)}")
                parts.append(f"Takes {_plain(recipe.takes)}")
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Row]) -> str:
    keys = [key for key in rows[0] if any(row[key] for row in rows)]
    body = (_line(_cell(key, row[key]) for key in keys) for row in rows)
    return "\n".join([_line(map(_heading, keys)), _line("---" for _ in keys), *body])


def _heading(key: str) -> str:
    return "what it is" if key == "doc" else key.replace("_", " ")


def _cell(key: str, value: Any) -> str:
    if not value:
        return ""
    texts = [value] if isinstance(value, str) else value
    return _code(texts) if key in _TYPED else ", ".join(map(_plain, texts))


def _code(texts: Iterable[str]) -> str:
    return ", ".join(f"`{_escaped(text)}`" for text in texts)


def _plain(text: str) -> str:
    return _escaped(text).replace("<", "&lt;").replace("*", "\\*")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write both pages."""
    for name, page in (("catalogue", catalogue_page()), ("recipes", recipes_page())):
        Path("docs", f"{name}.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
