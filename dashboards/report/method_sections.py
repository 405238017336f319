"""The method: on which data, with which seeds and statistics, where and how trials were trained."""

from collections.abc import Iterator, Sequence

from dashboards.numbers import duration_text
from dashboards.report.document import Block, Bullets, Facts, Listing, Paragraph, Part, Section
from dashboards.report.evidence import Study
from dashboards.report.manifest import git_state, installed_versions
from experiments.records import TrialConfig

_STATISTICS = (
    (
        "A variant is summarised by its mean over seeds, the sample standard deviation (n - 1) "
        "and Student's 95 % t-interval of the mean."
    ),
    (
        "Levels of a hyperparameter are compared on matched settings: pairs of trials that agree "
        "in all other hyperparameters and in the seed. p-values are corrected by Holm's method "
        "over all pairs of a hyperparameter."
    ),
    (
        "The winner is picked by the validation split. The test split is measured once, on each "
        "trial's selected epoch, and picks nothing."
    ),
)


def method_section(studies: Sequence[Study]) -> Section:
    """Give the chapter on how the experiments were done."""
    several = len(studies) > 1
    parts = [
        Part(f"{study.findings.label}: {heading}" if several else heading, blocks)
        for study in studies
        for heading, blocks in _parts(study)
    ]
    return Section(
        "method",
        "Method",
        parts=(
            *parts,
            Part("Statistics", (Bullets(_STATISTICS),)),
            Part("Software that wrote this report", (Facts(tuple(installed_versions().items())),)),
        ),
    )


def _parts(study: Study) -> Iterator[tuple[str, tuple[Block, ...]]]:
    yield "Data", (Facts(tuple(_data(study.config))),)
    yield "Training", tuple(_training(study))
    spec = study.spec.text or _as_yaml(study)
    yield (
        "Specification",
        (
            Facts(tuple(_identity(study))),
            Listing("The spec, as it was submitted", spec),
        ),
    )


def _data(config: TrialConfig) -> Iterator[tuple[str, str]]:
    data = config.data
    yield "set", data.name
    yield "digest", data.digest
    yield (
        "validation",
        f"{data.val_fraction:g} of the training examples, split with seed " + str(data.split_seed),
    )
    if data.limit is not None:
        yield "examples", f"the first {data.limit:,} to train on"
    for name, value in {**data.options, **data.changes}.items():
        yield str(name), str(value)


def _training(study: Study) -> Iterator[Block]:
    trials = study.findings.trials
    seeds = sorted({outcome.seed for outcome in study.findings.outcomes})
    shown = ", ".join(map(str, seeds[:20])) + (", ..." if len(seeds) > 20 else "")
    facts = [
        ("task", study.row.task),
        ("objective", _objective(study)),
        ("seeds", f"{len(seeds):,}: {shown}"),
        ("precision", study.config.precision),
    ]
    for column, name in (("machine", "machines"), ("strategy", "trained")):
        counts = trials[column].dropna().value_counts()
        if len(counts):
            facts.append(
                (name, "; ".join(f"{key} ({num:,} trials)" for key, num in counts.items()))
            )
    seconds = trials["seconds"].sum()
    if seconds:
        facts.append(("time", f"{duration_text(float(seconds))} of training in all"))
    reused = int(trials["reused_from"].notna().sum())
    if reused:
        facts.append(("reused", f"{reused:,} trials have results of other experiments' trials"))
    again = int((trials["attempts"] > 1).sum())
    if again:
        facts.append(("repeated", f"{again:,} trials took more than one attempt"))
    yield Facts(tuple(facts))
    if study.incidents:
        yield Paragraph("What went wrong around the trials, and what was done about it:")
        yield Bullets(tuple(incident.message for incident in study.incidents[:20]))


def _objective(study: Study) -> str:
    objective = study.row.objective
    epoch = "best" if objective.select == "best" else "last"
    return f"{objective.metric}, {objective.goal}; each trial counts with its {epoch} epoch"


def _identity(study: Study) -> Iterator[tuple[str, str]]:
    yield "name", study.row.name
    yield "id", study.row.id
    state = git_state(study.row.git_commit)
    if state.commit is not None:
        changed = ", with changes that were not committed" if state.is_dirty else ""
        yield "git commit", f"{state.commit}{changed}"
    for name, value in study.row.tags.items():
        yield f"tag {name}", value


def _as_yaml(study: Study) -> str:
    """Write a spec that was given as values."""
    import yaml

    text: str = yaml.safe_dump(dict(study.spec.plain), sort_keys=False, allow_unicode=True)
    return text
