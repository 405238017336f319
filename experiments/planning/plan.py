"""Spec -> ordered trials with stable ids, seeds and content keys: all that is known beforehand.

Needs neither torch nor a store: networks are arithmetic, data sets are facts, and what is
known of earlier results is handed in. Whatever would make a trial fail for certain is found
here, before any compute is spent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.architectures.architecture import Architecture
from experiments.architectures.transfer import SourceNetwork
from experiments.compatibility import task_fault
from experiments.data.dataset_facts import DatasetFacts
from experiments.data.datasets import facts
from experiments.errors import DatasetError, NotFoundError
from experiments.language.kinds import Faults
from experiments.planning.content_keys import experiment_id
from experiments.planning.estimates import Estimate, estimate, workers_that_fit
from experiments.planning.knowledge import NOTHING_KNOWN, Knowledge
from experiments.planning.pack_shapes import can_be_packed
from experiments.planning.packing import MOST_PRODUCTS_ON_CPU, most_members
from experiments.planning.planner import Planner
from experiments.planning.strategies import PLAIN
from experiments.records import Experiment, Resources, Trial
from experiments.search_space import Excluded, Expansion, Variant, expand
from experiments.spec import Spec


@dataclass(frozen=True, slots=True)
class Plan:
    """What would run, in the order in which it would.

    Attributes:
        architectures: One network for each model, by name.
        num_merged: Variants left out because they were equal to others.
        num_known: Trials of which the store has a result already, under their content key,
            with the checkpoints that are kept. They take it (`num_reused`), unless the spec
            says `execution.reuse: false`.
        is_submitted: Whether this very experiment is in the store already.
        num_train: The examples of the training split, after `data.limit`.
        num_val: Those of the validation split.
    """

    experiment: Experiment
    task: str
    variants: tuple[Variant, ...]
    trials: tuple[Trial, ...]
    architectures: Mapping[str, Architecture]
    excluded: tuple[Excluded, ...]
    num_merged: int
    num_known: int
    is_submitted: bool
    warnings: tuple[str, ...]
    data: DatasetFacts
    num_train: int
    num_val: int
    estimate: Estimate

    @property
    def num_reused(self) -> int:
        """How many trials take a result that is known, and are not trained."""
        return self.num_known if self.experiment.execution.reuse else 0


def make_plan(
    spec: Spec,
    *,
    data_root: Path,
    capacity: Resources | None = None,
    knowledge: Knowledge = NOTHING_KNOWN,
) -> Plan:
    """Check everything that can be checked beforehand, and list the trials.

    `data_root` is where data sets with a path lie; `capacity` is what this machine has for
    workers (None when that is not known here); `knowledge` answers questions about earlier
    results.

    Raises:
        SpecError: The spec cannot be run; the error lists all faults.
    """
    faults = Faults(spec.source)
    _check_capacity(spec, capacity, faults)
    expansion = _expand(spec, faults)
    data = _facts(spec, data_root, faults)
    sources = _sources(expansion.variants, knowledge, faults)
    faults.raise_any()
    planner = Planner(
        spec,
        data,
        faults,
        experiment_id=experiment_id(spec, data, sources),
        sources=sources,
        knowledge=knowledge,
    )
    trials = planner.trials(expansion.variants)
    faults.raise_any()
    keys = {trial.content_key for trial in trials}
    known = knowledge.finished(keys, keep=spec.checkpoints.keep)
    is_reused = known if spec.execution.reuse else frozenset[str]()
    to_train = tuple(trial for trial in trials if trial.content_key not in is_reused)
    cost = _estimate(spec, to_train, capacity, knowledge)
    num_known = sum(trial.content_key in known for trial in trials)
    return _plan(spec, expansion, planner, trials, num_known, cost, knowledge)


def _plan(
    spec: Spec,
    expansion: Expansion,
    planner: Planner,
    trials: tuple[Trial, ...],
    num_known: int,
    cost: Estimate,
    knowledge: Knowledge,
) -> Plan:
    """Put together what was found out."""
    is_submitted = knowledge.is_submitted(planner.experiment_id)
    return Plan(
        experiment=_experiment(spec, planner.experiment_id),
        task=spec.task,
        variants=expansion.variants,
        trials=trials,
        architectures=planner.architectures,
        excluded=expansion.excluded,
        num_merged=expansion.num_merged,
        num_known=num_known,
        is_submitted=is_submitted,
        warnings=(
            *spec.warnings,
            *expansion.warnings,
            *planner.remarks,
            *_memory_remarks(cost, spec.resources, knowledge.memory_bytes),
            *_precision_remarks(spec, trials, knowledge),
            *knowledge.notes,
        ),
        data=planner.data,
        num_train=planner.num_train,
        num_val=planner.num_val,
        estimate=cost,
    )


def _check_capacity(spec: Spec, capacity: Resources | None, faults: Faults) -> None:
    if capacity is None:
        return
    for name in ("cpus", "gpus"):
        wanted, there = getattr(spec.resources, name), getattr(capacity, name)
        if wanted > there:
            message = f"a worker cannot have {wanted:g} {name}: this machine has {there:g}"
            faults.add_once(spec.resources_node, f"resources.{name}", message)


def _expand(spec: Spec, faults: Faults) -> Expansion:
    """Give the variants; ends the plan where they would be too many, before expanding them."""
    _check_size(spec, faults)
    faults.raise_any()
    expansion = expand(spec.space, faults, task=spec.task)
    if not expansion.variants and not faults:
        faults.add_once(None, "parameters", "no variant is left to train")
    return expansion


def _check_size(spec: Spec, faults: Faults) -> None:
    limit = spec.execution.max_trials
    size = spec.space.size * len(spec.seeds)
    if size > limit:
        message = (
            f"{spec.space.size} points x {len(spec.seeds)} seeds are {size} trials, more than "
            f"{limit}; vary less, or set execution.max_trials"
        )
        faults.add_once(None, "parameters", message)


def _facts(spec: Spec, data_root: Path, faults: Faults) -> DatasetFacts:
    """Tell what the data is; ends the plan where it is not, or is none for the task."""
    try:
        data = facts(spec.data.name, spec.data.options, root=data_root, changes=spec.data.changes)
    except DatasetError as error:
        node, path = spec.data.place(error)
        faults.add_once(node, path, str(error))
        faults.raise_any()
        raise
    fault = task_fault(spec.task, data)
    if fault is not None:
        faults.add_once(spec.data.node, "data", fault)
        faults.raise_any()
    return data


def _sources(
    variants: tuple[Variant, ...], knowledge: Knowledge, faults: Faults
) -> dict[str, SourceNetwork]:
    """Find the trained networks that `init` names."""
    found: dict[str, SourceNetwork] = {}
    for init in (variant.settings["init"] for variant in variants):
        if init.value is None or init.value.source in found:
            continue
        try:
            found[init.value.source] = knowledge.source(init.value.source)
        except NotFoundError as error:
            faults.add_once(init.node, init.path, str(error))
    return found


def _experiment(spec: Spec, identity: str) -> Experiment:
    return Experiment(
        id=identity,
        name=spec.name,
        spec=spec.plain,
        text=spec.text,
        tags=spec.tags,
        objective=spec.objective,
        resources=spec.resources,
        execution=spec.execution,
        checkpoints=spec.checkpoints,
    )


def _estimate(
    spec: Spec, trials: tuple[Trial, ...], capacity: Resources | None, knowledge: Knowledge
) -> Estimate:
    """Forecast what the trials that are trained will cost."""
    num_workers = 1
    if capacity is not None:
        num_workers = max(1, min(workers_that_fit(capacity, spec.resources), len(trials)))
    is_plain = spec.execution.strategy == PLAIN.text

    def members(trial: Trial) -> int:
        if is_plain or not can_be_packed(trial.config):
            return 1
        return min(most_members(trial.work, gpus=spec.resources.gpus), len(trials))

    samples = knowledge.samples(spec.resources, plain=is_plain)
    return estimate(trials, samples, num_workers=num_workers, members=members)


def _memory_remarks(
    cost: Estimate, resources: Resources, memory_bytes: int | None
) -> Iterator[str]:
    """Remark that this machine's memory will not do; of a GPU's nothing is known here."""
    num_workers, peak = cost.num_workers, cost.peak_memory_bytes
    if memory_bytes is None or resources.gpus > 0 or num_workers * peak <= memory_bytes:
        return
    need = f"a worker of {_gib(peak)} needs"
    if num_workers > 1:
        need = f"{num_workers} workers of {_gib(peak)} need"
    mend = "use a smaller batch or network"
    if (fit := memory_bytes // peak) >= 1:
        mend += f", or run with --workers {fit}"
    yield f"{need} more than the {_gib(memory_bytes)} of this machine; {mend}"


def _precision_remarks(spec: Spec, trials: Sequence[Trial], knowledge: Knowledge) -> Iterator[str]:
    """Remark that bfloat16 makes nothing faster here."""
    if spec.execution.precision != "bfloat16":
        return
    said = "execution.precision bfloat16"
    if spec.resources.gpus == 0 and knowledge.has_bfloat16 is False:
        yield (
            f"{said}: this machine's processor has no instructions for it, so training takes "
            "longer than in float32 and rounds more; use float32, or a GPU"
        )
    elif all(each.work.multiply_adds < MOST_PRODUCTS_ON_CPU * each.work.steps for each in trials):
        yield (
            f"{said}: it makes products faster, and a step of these networks is mostly the "
            "starting of operations; use float32, which is as fast and exact"
        )


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"
