"""The confusion matrix in a terminal."""

import pytest

from dashboards.confusion_view import confusion_view
from orchestrator.store.rows import Confusion

PETS = Confusion(("cat", "dog", "[bold]\x1b"), ((50, 3, 0), (0, 0, 0), (2, 0, 1000)))


def lines_of(confusion: Confusion, *, width: int = 80) -> list[str]:
    lines = [
        line.replace("[bold]", "").replace("[/bold]", "")
        for line in confusion_view(confusion, width=width)
    ]
    assert all(len(line) <= width for line in lines)
    return lines


def even(num_classes: int, *, count: int = 1000, name: str = "class") -> Confusion:
    """Give a confusion whose every answer is right."""
    return Confusion(
        tuple(f"{name}{i}" for i in range(num_classes)),
        tuple(tuple(count * (i == j) for j in range(num_classes)) for i in range(num_classes)),
    )


def test_rows_are_true_classes_and_columns_answers() -> None:
    assert lines_of(Confusion(("cat", "dog"), ((150, 30), (0, 120)))) == [
        "confusion on test: true class by row, answer by column, counts",
        "    cat dog  precision recall",
        "cat 150  30     1.0000 0.8333",
        "dog   . 120     0.8000 1.0000",
    ]


def test_names_that_are_no_column_heads_are_numbered_and_never_steer_the_terminal() -> None:
    head, cat, dog, odd = list(confusion_view(PETS, width=80))[1:]
    assert head.split() == ["0", "1", "2", "precision", "recall"]
    assert cat.startswith("0 cat")
    assert dog.split()[-2:] == ["0.0000", "-"]  # answered, and never there
    assert odd.startswith("2 \\[bold]\\x1b ")


@pytest.mark.parametrize(
    ("confusion", "width", "kind", "measures"),
    [
        (even(10), 80, "counts", True),
        (even(10), 70, "counts", False),
        (even(10, count=10**7), 80, "% of the row", True),
        (even(20, name="", count=300), 90, "counts", False),
        (even(16), 80, "% of the row", False),
        (even(12, count=1), 80, "counts", True),
    ],
)
def test_what_does_not_fit_gives_way(
    confusion: Confusion, width: int, kind: str, measures: bool
) -> None:
    first, head, *rows = lines_of(confusion, width=width)
    assert kind in first
    assert ("precision" in head) is measures
    assert len(rows) == len(confusion.counts)
    assert len({len(line) for line in (head, *rows)}) == 1


@pytest.mark.parametrize(("num_classes", "width"), [(21, 400), (15, 40)])
def test_matrix_that_never_fits_is_left_to_json(num_classes: int, width: int) -> None:
    assert list(confusion_view(even(num_classes), width=width)) == [
        f"confusion on test: {num_classes} classes, too many for a table; see --json"
    ]
