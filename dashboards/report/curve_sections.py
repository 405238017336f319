"""The sick curves: what each loss curve says, and what to change of the spec."""

from collections.abc import Iterator

from dashboards.diagnoses import Diagnosis
from dashboards.diagnosis_view import change_text
from dashboards.figures.chart import Table
from dashboards.figures.curve_figures import trial_chart
from dashboards.report.document import Block, Bullets, Grid, Paragraph, Part
from dashboards.report.evidence import Study
from experiments.diagnosis.finding import TITLES, Code, Finding

_MOST_CHARTS = 3
"""Curves that are drawn: one of each finding, the worst ones first."""

_Pair = tuple[Diagnosis, Finding]


def curve_parts(study: Study) -> Iterator[Part]:
    """Give what the curve doctor found in an experiment's trials, the worst first."""
    read = [each for each in study.diagnoses if each.is_read]
    yield Part("What the curves say", tuple(_summary(read)))
    num_charts = 0
    for code in Code:
        pairs = [
            (each, finding)
            for each in read
            for finding in each.findings
            if finding.code is code and finding.is_sick
        ]
        if pairs:
            yield Part(
                f"Curves {TITLES[code]}" if code is not Code.DEAD_UNITS else "Dead units",
                tuple(_found(study, code, pairs, is_drawn=num_charts < _MOST_CHARTS)),
            )
            num_charts += 1


def _summary(read: list[Diagnosis]) -> Iterator[Block]:
    if not read:
        yield Paragraph("No trial has a curve to read yet.")
        return
    sick = sum(each.is_sick for each in read)
    yield Paragraph(
        f"{_curves(len(read))} read: {sick:,} sick, {len(read) - sick:,} with nothing to change."
    )
    harmless = [finding for each in read for finding in each.findings if not finding.is_sick]
    counts = {code: sum(finding.code is code for finding in harmless) for code in Code}
    notes = tuple(
        f"{_curves(number)} {_shows(number)} {TITLES[code]}, which is harmless."
        for code, number in counts.items()
        if number
    )
    if notes:
        yield Bullets(notes)


def _found(study: Study, code: Code, pairs: list[_Pair], *, is_drawn: bool) -> Iterator[Block]:
    worst, finding = pairs[0]
    yield Paragraph(f"{_sentence(finding.words)} {_sentence(finding.suggestion.words)}")
    if is_drawn:
        chart = trial_chart(
            study.findings.curves, trial=worst.trial.id, metrics=("train/loss", "val/loss")
        )
        if chart is not None:
            yield chart
    yield Grid(
        f"{code.value.replace('_', '-')}-trials",
        f"{_curves(len(pairs))} {TITLES[code]}, where that begins, and what to try.",
        Table(
            ("variant", "seed", "trial", "epoch", "step", "what it shows", "try"),
            tuple(
                (
                    each.trial.variant,
                    each.trial.seed,
                    each.trial.id,
                    finding.epoch,
                    finding.step,
                    finding.words,
                    change_text(finding.suggestion.change),
                )
                for each, finding in pairs
            ),
        ),
        num_shown=5,
    )


def _curves(number: int) -> str:
    return f"{number:,} curve{'' if number == 1 else 's'}"


def _shows(number: int) -> str:
    return "shows" if number == 1 else "show"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:].rstrip('.')}."
