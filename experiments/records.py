"""The records that pass between the rooms: experiments, their trials, and what a worker is given.

Plain frozen dataclasses: a worker needs nothing else to train. What it says is in `events.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from experiments.architectures.architecture import Architecture
from experiments.language.compound_kinds import ListOf, Nullable
from experiments.language.kinds import Choice, Duration, Flag, Integer, Number
from experiments.planning.cost import Work
from experiments.planning.strategies import PLAIN, Calibration, Strategy
from experiments.tasks import OBJECTIVES, TASKS, natural_goal

SEMANTICS_VERSION: Final = 1
"""Raised whenever the same configuration would train to other numbers than before."""

PRECISIONS: Final = ("float32", "bfloat16")
"""In which arithmetic a network is trained and evaluated; `workers/precision.py` says how."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What an experiment is judged by: a validation metric, its goal, and which epoch counts.

    The defaults are those of classification; `Objective.of` gives a task's.
    """

    metric: Annotated[str, Choice(OBJECTIVES), "what is compared, on the validation split"] = (
        "val/accuracy"
    )
    goal: Annotated[str, Choice(("maximize", "minimize")), "which way is better"] = "maximize"
    select: Annotated[str, Choice(("best", "last")), "which epoch of a trial counts"] = "best"

    @classmethod
    def of(cls, task: str) -> "Objective":
        """Give what a task is judged by unless a spec says otherwise."""
        metric = TASKS[task].objectives[0]
        return cls(metric, natural_goal(metric))

    def improves(self, value: float, best: float | None) -> bool:
        """Say whether `value` beats `best` (the first value always does; ties never do)."""
        if best is None:
            return True
        return value > best if self.goal == "maximize" else value < best


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which examples a trial sees.

    `options` are the data set's own (`image_shape` of `fake`, `path` of `image_folder`);
    `changes` is what the spec makes of it (classes, size, noise), as plain data.
    `digest` names the content: equal digests mean equal inputs and targets.
    """

    name: str
    digest: str
    options: Mapping[str, Any] = field(default_factory=dict)
    val_fraction: float = 0.1
    split_seed: int = 0
    limit: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """How training images are changed by chance, anew in every epoch.

    `pixels` is the farthest that an image moves, in each direction; None where it does not.
    """

    name: str = "none"
    pixels: int | None = None


@dataclass(frozen=True, slots=True)
class InitConfig:
    """Where a network's first layers get their weights, if not by chance.

    Attributes:
        source: The trial that learned them.
        sha256: Of the checkpoint, so it says which weights they are.
        path: Where the checkpoint lies; decides nothing.
        num_layers: How many of the network's first layers are the source's.
        num_frozen: How many of the first layers are not trained.
    """

    source: str
    sha256: str
    path: str
    num_layers: int
    num_frozen: int


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """How weights are updated. `momentum` is None where the optimizer has none."""

    name: str
    lr: float
    weight_decay: float = 0.0
    momentum: float | None = None


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How the learning rate moves over a trial; lengths are in epochs.

    `step_epochs` and `step_factor` are None unless `name` is "step".
    """

    name: str = "constant"
    warmup_epochs: float = 0.0
    step_epochs: int | None = None
    step_factor: float | None = None


@dataclass(frozen=True, slots=True)
class TrialConfig:
    """Everything that decides a trial's numbers, and nothing else."""

    task: str
    architecture: Architecture
    data: DataConfig
    loss: str
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    epochs: int
    batch_size: int
    seed: int
    objective: Objective
    precision: str = "float32"
    output_activation: str = "softmax"
    augmentation: AugmentationConfig = AugmentationConfig()
    init: InitConfig | None = None

    def to_data(self) -> dict[str, Any]:
        """Give the record as JSON-ready data (what the store keeps)."""
        return {
            "semantics": SEMANTICS_VERSION,
            "task": self.task,
            "architecture": self.architecture.to_data(),
            "data": _plain(self.data),
            "loss": self.loss,
            "optimizer": _plain(self.optimizer),
            "schedule": _plain(self.schedule),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "objective": _plain(self.objective),
            "precision": self.precision,
            "output_activation": self.output_activation,
            "augmentation": _plain(self.augmentation),
            "init": None if self.init is None else _plain(self.init),
        }

    @classmethod
    def from_data(
        cls, data: Mapping[str, Any], *, architecture: Architecture | None = None
    ) -> "TrialConfig":
        """Rebuild the record from `to_data`'s result; `architecture` is its, where it was read."""
        return cls(
            task=data["task"],
            architecture=architecture or Architecture.from_data(data["architecture"]),
            data=DataConfig(**data["data"]),
            loss=data["loss"],
            optimizer=OptimizerConfig(**data["optimizer"]),
            schedule=ScheduleConfig(**data["schedule"]),
            epochs=data["epochs"],
            batch_size=data["batch_size"],
            seed=data["seed"],
            objective=Objective(**data["objective"]),
            precision=data["precision"],
            output_activation=data["output_activation"],
            augmentation=AugmentationConfig(**data["augmentation"]),
            init=None if data["init"] is None else InitConfig(**data["init"]),
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """A variant with a seed: the unit that is queued, counted and recorded.

    `variant` is the variant's label, unique in its experiment. `params` are the
    hyperparameters as scalars, for tables and MLflow; `config` decides the numbers, `work`
    says what it takes to get them.
    """

    id: str
    number: int
    variant: str
    seed: int
    params: Mapping[str, str | int | float | bool]
    config: TrialConfig
    content_key: str
    work: Work


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker gets: CPU cores, and GPUs (a fraction shares one)."""

    cpus: Annotated[int, Integer(1, 1024), "CPU cores of a worker"] = 1
    gpus: Annotated[float, Number(minimum=0, maximum=64), "GPUs of a worker, may be a fraction"] = (
        0.0
    )


@dataclass(frozen=True, slots=True)
class Execution:
    """How an experiment's trials are run; of this, only `precision` changes a result.

    (`strategy` changes how it is rounded.)
    """

    timeout: Annotated[
        float | None, Nullable(Duration()), "longest time for one attempt; null for none"
    ] = None
    retries: Annotated[int, Integer(0, 100), "further attempts after a trial's own failure"] = 2
    max_losses: Annotated[
        int,
        Integer(0, 1000),
        "losses of its worker that a trial survives without getting further in between",
    ] = 3
    stall_timeout: Annotated[
        float | None, Nullable(Duration()), "longest time without progress; null for none"
    ] = 600.0
    max_failed_trials: Annotated[
        int | None, Nullable(Integer(1)), "failed trials after which the experiment pauses"
    ] = None
    reuse: Annotated[bool, Flag(), "take results that are known from the same trial elsewhere"] = (
        True
    )
    priority: Annotated[int, Integer(-1000, 1000), "higher goes first"] = 0
    strategy: Annotated[
        str,
        Choice(("auto", "plain")),
        "how trials are trained: `auto`, in the way that is measured to be the fastest; "
        "`plain`, one by one, in the reference loop",
    ] = "auto"
    precision: Annotated[
        str,
        Choice(PRECISIONS, later=("float16",)),
        "arithmetic of the training; `bfloat16` rounds what products take to 8 bits",
    ] = "float32"
    max_trials: Annotated[int, Integer(1, 1_000_000), "largest grid that is accepted"] = 10_000


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """When checkpoints are written and which are kept ("best", "last")."""

    every_epochs: Annotated[
        int | None,
        Nullable(Integer(1)),
        "epochs between two checkpoints; null for as often as takes at most 5 % of the time",
    ] = None
    keep: Annotated[
        tuple[str, ...], ListOf(Choice(("best", "last"))), "which checkpoints are kept"
    ] = ("best", "last")


@dataclass(frozen=True, slots=True)
class Experiment:
    """One spec, one question, one objective: what the store keeps of a plan.

    `id` is a hash of the whole spec, so the same spec is the same experiment everywhere.
    `spec` is the spec as plain data; `text` is as the user wrote it.
    """

    id: str
    name: str
    spec: Mapping[str, Any]
    text: str
    tags: Mapping[str, str]
    objective: Objective
    resources: Resources
    execution: Execution
    checkpoints: CheckpointPolicy


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A "last" checkpoint on record, from which a trial may go on."""

    path: str
    sha256: str
    epoch: int
    step: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """One trial handed to a worker: what to train, under which fence, and where to save.

    `checkpoint_folder` carries the fence in its path; None writes no checkpoints.
    `resume_from` are the checkpoints to go on from, the newest first: the first that is
    whole is taken, else the trial starts anew. `strategy` is how it is trained, the same for all
    of a pack, unless `calibration` has the worker find out which way is the fastest.
    """

    trial_id: str
    fence: int
    config: TrialConfig
    checkpoints: CheckpointPolicy = CheckpointPolicy()
    checkpoint_folder: str | None = None
    resume_from: tuple[ResumePoint, ...] = ()
    timeout_seconds: float | None = None
    strategy: Strategy = PLAIN
    calibration: Calibration | None = None


def _plain(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}
