"""How a classifier mixes up its classes, as a table of plain lines."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.markup import escape

from experiments.language.printable import printable
from orchestrator.store.rows import Confusion

_MOST_CLASSES: Final = 20
_LONGEST_NAME: Final = 10
_MEASURES: Final = "  precision recall"


def confusion_view(confusion: Confusion, *, width: int) -> Iterator[str]:
    """Draw the matrix: a row a true class, a column an answer; precision and recall beside it.

    Counts that do not fit into `width` are written as percentages of their row; the two
    columns beside the matrix go where there is no room for them.
    """
    num_classes = len(confusion.counts)
    for kind, cells in (("counts", _counts(confusion)), ("% of the row", _percents(confusion))):
        digits = max(len(str(num_classes - 1)), *(len(cell) for row in cells for cell in row))
        labels, heads = _names(confusion.class_names, most=digits)
        needed = max(map(len, labels)) + num_classes * (digits + 1)
        if num_classes <= _MOST_CLASSES and needed <= width:
            yield f"confusion on test: true class by row, answer by column, {kind}"
            measured = confusion if needed + len(_MEASURES) <= width else None
            yield from _lines(labels, heads, cells, measured, digits=digits)
            return
    yield f"confusion on test: {num_classes} classes, too many for a table; see --json"


def _names(class_names: Sequence[str], *, most: int) -> tuple[list[str], list[str]]:
    """Give what rows and columns are called: numbers where a name is longer than a cell."""
    names = [_shortened(name) for name in class_names]
    if max(map(len, names)) <= most:
        return names, names
    numbers = [str(i) for i in range(len(names))]
    longest = len(numbers[-1])
    labels = [f"{i:>{longest}} {name}" for i, name in zip(numbers, names, strict=True)]
    return labels, numbers


def _lines(
    labels: Sequence[str],
    heads: Sequence[str],
    cells: Sequence[Sequence[str]],
    measured: Confusion | None,
    *,
    digits: int,
) -> Iterator[str]:
    longest = max(map(len, labels))
    head = " " * longest + "".join(f" {each:>{digits}}" for each in heads)
    yield escape(head) + (_MEASURES if measured else "")
    for i, (label, row) in enumerate(zip(labels, cells, strict=True)):
        texts = [f" {cell:>{digits}}" for cell in row]
        texts[i] = f"[bold]{texts[i]}[/bold]"
        beside = "" if measured is None else _measures(measured, i)
        yield escape(f"{label:{longest}}") + "".join(texts) + beside


def _measures(confusion: Confusion, index: int) -> str:
    return f"  {_share(confusion.precision(index)):>9} {_share(confusion.recall(index)):>6}"


def _counts(confusion: Confusion) -> list[list[str]]:
    return [[str(count) if count else "." for count in row] for row in confusion.counts]


def _percents(confusion: Confusion) -> list[list[str]]:
    return [
        [f"{100 * count / sum(row):.0f}" if count else "." for count in row]
        for row in confusion.counts
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _shortened(name: str) -> str:
    text = printable(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
