"""All that a report stands on: what the store has of its experiments, and what follows from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dashboards.diagnoses import Diagnosis, diagnoses
from dashboards.experiment_labels import experiment_labels
from dashboards.figures.lettering import listed
from experiments.comparison.answer import Answer, Cost, answer
from experiments.comparison.comparison import Comparison, compare
from experiments.comparison.leaderboard import Outcome, Standing, rank
from experiments.comparison.level_keys import level_key
from experiments.comparison.matched_cells import VARIANT
from experiments.records import Objective, TrialConfig
from experiments.states import TERMINAL_STATES, TrialState
from orchestrator.measurements.results import Results
from orchestrator.store.rows import Confusion, ExperimentRow, IncidentRow, RecordedSpec

if TYPE_CHECKING:
    import pandas as pd

    from workers.portrait_records import Portrait

EXPERIMENT: Final = "experiment"
"""The hyperparameter that says which experiment a trial is of, where several are compared."""

MOST_LEVELS: Final = 12
"""Levels that are still compared pair by pair: of twelve there are 66 pairs."""

_NUM_BEST: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What trials show together: those of one experiment, or of several that can be compared.

    Attributes:
        label: What the whole is called.
        objective: By which it is judged.
        outcomes, standings: Trials, and variants ranked.
        answer: The three sentences, and the numbers behind them.
        comparisons: One for each hyperparameter that varies, and of the best variants.
        uncompared: Hyperparameters of too many levels, with their number.
        trials, curves: Their rows of the frames.
    """

    label: str
    objective: Objective
    outcomes: Sequence[Outcome]
    standings: Sequence[Standing]
    answer: Answer
    comparisons: tuple[Comparison, ...]
    uncompared: Mapping[str, int]
    trials: "pd.DataFrame"
    curves: "pd.DataFrame"


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One experiment: how it was asked and trained, and what it found.

    `config` is that of the best trial, or of the first where none has a result; `portrait` shows
    the best trial's network, `portrait_note` says why it does not.
    """

    row: ExperimentRow
    spec: RecordedSpec
    config: TrialConfig
    findings: Findings
    best_trial: str | None
    confusion: Confusion | None
    portrait: "Portrait | None"
    portrait_note: str
    incidents: Sequence[IncidentRow]
    diagnoses: Sequence[Diagnosis]

    def counts(self) -> dict[str, int]:
        """Count the trials by state, without the states that none has."""
        states = self.findings.trials["state"].value_counts()
        return {state.value: int(states[state.value]) for state in TrialState if state in states}


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One or several studies; `together` is what they show in common, None where they cannot be.

    `apart` says why they cannot be compared (empty: they can, or there is one), `cautions` what is
    different between them and may be why one is better.
    """

    studies: tuple[Study, ...]
    together: Findings | None
    apart: str
    cautions: tuple[str, ...]


def gather(
    results: Results,
    experiments: Sequence[ExperimentRow],
    *,
    portray: Callable[[str], "Portrait | str"],
) -> Evidence:
    """Read and work out all that a report of some experiments says.

    `portray` shows the network of a trial, or says why not.
    """
    from dashboards.frames import curves_frame, trials_frame

    trials, curves = trials_frame(results, experiments), curves_frame(results, experiments)
    labels = experiment_labels(experiments)
    studies = []
    for row in experiments:
        label = labels[row.id]
        findings = _found(
            label,
            row.objective,
            outcomes_of(results, row),
            trials[trials["experiment"] == label],
            curves[curves["experiment"] == label],
        )
        studies.append(_study(results, row, findings, portray))
    if len(studies) == 1:
        return Evidence(tuple(studies), studies[0].findings, "", ())
    apart = why_apart(experiments)
    together = None if apart else _together(studies, trials, curves)
    return Evidence(tuple(studies), together, apart, () if apart else tuple(_cautions(studies)))


def outcomes_of(results: Results, experiment: ExperimentRow) -> list[Outcome]:
    """Give an experiment's trials as comparisons see them."""
    return [
        Outcome(row.variant, row.params, row.seed, row.metrics or {}, row.state in TERMINAL_STATES)
        for row in results.trials(experiment.id)
    ]


def joined(parts: Mapping[str, Sequence[Outcome]]) -> list[Outcome]:
    """Give the trials of experiments, by label, as those of one that varies `experiment`."""
    return [
        replace(
            outcome,
            variant=f"{label}: {outcome.variant}",
            params={EXPERIMENT: label, **outcome.params},
        )
        for label, outcomes in parts.items()
        for outcome in outcomes
    ]


def why_apart(experiments: Sequence[ExperimentRow]) -> str:
    """Say why experiments cannot be compared; empty where they can."""
    labels = experiment_labels(experiments)
    for what, values in {
        "task": [row.task for row in experiments],
        "objective": [f"{row.objective.metric}, {row.objective.goal}" for row in experiments],
    }.items():
        if len(set(values)) > 1:
            named = (
                f"{labels[row.id]} ({value})"
                for row, value in zip(experiments, values, strict=True)
            )
            return f"the {what} is not the same: {', '.join(named)}"
    return ""


def varied(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Give the hyperparameters of more than one level, with their number of levels.

    Those that change with the experiment alone have no effects of their own, and are left out.
    """
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.params)
    bound = bound_to_experiment(outcomes)
    levels = {
        name: len({level_key(o.params[name]) for o in outcomes if name in o.params})
        for name in names
    }
    return {name: num for name, num in levels.items() if num > 1 and name not in bound}


def bound_to_experiment(outcomes: Sequence[Outcome]) -> list[str]:
    """Name the hyperparameters that change only where the experiment does; of one, none do."""
    seen: dict[str, dict[Any, set[Any]]] = {}
    for outcome in outcomes:
        for name in outcome.params:
            by_experiment = seen.setdefault(name, {})
            level = level_key(outcome.params[name])
            by_experiment.setdefault(outcome.params.get(EXPERIMENT), set()).add(level)
    return [
        name
        for name, levels in seen.items()
        if name != EXPERIMENT
        and len(levels) > 1
        and all(len(own) == 1 for own in levels.values())
        and len(set.union(*levels.values())) > 1
    ]


def _found(
    label: str,
    objective: Objective,
    outcomes: Sequence[Outcome],
    trials: "pd.DataFrame",
    curves: "pd.DataFrame",
) -> Findings:
    standings = rank(outcomes, objective)
    levels = varied(outcomes)
    factors = [name for name, number in levels.items() if number <= MOST_LEVELS]
    best = {each.variant for each in standings[:_NUM_BEST] if each.objective is not None}
    comparisons = [compare(outcomes, by=name, objective=objective) for name in factors]
    if len(best) > 1:
        finalists = [outcome for outcome in outcomes if outcome.variant in best]
        comparisons.append(compare(finalists, by=VARIANT, objective=objective))
    return Findings(
        label=label,
        objective=objective,
        outcomes=outcomes,
        standings=standings,
        answer=answer(outcomes, objective=objective, costs=_costs(trials)),
        comparisons=tuple(comparisons),
        uncompared={name: number for name, number in levels.items() if number > MOST_LEVELS},
        trials=trials,
        curves=curves,
    )


def _costs(trials: "pd.DataFrame") -> dict[str, Cost]:
    """Give what the networks of variants take, and a training of each on average."""
    found = {}
    for variant, rows in trials.groupby("variant", sort=False):
        seconds = rows["seconds"].mean()
        found[str(variant)] = Cost(
            parameters=int(rows["parameters"].iloc[0]),
            multiply_adds=int(rows["multiply_adds"].iloc[0]),
            seconds=None if seconds != seconds else float(seconds),
        )
    return found


def _study(
    results: Results,
    row: ExperimentRow,
    findings: Findings,
    portray: Callable[[str], "Portrait | str"],
) -> Study:
    best = _best_trial(findings)
    portrait = portray(best) if best else "No trial has succeeded, so there is no network to show."
    return Study(
        row=row,
        spec=results.spec(row.id),
        config=results.config(best or str(findings.trials["trial"].iloc[0])),
        findings=findings,
        best_trial=best,
        confusion=results.confusion(best) if best else None,
        portrait=None if isinstance(portrait, str) else portrait,
        portrait_note=portrait if isinstance(portrait, str) else "",
        incidents=results.incidents(experiment_id=row.id),
        diagnoses=diagnoses(
            results.trials(row.id), results.configs(row.id), results.curve_columns(row.id)
        ),
    )


def _best_trial(findings: Findings) -> str | None:
    """Give the winner's best trial; None where no trial has given a number."""
    selection, metric = findings.answer.selection, findings.objective.metric
    if selection is None:
        return None
    rows = findings.trials[findings.trials["variant"] == selection.variant]
    ascending = findings.objective.goal == "minimize"
    return str(rows.sort_values(metric, ascending=ascending, na_position="last")["trial"].iloc[0])


def _together(studies: Sequence[Study], trials: "pd.DataFrame", curves: "pd.DataFrame") -> Findings:
    parts = {study.findings.label: study.findings.outcomes for study in studies}
    return _found(
        " and ".join(parts),
        studies[0].row.objective,
        joined(parts),
        trials.assign(variant=trials["experiment"] + ": " + trials["variant"]),
        curves,
    )


def _cautions(studies: Sequence[Study]) -> list[str]:
    """Say in what else experiments differ, so that not all of a difference is what was varied."""
    said = []
    facts: dict[str, Callable[[TrialConfig], Any]] = {
        "data": lambda config: (config.data.digest, config.data.limit),
        "validation split": lambda config: (config.data.val_fraction, config.data.split_seed),
        "precision": lambda config: config.precision,
    }
    for what, fact in facts.items():
        if len({fact(study.config) for study in studies}) > 1:
            said.append(
                f"The {what} of the experiments is not the same; that may be why one is better."
            )
    seeds = {frozenset(outcome.seed for outcome in study.findings.outcomes) for study in studies}
    if names := bound_to_experiment(joined({s.row.id: s.findings.outcomes for s in studies})):
        change = "changes" if len(names) == 1 else "change"
        said.append(
            f"With the experiment {change} {listed(names)}, too, and nowhere else; that may be why "
            "one is better."
        )
    if len(seeds) > 1:
        said.append("The experiments have not the same seeds; only those they share are paired.")
    return said
