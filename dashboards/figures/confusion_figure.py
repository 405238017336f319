"""The figure of a confusion matrix."""

import math
from typing import Final

from dashboards.figures.chart import Axis, Cells, Chart, Table
from dashboards.figures.lettering import shortened
from orchestrator.store.rows import Confusion

_MOST_TEXTS: Final = 12
_MOST_TICKS: Final = 30
_MOST_MIXED: Final = 3


def confusion_chart(confusion: Confusion, *, of: str = "") -> Chart | None:
    """Show which class is taken for which: shares of each true class, counts in the cells.

    `of` names whose answers they are. With more than 12 classes there is no room for texts. None
    where no example was counted.
    """
    counts, names = confusion.counts, confusion.class_names
    total = sum(map(sum, counts))
    if not total:
        return None
    right = sum(counts[i][i] for i in range(len(counts)))
    shares = tuple(
        tuple(count / sum(row) if sum(row) else math.nan for count in row) for row in counts
    )
    texts = tuple(tuple(f"{count:,}" if count else "" for count in row) for row in counts)
    mixed = sorted(
        (
            (count, names[i], names[j])
            for i, row in enumerate(counts)
            for j, count in enumerate(row)
            if i != j and count
        ),
        key=lambda each: -each[0],
    )
    labelled = len(names) <= _MOST_TICKS
    ticks = [(float(i), shortened(name, most=14)) for i, name in enumerate(names)]
    return Chart(
        name="confusion",
        title=f"Which classes {shortened(of) or 'the network'} mixes up on the test split",
        description=(
            f"{right:,} of {total:,} answers are right ({right / total:.4f}). {_mixed_words(mixed)}"
        ),
        x=Axis("answer", ticks=tuple(ticks) if labelled else ()),
        y=Axis("true class", ticks=tuple((-x, name) for x, name in ticks) if labelled else ()),
        marks=(
            Cells(
                shares, texts if len(names) <= _MOST_TEXTS else (), "share of the row", (0.0, 1.0)
            ),
        ),
        table=Table(
            ("true class", "answer", "examples", "share of the true class"),
            tuple(
                (names[i], names[j], count, round(shares[i][j], 4))
                for i, row in enumerate(counts)
                for j, count in enumerate(row)
                if count
            ),
        ),
        note="A row is a true class; its cells' colours are shares of that row. The table leaves "
        "out what never happened.",
        height=min(720, 150 + max(4, len(names)) * 34),
    )


def _mixed_words(mixed: list[tuple[int, str, str]]) -> str:
    if not mixed:
        return "None is wrong."
    told = [
        f"{shortened(true)} for {shortened(answer)} ({count:,})"
        for count, true, answer in mixed[:_MOST_MIXED]
    ]
    return f"Most often mistaken: {', '.join(told)}."
