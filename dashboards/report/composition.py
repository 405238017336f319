"""What a report says, in which order: the answer, the evidence, the sick curves, the method."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dashboards.figures.chart import Chart, Gallery
from dashboards.report.curve_sections import curve_parts
from dashboards.report.document import (
    Block,
    Bullets,
    Document,
    Facts,
    Grid,
    Notice,
    Paragraph,
    Section,
)
from dashboards.report.evidence import Evidence, Findings, Study
from dashboards.report.evidence_sections import evidence_parts, network_part
from dashboards.report.method_sections import method_section
from experiments.diagnosis.finding import TITLES
from experiments.states import TrialState

_DONE = TrialState.SUCCEEDED.value


def compose(evidence: Evidence, *, colophon: str) -> Document:
    """Make the document of one or several experiments."""
    if len(evidence.studies) == 1:
        document = _of_one(evidence.studies[0], colophon)
    else:
        document = _of_several(evidence, colophon)
    return _with_own_names(document)


def _of_one(study: Study, colophon: str) -> Document:
    findings = study.findings
    return Document(
        title=findings.label,
        question=str(study.spec.plain.get("description") or ""),
        subtitle=_subtitle(study),
        sentences=findings.answer.sentences,
        caveats=(*findings.answer.caveats, *_trial_caveats(study)),
        sections=(
            Section(
                "evidence",
                "Evidence",
                parts=(*evidence_parts(findings), *network_part(study)),
                blocks=tuple(_nothing_yet(findings)),
            ),
            Section("curves", "Sick curves", parts=tuple(curve_parts(study))),
            method_section([study]),
        ),
        colophon=colophon,
    )


def _of_several(evidence: Evidence, colophon: str) -> Document:
    studies, together = evidence.studies, evidence.together
    own = [
        Section(
            f"experiment-{number}",
            study.findings.label,
            parts=(
                *(() if together is not None else evidence_parts(study.findings)),
                *network_part(study),
                *curve_parts(study),
            ),
            blocks=tuple(_summary(study)),
        )
        for number, study in enumerate(studies, start=1)
    ]
    labels = [study.findings.label for study in studies]
    title = f"{', '.join(labels[:-1])} and {labels[-1]}"
    method = method_section(studies)
    if together is None:
        return Document(
            title=title,
            subtitle=f"{len(studies)} experiments beside each other",
            sentences=_apart(evidence),
            caveats=(),
            sections=(*own, method),
            colophon=colophon,
        )
    shared = Section(
        "evidence",
        "Evidence",
        parts=tuple(evidence_parts(together)),
        blocks=tuple(_nothing_yet(together)),
    )
    return Document(
        title=title,
        subtitle=f"{len(studies)} experiments compared by {together.objective.metric}",
        sentences=together.answer.sentences,
        caveats=(*together.answer.caveats, *evidence.cautions),
        sections=(shared, *own, method),
        colophon=colophon,
    )


def _apart(evidence: Evidence) -> tuple[str, str, str]:
    """Say in three sentences why there is no one answer, and where the others are."""
    with_result = [s.findings for s in evidence.studies if s.findings.answer.selection is not None]
    won = [
        f"{printed.label}: {printed.answer.selection.variant}"
        for printed in with_result
        if printed.answer.selection is not None
    ]
    return (
        f"These experiments cannot be compared: {evidence.apart}.",
        f"Each has its own winner ({'; '.join(won)})." if won else "None of them has a result yet.",
        "What is known of each stands in a section of its own.",
    )


def _subtitle(study: Study) -> str:
    counts = study.counts()
    ended = ", ".join(f"{number:,} {state}" for state, number in counts.items())
    variants = len(study.findings.standings)
    seeds = len({outcome.seed for outcome in study.findings.outcomes})
    return (
        f"{_counted(variants, 'variant')}, {_counted(seeds, 'seed')}, "
        f"{_counted(study.row.num_trials, 'trial')} ({ended}); "
        f"judged by {study.row.objective.metric}, {study.row.objective.goal}"
    )


def _summary(study: Study) -> Iterator[Block]:
    if question := study.spec.plain.get("description"):
        yield Paragraph(str(question))
    yield Paragraph(_subtitle(study) + ".")
    yield Bullets(study.findings.answer.sentences)
    for caveat in (*study.findings.answer.caveats, *_trial_caveats(study)):
        yield Notice(caveat)


def _trial_caveats(study: Study) -> list[str]:
    """Say what is wrong with an experiment as a question, whatever its numbers are."""
    said = []
    outcomes = study.findings.outcomes
    seeds = {outcome.seed for outcome in outcomes}
    if len(seeds) == 1:
        said.append(
            "There is one seed only, so nothing here says how much of a difference is luck: set "
            "`seeds` to 3 or more, better 5."
        )
    if len(study.findings.standings) == 1:
        said.append("There is one variant only, so there is nothing to compare it with.")
    if sick := _sick_of_winner(study):
        said.append(
            f"The winner's own curves have findings: {sick}. What to change stands under Sick "
            "curves."
        )
    if study.row.paused_reason is not None:
        said.append(f"The experiment is paused: {study.row.paused_reason}.")
    return said


def _sick_of_winner(study: Study) -> str:
    """Say in words what the doctor finds on the winning variant's trials; nothing if it is well."""
    selection = study.findings.answer.selection
    if selection is None:
        return ""
    read = [each for each in study.diagnoses if each.trial.variant == selection.variant]
    found = Counter(finding.code for each in read for finding in each.findings if finding.is_sick)
    return ", ".join(
        f"{TITLES[code]} ({number} of {_counted(len(read), 'trial')})"
        for code, number in found.items()
    )


def _nothing_yet(findings: Findings) -> Iterator[Block]:
    if findings.answer.selection is not None:
        return
    states = findings.trials["state"].value_counts()
    stood = ", ".join(f"{number:,} {state}" for state, number in states.items())
    yield Notice(f"No trial has given {findings.objective.metric} ({stood}).", "fault")
    failures = findings.trials["failure"].dropna().value_counts()
    if len(failures):
        yield Facts(
            tuple((_counted(int(number), "trial"), str(text)) for text, number in failures.items())
        )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _with_own_names(document: Document) -> Document:
    """Give figures and tables that share a name names of their own: anchors and files have them."""
    used: dict[str, int] = {}

    def named(blocks: Sequence[Block]) -> tuple[Block, ...]:
        made: list[Block] = []
        for block in blocks:
            if isinstance(block, Chart | Gallery | Grid):
                used[block.name] = used.get(block.name, 0) + 1
                number = used[block.name]
                made.append(block if number == 1 else replace(block, name=f"{block.name}-{number}"))
            else:
                made.append(block)
        return tuple(made)

    return replace(
        document,
        sections=tuple(
            replace(
                section,
                blocks=named(section.blocks),
                parts=tuple(replace(part, blocks=named(part.blocks)) for part in section.parts),
            )
            for section in document.sections
        ),
    )
