"""How often the doctor is right: precision and recall per finding, and the healthy left alone.

`python -m benchmarks.labelled_curves.scores` writes the tables of docs/diagnosis.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.labelled_curves.cases import HELD_OUT, TUNED
from benchmarks.labelled_curves.curve_file import FILE, LabelledCurve, read
from experiments.diagnosis.diagnosis import diagnose
from experiments.diagnosis.finding import Code

PAGE: Final = Path("docs/diagnosis.md")
BEGIN, END = "<!-- scores: begin -->", "<!-- scores: end -->"


@dataclass(frozen=True, slots=True)
class Score:
    """How often a finding was right, over the curves whose label is decided."""

    code: Code
    hits: tuple[str, ...]
    false: tuple[str, ...]
    missed: tuple[str, ...]
    num_undecided: int

    @property
    def precision(self) -> float:
        """Give the share of the findings that are right; 1 where there are none."""
        found = len(self.hits) + len(self.false)
        return len(self.hits) / found if found else 1.0

    @property
    def recall(self) -> float:
        """Give the share of what is there that is found; 1 where nothing is."""
        there = len(self.hits) + len(self.missed)
        return len(self.hits) / there if there else 1.0


def scores(curves: Iterable[LabelledCurve]) -> list[Score]:
    """Score each finding."""
    found = [(each, {finding.code for finding in diagnose(each.curve)}) for each in curves]

    def names(code: Code, label: bool, *, said: bool) -> tuple[str, ...]:
        return tuple(
            each.name
            for each, codes in found
            if each.labels[code] is label and (code in codes) is said
        )

    return [
        Score(
            code,
            hits=names(code, True, said=True),
            false=names(code, False, said=True),
            missed=names(code, True, said=False),
            num_undecided=sum(each.labels[code] is None for each, _ in found),
        )
        for code in Code
    ]


def disturbed(curves: Iterable[LabelledCurve]) -> tuple[int, tuple[str, ...]]:
    """Count the healthy curves, and name those of them with a sick finding."""
    healthy = [each for each in curves if each.is_healthy]
    sick = (each.name for each in healthy if any(f.is_sick for f in diagnose(each.curve)))
    return len(healthy), tuple(sick)


def table(curves: Sequence[LabelledCurve]) -> str:
    """Write the scores of both halves, and of all, as Markdown."""
    halves = {
        half: scores(each for each in curves if each.half == half) for half in (TUNED, HELD_OUT)
    }
    lines = [
        f"{len(curves)} curves; precision / recall (how many have it, undecided left out):",
        "",
        f"| finding | all | {TUNED} | {HELD_OUT} | undecided |",
        "| --- | --- | --- | --- | --- |",
    ]
    for both, *parts in zip(scores(curves), *halves.values(), strict=True):
        cells = " | ".join(_cell(score) for score in (both, *parts))
        lines.append(f"| `{both.code}` | {cells} | {both.num_undecided} |")
    num, sick = disturbed(curves)
    lines += ["", f"Of {num} healthy curves, {num - len(sick)} have no finding that is sick."]
    return "\n".join(lines)


def page(text: str, curves: Sequence[LabelledCurve]) -> str:
    """Give the page with the table of these curves."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(curves)}\n{END}{after}"


def _cell(score: Score) -> str:
    num = len(score.hits) + len(score.missed)
    return f"{score.precision:.2f} / {score.recall:.2f} ({num})"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), read(FILE)), encoding="utf-8")
