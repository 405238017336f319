"""What the curve doctor found, as people read it in a terminal: by finding, the sick first."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from dashboards.diagnoses import Diagnosis
from dashboards.numbers import value_text
from dashboards.tables import Column, fitted_table, shown
from experiments.diagnosis.finding import TITLES, Code, Finding, Severity


def diagnosis_view(
    name: str, diagnoses: Sequence[Diagnosis], *, width: int
) -> Iterator[RenderableType]:
    """Show each finding with the trials that have it, and what to change; then how many have none.

    `name` is the experiment's.
    """
    read = [each for each in diagnoses if each.is_read]
    if not read:
        yield shown(f"{name}: no trial has a curve yet")
        return
    sick = sum(each.is_sick for each in read)
    yield f"[bold]{shown(name)}[/bold]  {_curves(len(read))} read, {sick} sick"
    for severity in Severity:
        for code in Code:
            pairs = [
                (each, finding)
                for each in read
                for finding in each.findings
                if finding.code is code and finding.severity is severity
            ]
            if pairs:
                yield ""
                harmless = "" if severity is Severity.SICK else ", harmless"
                yield f"[bold]{TITLES[code]}[/bold] ({_curves(len(pairs))}{harmless})"
                yield _table(pairs, width=width)
    fine = sum(not each.findings for each in read)
    if fine:
        yield ""
        yield f"{_curves(fine)} without a finding"


def finding_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Say each finding of one trial in a line, what to change behind it."""
    for finding in findings:
        change = change_text(finding.suggestion.change)
        what = finding.suggestion.words + (f" ({change})" if change else "")
        note = "" if finding.is_sick else ", harmless"
        yield shown(f"{TITLES[finding.code]}{note}: {finding.words}; {what}")


def change_text(change: Mapping[str, Any]) -> str:
    """Write a change of the spec as its keys and values: `lr: 0.01`."""
    return ", ".join(f"{key}: {value_text(value)}" for key, value in change.items())


def _table(pairs: Sequence[tuple[Diagnosis, Finding]], *, width: int) -> RenderableType:
    columns = [
        Column("trial"),
        Column("variant", flexible=True),
        Column(">seed", drop=2),
        Column("at", drop=1),
        Column("what it shows", flexible=True),
        Column("try"),
    ]
    return fitted_table(columns, [_row(*pair) for pair in pairs], width=width)


def _row(diagnosis: Diagnosis, finding: Finding) -> list[str]:
    trial = diagnosis.trial
    return [
        shown(trial.id),
        shown(trial.variant),
        str(trial.seed),
        _place(finding),
        shown(finding.words),
        shown(change_text(finding.suggestion.change)),
    ]


def _place(finding: Finding) -> str:
    if finding.step is not None:
        return f"step {finding.step}"
    return "" if finding.epoch is None else f"epoch {finding.epoch}"


def _curves(number: int) -> str:
    return f"{number:,} curve{'' if number == 1 else 's'}"
